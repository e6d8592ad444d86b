import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { ShareImages } from '#adapters/images/images.ts';
import { type FileName, RAW } from '#domain/ids.ts';
import { imagesContract, SIZE } from './images.ts';
import { temporary } from './temporary-folder.ts';

/** The files as qemu-img makes them, and a QEMU tool that has one open. */
async function qemuLab() {
  const folder = await temporary();
  const users: ChildProcess[] = [];
  return {
    folder,
    images: new ShareImages(),
    directory: folder.directory,
    async raw(name: string) {
      await writeFile(folder.path(name), '');
      await truncate(folder.path(name), SIZE);
      return name as FileName;
    },
    async overlay(name: string, says: { backing: string | null; format: string | null }) {
      const { backing, format } = says;
      const on = backing === null ? [] : ['-b', backing, '-F', format ?? 'raw'];
      // -u: that the backing file has this format is not looked at.
      const made = ['create', '-q', '-u', '-f', 'qcow2', ...on, name, String(SIZE)];
      execFileSync('qemu-img', made, { cwd: folder.directory });
      // qemu-img insists on a format; old Cinders did not give one.
      if (backing !== null && format === null) {
        await silence(folder.path(name));
      }
      return name as FileName;
    },
    async openForWriting(file: FileName) {
      // Its backing file stays closed: the header may well lie about it.
      const opened = { driver: 'qcow2', file: { driver: 'file', filename: file }, backing: null };
      const image = `json:${JSON.stringify(opened)}`;
      const io = spawn('qemu-io', [image], { cwd: folder.directory });
      users.push(io);
      // It answers once it has the file open, and then waits for the next command.
      io.stdin.write('length\n');
      const failed = once(io, 'exit').then(() => Promise.reject(new Error('qemu-io ended')));
      failed.catch(() => {});
      await Promise.race([once(io.stdout, 'data'), failed]);
      await new Promise((resolve) => setTimeout(resolve, 100));
    },
    async [Symbol.asyncDispose]() {
      const ended = users.map((io) => io.exitCode === null && once(io, 'exit'));
      for (const io of users) io.kill();
      await Promise.all(ended);
      await folder[Symbol.asyncDispose]();
    },
  };
}

imagesContract('share with qemu-img', qemuLab);

test('mending never follows a link', async () => {
  await using lab = await qemuLab();
  await using elsewhere = await qemuLab();
  const base = await lab.raw('base');
  await elsewhere.overlay('victim', { backing: 'base', format: 'qcow2' });
  const victim = elsewhere.folder.path('victim');
  const before = await readFile(victim);
  await symlink(victim, lab.folder.path('a.qcow2'));
  const mended = await lab.images.mend(lab.directory, 'a.qcow2' as FileName, base, RAW);
  expect(await readFile(victim)).toEqual(before);
  expect(mended).toMatchObject({ ok: false, error: { kind: 'rejected' } });
});

/** Turns the format extension into one of an unknown type, which every reader skips. */
async function silence(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
  bytes.writeUInt32BE(0x12345678, at);
  await writeFile(path, bytes);
}
