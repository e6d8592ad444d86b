/**
 * What stock Cinder does to a guest when its compute side believes everything, each story with
 * our guard in place and with the guard taken away. The third one, a pull that was only in
 * memory, is in durable-pull.test.ts.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFailed, test } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import { QCOW2, RAW } from '#domain/ids.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { ok } from '#domain/result.ts';
import { forge } from './forger.ts';
import { instead } from './instead.ts';
import type { Cinder } from './lab/cinder.ts';
import { headerOf } from './lab/images.ts';
import { attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { startNova } from './nova/nova.ts';
import { inProcess, type Place, place, tellOnFailure } from './service.ts';
import { expectAgreement, liveChain } from './witnesses.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

let lab: Lab<Cinder>;
let at: Place;

beforeAll(async () => {
  lab = await openLab({ cinder: true });
  // So slow that Cinder looks at a merge several times before it is done.
  const slow = '[libvirt]\nbandwidth_mib = 1\n';
  at = await place(join(lab.dir, 'chainkeeper'), lab.cinder.endpoint, slow);
  await lab.cinder.setNovaEndpoint(at.url);
});

afterAll(() => lab?.[Symbol.asyncDispose]());

/** A snapshot of a raw volume to which its guest wrote a qcow2 header. */
async function snapshotOfForger() {
  const { cinder } = lab;
  const { volumeId, attached, guest } = await attachedGuest(lab, { persistent: true });
  await forge(lab, { volumeId, attached, guest });
  await guest.write('vda', 8 * MIB, 64 * KIB, 0x17);
  const before = await guest.hash('vda');

  const id = await cinder.createSnapshot(volumeId);
  await cinder.waitSnapshot(id, 'available');
  const overlay = `${attached.path}.${id}`;
  const header = parseHeader(await headerOf(overlay), 10 * MIB);
  const says = header.ok ? header.value.backingFormat : header.error.says;
  expect(await guest.hash('vda'), 'while it runs all is well').toBe(before);
  // Moved to another host, or its XML written anew: only the headers are left to believe.
  await guest.destroy();
  await guest.startFromTopOnly();
  const after = await guest.hash('vda');
  const live = await liveChain(guest, volumeId);
  return { id, says, same: after === before, live: live.map((layer) => layer.format) };
}

describe('a guest writes a qcow2 header to its raw volume', () => {
  test('the overlay is told the true format before it is used', async () => {
    tellOnFailure(at, lab.cinder);
    await using service = await inProcess(at);
    const { id, ...seen } = await snapshotOfForger();
    expect(seen).toEqual({ says: RAW, same: true, live: [QCOW2, RAW] });
    const [operation] = (await service.inspect.operations('ended', 10)).filter(
      ({ saga }) => saga.request.snapshot === id,
    );
    const report = operation && (await service.inspect.operation(operation.id));
    expect(report?.evidence.map(({ kind }) => kind)).toEqual([
      'decided',
      'mended',
      'decided',
      'not-quiesced',
      'switched',
    ]);
  });

  test('without that the guest comes back with the bytes of another file', async () => {
    tellOnFailure(at, lab.cinder);
    const believing = wrapped(TOKEN.images, (made) =>
      instead(made, {
        header: async (...words) => {
          const header = await made.header(...words);
          if (!header.ok || !header.value.ok) return header;
          return ok(ok({ ...header.value.value, backingFormat: RAW }));
        },
      }),
    );
    await using _service = await inProcess(at, believing);
    const { id: _, ...seen } = await snapshotOfForger();
    expect(seen).toEqual({ says: QCOW2, same: false, live: [QCOW2, QCOW2, RAW] });
  });
});

test("the same guest with Nova's own driver", async () => {
  await using nova = await startNova(lab);
  onTestFailed(() => console.log(nova.lastWords()));
  await lab.cinder.setNovaEndpoint(nova.url);
  const { id: _, ...seen } = await snapshotOfForger();
  await lab.cinder.setNovaEndpoint(at.url);
  expect(seen).toEqual({ says: QCOW2, same: false, live: [QCOW2, QCOW2, RAW] });
});

describe("Cinder still has the 90% of a delete that failed under Nova's care", () => {
  /** base <- one <- two, and the newest snapshot's record says 90%. */
  async function staleSnapshot() {
    const { cinder } = lab;
    const { volumeId, attached, guest } = await attachedGuest(lab, { persistent: true });
    await guest.write('vda', 0, 256 * KIB, 0x10);
    const ids: string[] = [];
    for (const byte of [0x21, 0x32]) {
      const id = await cinder.createSnapshot(volumeId);
      await cinder.waitSnapshot(id, 'available');
      await guest.write('vda', (byte & 15) * 16 * MIB, 8 * MIB, byte);
      ids.push(id);
    }
    await guest.flush('vda');
    const [one, two] = ids as [string, string];
    await cinder.resetSnapshotStatus(two, 'deleting');
    const nova = { status: 'error_deleting', progress: '90%' }; // nova/volume/cinder.py:740
    expect((await cinder.updateSnapshotStatus(two, nova)).status).toBe(202);
    await cinder.resetSnapshotStatus(two, 'available');
    expect(await cinder.getSnapshot(two)).toMatchObject({ status: 'available', progress: '90%' });
    const written = await guest.hash('vda');
    return { volumeId, attached, guest, two, written, merged: `${attached.path}.${one}` };
  }

  test('Cinder keeps the file until the merge is done', async () => {
    tellOnFailure(at, lab.cinder);
    const { cinder } = lab;
    let kept: boolean | null = null;
    let merged = '';
    const watched = wrapped(TOKEN.volumes, (made) =>
      instead(made, {
        update: (id, update) => {
          if (update.kind === 'deleted') kept = existsSync(merged);
          return made.update(id, update);
        },
      }),
    );
    await using _service = await inProcess(at, watched);
    const scene = await staleSnapshot();
    ({ merged } = scene);
    const began = performance.now();
    await cinder.deleteSnapshot(scene.two);
    await cinder.waitSnapshot(scene.two, 'gone');
    expect(performance.now() - began, 'Cinder looks once a second').toBeGreaterThan(3000);
    expect(kept).toBe(true);
    expect(existsSync(merged)).toBe(false);
    const { guest, volumeId, attached } = scene;
    expect(await expectAgreement(cinder, guest, volumeId, attached.path)).toHaveLength(2);
    expect(await guest.hash('vda')).toBe(scene.written);
  });

  test('when nobody takes the 90% back, Cinder removes a file that is in use', async () => {
    tellOnFailure(at, lab.cinder);
    const { cinder } = lab;
    const silent = wrapped(TOKEN.volumes, (made) =>
      instead(made, {
        update: async (id, update) =>
          update.kind === 'deleting' ? ok('accepted') : made.update(id, update),
      }),
    );
    await using _service = await inProcess(at, silent);
    const { volumeId, guest, two, merged } = await staleSnapshot();
    await cinder.deleteSnapshot(two);
    await cinder.waitSnapshot(two, 'gone');
    expect(existsSync(merged)).toBe(false);
    const live = (await liveChain(guest, volumeId)).map((layer) => layer.file);
    expect(live.some((file) => merged.endsWith(`/${file}`))).toBe(true);
    // The plug is pulled while the merge is half way: nothing can put this disk together again.
    await guest.kill9();
    await expect(guest.start()).rejects.toThrow(/No such file/);
  });
});
