/**
 * Somebody puts another file in the overlay's place while it is made the active layer: QEMU has the
 * one open that was checked, and the next start opens the other (law 24).
 */
import { randomUUID } from 'node:crypto';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Hexagon, TOKEN, wrapped } from '#app/composition.ts';
import type { VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import type { Operation } from '#ports/journal.ts';
import { instead } from './instead.ts';
import { createImage, createOverlay } from './lab/images.ts';
import { askCreate } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;

/** The guard taken away: a header says nothing of the file that it was read from. */
const unnumbered = wrapped(TOKEN.images, (made) =>
  instead(made, {
    header: async (directory, file) => {
      const read = await made.header(directory, file);
      if (!read.ok || !read.value.ok) return read;
      const { inode: _, ...header } = read.value.value;
      return ok(ok(header));
    },
  }),
);

/** Another overlay with the same header takes the name, right after the switch. */
const swapping = wrapped(TOKEN.hypervisor, (made) =>
  instead(made, {
    snapshot: async (order) => {
      const answer = await made.snapshot(order);
      const path = join(order.directory, order.file);
      await rename(`${path}.other`, path);
      return answer;
    },
  }),
);

async function story({ runner }: Hexagon) {
  const volume = randomUUID() as VolumeId;
  const base = `volume-${volume}`;
  const path = (name: string) => join(stage.lab.images, name);
  await createImage(path(base), { format: 'raw', size: 16 * MIB });
  const disks = [{ path: path(base), format: 'raw', serial: volume }];
  await using guest = await stage.lab.guest({ disks, persistent: true });
  volumes.attach(volume, guest.uuid);
  volumes.believe(volume, base);
  await guest.write('vda', 0, 4 * MIB, 0x10);
  const id = volumes.put(volume, 'creating');
  const file = `${base}.${id}`;
  for (const name of [file, `${file}.other`]) {
    await createOverlay(path(name), { name: base, format: 'raw' });
  }
  const end = Promise.withResolvers<Operation>();
  runner.whenEnded((operation) => {
    if (operation.saga.request.snapshot === id) end.resolve(operation);
  });
  expect(await askCreate(stage.at, volume, id, file)).toMatchObject({ status: 200 });
  const { saga } = await end.promise;
  await guest.write('vda', 64 * KIB, 512 * KIB, 0x21);
  await guest.flush('vda');
  const before = await guest.hash('vda');
  await guest.kill9();
  await guest.startFromTopOnly({ vda: { path: path(file), format: 'qcow2' } });
  const whole = (await guest.hash('vda')) === before;
  const { outcome, reason } = saga.at === 'end' ? saga : expect.unreachable();
  return { outcome, reason, told: volumes.verdict(id)?.kind ?? null, whole };
}

test('a create is not called done when the next start would open another file', async () => {
  tellOnFailure(stage.at);
  await using service = await inProcess(stage.at, withoutCinder, swapping);
  expect(await story(service)).toEqual({
    outcome: 'unknown',
    reason: 'another file has its name',
    told: null,
    whole: false,
  });
});

test('without that Cinder goes on from a file that the guest never wrote to', async () => {
  tellOnFailure(stage.at);
  await using service = await inProcess(stage.at, withoutCinder, swapping, unnumbered);
  expect(await story(service)).toMatchObject({ outcome: 'created', told: 'created', whole: false });
});
