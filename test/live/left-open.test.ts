/**
 * Somebody's active commit is cancelled, and QEMU 7.2 leaves its base open for writing: the end of
 * our next commit into that base flushes nothing. QEMU dies at the very moment at which Cinder
 * hears that this one is done.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ask } from '#adapters/operator/client.ts';
import { TOKEN, wrapped } from '#app/composition.ts';
import type { VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { instead } from './instead.ts';
import { createImage, createOverlay, hashImage } from './lab/images.ts';
import { virsh } from './lab/libvirt.ts';
import { waitFor } from './lab/processes.ts';
import { askCreate, askDelete } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const ROUNDS = 3;

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;
/** The guard taken away: after a commit nothing is flushed. */
const withoutFlush = wrapped(TOKEN.hypervisor, (made) =>
  instead(made, { flush: async (order) => (order.into ? ok(null) : made.flush(order)) }),
);

interface Case {
  readonly format: 'raw' | 'vpc' | 'qcow2';
  /** Its user pauses the guest before the commit. */
  readonly paused?: boolean;
}

/** base <- a <- b, with the base left open for writing, and a committed into it. */
async function committing({ format, paused = false }: Case) {
  const volume = randomUUID() as VolumeId;
  const base = `volume-${volume}`;
  const path = (name: string) => join(stage.lab.images, name);
  await createImage(path(base), { format, size: 16 * MIB });
  const disks = [{ path: path(base), format, serial: volume }];
  const guest = await stage.lab.guest({ disks, paused: false });
  volumes.attach(volume, guest.uuid);
  await guest.write('vda', 0, 4 * MIB, 0x10);
  const create = async (below: string, told: Case['format']) => {
    const id = volumes.put(volume, 'creating');
    const file = `${base}.${id}`;
    await createOverlay(path(file), { name: below, format: told });
    expect(await askCreate(stage.at, volume, id, file)).toMatchObject({ status: 200 });
    expect(await volumes.hear(id)).toMatchObject({ kind: 'created' });
    return file;
  };
  const a = await create(base, format);
  const commit = ['blockcommit', guest.name, 'vda', '--active', '--base', path(base), '--wait'];
  await virsh(...commit);
  await virsh('blockjob', guest.name, 'vda', '--abort');
  await guest.write('vda', 6 * MIB, 512 * KIB, 0x21);
  const b = await create(a, 'qcow2');
  await guest.write('vda', 8 * MIB, 512 * KIB, 0x32);
  await guest.flush('vda');
  const before = await guest.hash('vda');
  const qemu = await guest.pid();
  volumes.onUpdate = ({ kind }) => {
    if (kind === 'deleted') process.kill(qemu, 'SIGKILL');
  };
  if (paused) await guest.suspend();
  const id = volumes.put(volume, 'deleting', a.slice(-36));
  const info = { file_to_merge: a, merge_target_file: base };
  expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });
  /** Whether the guest still has all that it had, once Cinder has heard that it is done. */
  const whole = async () => {
    expect(await volumes.hear(id)).toMatchObject({ kind: 'deleted' });
    volumes.onUpdate = () => {};
    await waitFor('the guest to be gone', async () => (await guest.state()) === 'gone');
    return (await hashImage(path(b), 'qcow2', join(stage.lab.dir, 'copy'))) === before;
  };
  return { guest, id, whole, [Symbol.asyncDispose]: () => guest[Symbol.asyncDispose]() };
}

async function wholeRounds(it: Case): Promise<number> {
  let whole = 0;
  for (let round = 0; round < ROUNDS; round++) {
    await using told = await committing(it);
    if (await told.whole()) whole += 1;
  }
  return whole;
}

test('after "done" nothing of a commit is in memory only', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  expect(await wholeRounds({ format: 'qcow2' })).toBe(ROUNDS);
});

test('without the flush every round loses what the guest had', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder, withoutFlush);
  expect(await wholeRounds({ format: 'qcow2' })).toBe(0);
});

test.each<[Case['format']]>([['raw'], ['vpc']])(
  'a %s base, of which QEMU keeps no tables in memory, loses nothing either way',
  async (format) => {
    tellOnFailure(stage.at);
    for (const guard of [[], [withoutFlush]]) {
      await using _service = await inProcess(stage.at, withoutCinder, ...guard);
      expect(await wholeRounds({ format })).toBe(ROUNDS);
    }
  },
);

test('of a guest that its user paused it is not reported, and nobody resumes it', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  await using it = await committing({ format: 'qcow2', paused: true });
  await waitFor('the reason', async () => /and QEMU flushes it only when/.test(await said(it.id)));
  await sleep(3_000);
  expect(volumes.verdict(it.id)).toBeNull();
  expect(await it.guest.state()).toBe('paused');
  // It waits without a word more for each second.
  expect((await said(it.id)).split('and QEMU flushes it only when')).toHaveLength(2);
  await it.guest.resume();
  expect(await it.whole()).toBe(true);
});

/** What `ops show` has of the newest operation on a snapshot. */
async function said(snapshot: string): Promise<string> {
  const reply = await ask(stage.at.socket, '/v1/operations');
  if (reply.kind !== 'ok') throw new Error(JSON.stringify(reply));
  const { operations } = reply.body as { operations: { id: string; snapshot: string }[] };
  const id = operations.find((one) => one.snapshot === snapshot)?.id;
  const one = await ask(stage.at.socket, `/v1/operations/${id}`);
  return one.kind === 'ok' ? JSON.stringify(one.body) : '';
}
