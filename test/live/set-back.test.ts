/**
 * QEMU dies after a pull and before its tables are on disk: the header names the new backing file,
 * and the clusters are gone (reliability.md F1). The pointer is set back before the guest starts.
 */
import { expect, test } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import { ok } from '#domain/result.ts';
import { DeadlyFlush } from './deadly.ts';
import { instead } from './instead.ts';
import { imageInfo } from './lab/images.ts';
import { askDelete } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const KIB = 1024;

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;
const deadly = new DeadlyFlush();
/** The guard taken away: a mend that says yes and does nothing. */
const withoutMend = wrapped(TOKEN.images, (made) => instead(made, { mend: async () => ok(null) }));

/** base <- a <- b, a pulled into b by a QEMU that dies. Whether the guest reads what it had. */
async function story() {
  const { volume, base, path, ...it } = await stage.guestOnRaw();
  await using guest = it.guest;
  const files = [base];
  for (const byte of [0x21, 0x32]) {
    files.push(await stage.taken({ volume, path }, files.at(-1) ?? base));
    await guest.write('vda', (byte & 15) * 64 * KIB, 512 * KIB, byte);
  }
  await guest.flush('vda');
  const before = await guest.hash('vda');
  await deadly.of(guest);
  const id = volumes.put(volume, 'deleting');
  const info = { file_to_merge: base, merge_target_file: null };
  expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });
  const told = await volumes.hear(id);
  const [, middle = '', top = ''] = files;
  const header = await imageInfo(path(top), 'qcow2');
  await guest.start(); // as its own XML has it by now
  const whole = (await guest.hash('vda')) === before;
  return { told: told.kind, whole, setBack: header['backing-filename'] === middle };
}

test('the header is set back, and the guest reads what it had', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder, deadly.module);
  expect(await story()).toEqual({ told: 'delete-failed', whole: true, setBack: true });
});

test('without that the guest has lost what was pulled', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder, deadly.module, withoutMend);
  expect(await story()).toEqual({ told: 'delete-failed', whole: false, setBack: false });
});
