/**
 * QEMU dies at the very moment at which Cinder hears that a pull is done. Its tables must be on
 * disk by then: Cinder removes the only other copy (reliability.md F1).
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import type { VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { instead } from './instead.ts';
import { createImage, createOverlay, hashImage } from './lab/images.ts';
import { waitFor } from './lab/processes.ts';
import { askCreate, askDelete } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

/** CK_PULL_ROUNDS for whoever wants more of them. */
const ROUNDS = Number(process.env.CK_PULL_ROUNDS ?? 3);
const TIME = 60_000 + ROUNDS * 30_000;
const KIB = 1024;
const MIB = 1024 * KIB;

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;
/** The guard taken away: a flush that says yes and does nothing. */
const withoutFlush = wrapped(TOKEN.hypervisor, (made) =>
  instead(made, { flush: async () => ok(null) }),
);

/** base <- a <- b, then a is pulled into b. Answers how many rounds lost what the guest had. */
async function lostRounds(): Promise<number> {
  let lost = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const volume = randomUUID() as VolumeId;
    const base = `volume-${volume}`;
    const path = (name: string) => join(stage.lab.images, name);
    await createImage(path(base), { format: 'raw', size: 16 * MIB });
    const disks = [{ path: path(base), format: 'raw', serial: volume }];
    await using guest = await stage.lab.guest({ disks });
    expect(await guest.writeCache('vda'), 'what it writes may stay in memory').toBe(true);
    volumes.attach(volume, guest.uuid);
    await guest.write('vda', 0, 4 * MIB, 0x10);
    let below = base;
    for (const byte of [0x21, 0x32]) {
      const id = volumes.put(volume, 'creating');
      const file = `${base}.${id}`;
      const format = below === base ? 'raw' : 'qcow2';
      await createOverlay(path(file), { name: below, format });
      expect(await askCreate(stage.at, volume, id, file)).toMatchObject({ status: 200 });
      expect(await volumes.hear(id)).toMatchObject({ kind: 'created' });
      await guest.write('vda', (byte & 15) * 64 * KIB, 512 * KIB, byte);
      below = file;
    }
    await guest.flush('vda'); // all that the guest itself is owed
    const before = await guest.hash('vda');

    const qemu = await guest.pid();
    volumes.onUpdate = ({ kind }) => {
      if (kind === 'deleted') process.kill(qemu, 'SIGKILL');
    };
    const id = volumes.put(volume, 'deleting');
    const info = { file_to_merge: base, merge_target_file: null };
    expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });
    expect(await volumes.hear(id)).toMatchObject({ kind: 'deleted' });
    volumes.onUpdate = () => {};
    await waitFor('the guest to be gone', async () => (await guest.state()) === 'gone');
    const after = await hashImage(path(below), 'qcow2', join(stage.lab.dir, 'copy'));
    if (after !== before) lost += 1;
  }
  return lost;
}

test(
  'after "done" nothing of a pull is in memory only',
  async () => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder);
    expect(await lostRounds()).toBe(0);
  },
  TIME,
);

test(
  'without the flush every round loses what the guest had',
  async () => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder, withoutFlush);
    const lost = await lostRounds();
    console.log(`${lost} of ${ROUNDS} rounds without the flush lost something`);
    expect(lost).toBe(ROUNDS);
  },
  TIME,
);
