/**
 * contrib/libvirt's hook in a real libvirtd: a guest is kept off the file that it has left (H16),
 * and off a chain that a merge had in hand when QEMU died (F1), with and without it.
 */
import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { DeadlyFlush } from './deadly.ts';
import { askHook, type Hook } from './lab/libvirt.ts';
import { askDelete } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const KIB = 1024;
const HOOK = join(import.meta.dirname, '../../contrib/libvirt/chainkeeper');

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;
let hook: Hook | null = null;

const guarded = async () => {
  hook = await askHook(HOOK, { OS_DEFAULT__STATE_PATH: stage.at.dir });
};

afterEach(async () => {
  await hook?.[Symbol.asyncDispose]();
  hook = null;
});

/** A guest with a snapshot, and what it has written since. */
async function snapshotted(bytes: readonly number[] = [0x21]) {
  const { volume, base, path, guest } = await stage.guestOnRaw();
  const files = [base];
  for (const byte of bytes) {
    files.push(await stage.taken({ volume, path }, files.at(-1) ?? base));
    await guest.write('vda', (byte & 15) * 64 * KIB, 512 * KIB, byte);
  }
  await guest.flush('vda');
  return { volume, base, path, guest, files, hash: await guest.hash('vda') };
}

/** As Nova starts it when its copy of the attachment is older than the snapshot. */
const oldCopy = (path: string) => ({ vda: { path, format: 'raw' } });

test('a guest is not started on the file that it has left', async () => {
  tellOnFailure(stage.at);
  await guarded();
  const service = await inProcess(stage.at, withoutCinder);
  const { volume, base, path, guest, files, hash } = await snapshotted();
  await using _guest = guest;
  const [, overlay = ''] = files;
  const started = () => guest.startFromTopOnly(oldCopy(path(base)));
  await guest.destroy();
  await expect(started()).rejects.toThrow(
    `volume ${volume} is to start on ${base}, but the guest wrote to ${overlay} since`,
  );
  await expect(started()).rejects.toThrow(`volume_attachment refresh ${guest.uuid} ${volume}`);
  // It is the journal that knows; nobody need be there to be asked.
  await service[Symbol.asyncDispose]();
  await expect(started()).rejects.toThrow(`the guest wrote to ${overlay} since`);
  await guest.startFromTopOnly({ vda: { path: path(overlay), format: 'qcow2' } });
  expect(await guest.hash('vda')).toBe(hash);
  await guest.destroy();
  const marker = join(stage.at.dir, 'allow-start', volume);
  await mkdir(join(stage.at.dir, 'allow-start'), { recursive: true });
  await writeFile(marker, '');
  const soon = new Date(Date.now() + 1_000);
  await utimes(marker, soon, soon);
  await started();
  expect(await guest.hash('vda'), 'an operator may').not.toBe(hash);
});

test('without the hook it is, and what it wrote since is not there', async () => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  const { base, path, guest, hash } = await snapshotted();
  await using _guest = guest;
  await guest.destroy();
  await guest.startFromTopOnly(oldCopy(path(base)));
  expect(await guest.hash('vda')).not.toBe(hash);
});

/** QEMU dies where a pull would be flushed, and nobody looks at what is left until `look`. */
async function died() {
  const dead = Promise.withResolvers<void>();
  const look = Promise.withResolvers<void>();
  const deadly = new DeadlyFlush(() => {
    dead.resolve();
    return look.promise;
  });
  const service = await inProcess(stage.at, withoutCinder, deadly.module);
  const it = await snapshotted([0x21, 0x32]);
  const { guest, volume, base } = it;
  await deadly.of(guest);
  const id = volumes.put(volume, 'deleting');
  const info = { file_to_merge: base, merge_target_file: null };
  expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });
  await dead.promise;
  return { ...it, id, service, look: () => look.resolve() };
}

test('a chain that a merge had in hand is not started on until it is whole', async () => {
  tellOnFailure(stage.at);
  await guarded();
  const { guest, id, service, look, hash } = await died();
  await using _service = service;
  await using _guest = guest;
  await expect(guest.start()).rejects.toThrow(/in the middle of operation .* start chainkeeper/);
  look();
  expect(await volumes.hear(id)).toMatchObject({ kind: 'delete-failed' });
  await guest.start();
  expect(await guest.hash('vda')).toBe(hash);
});

test('without the hook it is, and has lost what was pulled', async () => {
  tellOnFailure(stage.at);
  const { guest, id, service, look, hash } = await died();
  await using _service = service;
  await using _guest = guest;
  await guest.start();
  look();
  expect(await volumes.hear(id)).toMatchObject({ kind: 'delete-failed' });
  expect(await guest.hash('vda')).not.toBe(hash);
});

test('guests that no journal knows start as ever', async () => {
  await guarded();
  const { guest } = await stage.guestOnRaw();
  await using _guest = guest;
  await guest.destroy();
  await guest.start();
  expect(await guest.state()).toMatch(/paused|running/);
});
