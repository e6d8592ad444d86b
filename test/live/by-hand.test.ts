/** That what `plan --print-virsh` prints does what the plan says, on real libvirt and QEMU. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { SnapshotId } from '#domain/ids.ts';
import { createOverlay } from './lab/images.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

/** Writes into a header that the file below is raw. */
const LIE = ['rebase', '-u', '-f', 'qcow2', '-F', 'raw'];
const run = promisify(execFile);
const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;

/** Has a person do what would be done. */
async function byHand(...args: readonly string[]): Promise<void> {
  const plan = ['bin/chainkeeper.js', 'plan', ...args, '--print-virsh'];
  const { stdout } = await run(process.execPath, [...plan, '--config-file', stage.at.conf]);
  expect(stdout).toMatch(/^(virsh|qemu-img) /);
  await run('/bin/sh', ['-ec', stdout]);
}

test('a create that must be mended, a commit, and a pull', async () => {
  tellOnFailure(stage.at);
  await using service = await inProcess(stage.at, withoutCinder);
  const { volume, base, path, guest } = await stage.guestOnRaw();
  await using _guest = guest;
  const chain = async () => {
    const seen = await service.inspect.formats(volume);
    return seen.map(({ file, format }) => [file, format]);
  };
  const files: string[] = [];
  const ids: SnapshotId[] = [];
  for (const [at, below] of [base, null, null].entries()) {
    const id = volumes.put(volume, 'creating');
    const file = `${base}.${id}`;
    const name = below ?? files[at - 1] ?? '';
    await createOverlay(path(file), { name, format: at === 0 ? 'raw' : 'qcow2' });
    // As stock Cinder's guess has it: it must be mended.
    if (at === 1) await run('qemu-img', [...LIE, '-b', name, path(file)]);
    await byHand('create', '--volume', volume, '--snapshot', id, '--new-file', file);
    files.push(file);
    ids.push(id);
    volumes.believe(volume, file as never);
    await guest.write('vda', at * 2 ** 20, 2 ** 16, at + 1);
  }
  const [one = '', two = '', three = ''] = files;
  const overlay = (file: string) => [file, 'qcow2'];
  expect(await chain()).toEqual([...[three, two, one].map(overlay), [base, 'raw']]);
  await guest.flush('vda');
  const written = await guest.hash('vda');

  const remove = (file_to_merge: string | null, merge_target_file: string | null) =>
    JSON.stringify({ volume_id: volume, file_to_merge, merge_target_file });
  const asked = ['delete', '--volume', volume, '--snapshot'];
  await byHand(...asked, ids[1] ?? '', '--delete-info', remove(two, one));
  expect(await chain()).toEqual([overlay(three), overlay(one), [base, 'raw']]);
  await byHand(...asked, ids[2] ?? '', '--delete-info', remove(base, null));
  expect(await chain()).toEqual([overlay(three), [base, 'raw']]);
  expect(await guest.hash('vda')).toBe(written);
});
