import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { ShareImages } from '#adapters/images/images.ts';
import type { Layer } from '#domain/chain.ts';
import { type FileName, QCOW2, RAW } from '#domain/ids.ts';
import { createWithLuks } from '../live/lab/luks.ts';
import { imagesContract, type OverlaySays, SIZE } from './images.ts';
import { temporary } from './temporary-folder.ts';

const CLUSTER = 65_536;
const KEY = ['--object', 'secret,id=key,data=words'] as const;
/** The fewest rounds of key stretching there are: 2 s otherwise. */
const LUKS = 'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10';

/** The files as qemu-img makes them, and a QEMU tool that has one open. */
async function qemuLab() {
  const folder = await temporary();
  const users: ChildProcess[] = [];
  const sealed = new Set<string>();
  return {
    folder,
    images: new ShareImages(),
    directory: folder.directory,
    async raw(name: string) {
      await writeFile(folder.path(name), '');
      await truncate(folder.path(name), SIZE);
      return name as FileName;
    },
    async overlay(name: string, { backing, format, luks = false }: OverlaySays) {
      const inside = luks ? ['-o', LUKS, ...KEY] : [];
      if (luks) sealed.add(name);
      const on = backing === null ? [] : ['-b', backing, '-F', format ?? 'raw'];
      // -u: that the backing file has this format is not looked at.
      const path = join(folder.directory, name);
      await createWithLuks(['-q', '-u', '-f', 'qcow2', ...on, ...inside, path, String(SIZE)]);
      // qemu-img insists on a format; old Cinders did not give one.
      if (backing !== null && format === null) {
        await silence(folder.path(name));
      }
      return name as FileName;
    },
    async write(file: FileName, format: string, at: number, byte: number) {
      const where = `${at * CLUSTER} ${CLUSTER}`;
      // A raw file has no zeros that hide anything.
      const command = byte === 0 ? `write -z ${where}` : `write -P ${byte} ${where}`;
      execFileSync('qemu-io', ['-f', format, '-c', command, file], { cwd: folder.directory });
    },
    async read(file: FileName, format: string) {
      const out = `${file}.out`;
      const args = ['convert', '-f', format, '-O', 'raw', file, out];
      execFileSync('qemu-img', args, { cwd: folder.directory });
      const bytes = await readFile(folder.path(out));
      await rm(folder.path(out));
      return Array.from({ length: SIZE / CLUSTER }, (_, at) => {
        const cluster = bytes.subarray(at * CLUSTER, (at + 1) * CLUSTER);
        if (cluster.some((byte) => byte !== cluster[0])) throw new Error(`cluster ${at} is mixed`);
        return cluster[0] ?? 0;
      });
    },
    async openForWriting(file: FileName) {
      // Its backing file stays closed: the header may well lie about it.
      const bytes = { driver: 'file', filename: file };
      const key = sealed.has(file) ? { 'encrypt.key-secret': 'key' } : {};
      const opened = { driver: 'qcow2', file: bytes, backing: null, ...key };
      const image = `json:${JSON.stringify(opened)}`;
      const io = spawn('qemu-io', [...KEY, image], { cwd: folder.directory });
      users.push(io);
      // It answers once it has the file open, and then waits for the next command.
      io.stdin.write('length\n');
      const failed = once(io, 'exit').then(() => Promise.reject(new Error('qemu-io ended')));
      failed.catch(() => {});
      await Promise.race([once(io.stdout, 'data'), failed]);
      await new Promise((resolve) => setTimeout(resolve, 100));
    },
    async close() {
      const open = users.splice(0);
      const ended = open.map((io) => io.exitCode === null && once(io, 'exit'));
      for (const io of open) io.kill();
      await Promise.all(ended);
    },
    async [Symbol.asyncDispose]() {
      await this.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

imagesContract('share with qemu-img', qemuLab);

test('what is in an encrypted file is there after a mend, and QEMU reads the names', async () => {
  await using lab = await qemuLab();
  const file = await lab.overlay('a.qcow2', { backing: null, format: null, luks: true });
  const io = (...args: string[]) =>
    execFileSync('qemu-io', args, { cwd: lab.directory }).toString();
  const opened = `driver=qcow2,encrypt.key-secret=key,file.filename=${file}`;
  const mine = [...KEY, '--image-opts', opened];
  io(...mine, '-c', 'write -P 7 0 128k');
  const base = await lab.raw('base');
  expect(await lab.images.mend(lab.directory, file, base, RAW)).toEqual({ ok: true, value: null });
  expect(io(...mine, '-c', 'read -P 7 0 128k', '-c', 'read -P 0 128k 64k')).not.toMatch(/failed/);
  const info = ['info', '--output=json', '-f', 'qcow2', lab.folder.path(file)];
  const said = JSON.parse(execFileSync('qemu-img', info).toString());
  expect(said).toMatchObject({ 'backing-filename': base, 'backing-filename-format': 'raw' });
  const check = ['check', '-q', ...mine];
  execFileSync('qemu-img', check, { cwd: lab.directory });
});

test('mending never follows a link', async () => {
  await using lab = await qemuLab();
  await using elsewhere = await qemuLab();
  const base = await lab.raw('base');
  await elsewhere.overlay('victim', { backing: 'base', format: QCOW2 });
  const victim = elsewhere.folder.path('victim');
  const before = await readFile(victim);
  await symlink(victim, lab.folder.path('a.qcow2'));
  const mended = await lab.images.mend(lab.directory, 'a.qcow2' as FileName, base, RAW);
  expect(await readFile(victim)).toEqual(before);
  expect(mended).toMatchObject({ ok: false, error: { kind: 'rejected' } });
});

/** base, raw, and two overlays on it. */
const layers = (top: FileName, middle: FileName, base: FileName): Layer => {
  const provenance = 'reported';
  const lowest = { file: base, format: RAW, provenance, on: null } as const;
  const on = { file: middle, format: QCOW2, provenance, on: lowest } as const;
  return { file: top, format: QCOW2, provenance, on };
};

test('merging never follows a link, and leaves nothing behind', async () => {
  await using lab = await qemuLab();
  await using elsewhere = await qemuLab();
  const base = await lab.raw('base');
  const top = await lab.overlay('s2', { backing: 's1', format: QCOW2 });
  await elsewhere.raw('base');
  const middle = await elsewhere.overlay('s1', { backing: 'base', format: RAW });
  const victim = elsewhere.folder.path('s1');
  await symlink(victim, lab.folder.path('s1'));
  const { directory } = lab;
  const chain = layers(top, middle, base);
  for (const merge of [
    { kind: 'pull', onto: base },
    { kind: 'commit', top: middle, into: base },
  ] as const) {
    const merged = await lab.images.copy({ directory, chain, merge });
    expect(merged).toMatchObject({ ok: false, error: { kind: 'rejected', code: 'ELOOP' } });
  }
  const left = (await readdir(tmpdir())).filter((name) => name.startsWith('chainkeeper-merge-'));
  expect(left).toEqual([]);
});

test('a pull that is killed has rewritten the header last, after all the rest', async () => {
  await using lab = await qemuLab();
  const { directory, folder } = lab;
  const base = await lab.raw('base');
  const middle = await lab.overlay('s1', { backing: base, format: RAW });
  await truncate(folder.path(base), BIG);
  execFileSync('qemu-img', ['resize', '-q', '-f', 'qcow2', folder.path(middle), String(BIG)]);
  const writes = Array.from({ length: 48 }, (_, at) => `write -P ${at + 1} ${at * 2 * CLUSTER} 4k`);
  const commands = writes.flatMap((command) => ['-c', command]);
  execFileSync('qemu-io', ['-f', 'qcow2', ...commands, folder.path(middle)]);
  const seen = { before: 0, after: 0 };
  for (let round = 0; round < ROUNDS; round++) {
    const made = ['create', '-q', '-f', 'qcow2', '-b', 's1', '-F', 'qcow2', 's2'];
    execFileSync('qemu-img', made, { cwd: directory });
    const chain = layers('s2' as FileName, middle, base);
    const going = lab.images.copy({ directory, chain, merge: { kind: 'pull', onto: base } });
    const pid = await qemuImg();
    await sleep((round * 600) / ROUNDS);
    if (pid !== null) kill(pid);
    await going;
    const says = await lab.images.header(directory, 's2' as FileName);
    const on = says.ok && says.value.ok ? says.value.value.backingFile : null;
    if (on === middle) seen.before++;
    else if (on === base) seen.after++;
    const compared = ['compare', '-q', '-f', 'qcow2', '-F', 'qcow2', 's2', 's1'];
    execFileSync('qemu-img', compared, { cwd: directory });
  }
  expect(seen.before + seen.after).toBe(ROUNDS);
  expect(seen.before).toBeGreaterThan(0);
  console.log(`a pull killed ${ROUNDS} times: ${JSON.stringify(seen)}`);
});

const BIG = 8 * 1024 * 1024;
const ROUNDS = 24;

/** The process of the qemu-img that one of our threads has begun, once it is there. */
async function qemuImg(): Promise<number | null> {
  for (let tries = 0; tries < 100; tries++) {
    for (const task of await readdir('/proc/self/task')) {
      const children = await readFile(`/proc/self/task/${task}/children`, 'utf8').catch(() => '');
      for (const pid of children.split(' ').filter((one) => one !== '')) {
        const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
        if (name.trim() === 'qemu-img') return Number(pid);
      }
    }
    await sleep(2);
  }
  return null;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It had ended.
  }
}

/** Turns the format extension into one of an unknown type, which every reader skips. */
async function silence(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
  bytes.writeUInt32BE(0x12345678, at);
  await writeFile(path, bytes);
}
