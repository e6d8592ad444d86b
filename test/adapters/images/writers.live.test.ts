/** Whether a QEMU writes to a file: by the kernel's word, and by qemu-img's where that has none. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hasWriter } from '#adapters/images/writers.ts';
import { isLocked } from '#adapters/libvirt/locks-ffi.ts';
import { QCOW2, RAW } from '#domain/ids.ts';
import { createImage } from '../../live/lab/images.ts';
import { ensurePackages } from '../../live/lab/packages.ts';
import { removeFolder } from '../../live/lab/processes.ts';

let folder: string;

beforeAll(async () => {
  await ensurePackages({ cinder: false });
  folder = await mkdtemp(join(tmpdir(), 'ck-writers-'));
});
afterAll(() => removeFolder(folder));

const cannotSay = async () => null;
const ways = [
  ['the kernel', isLocked],
  ['qemu-img', cannotSay],
] as const;

/** A QEMU tool that has the file open until it is disposed of. */
async function holding(path: string, ...how: string[]) {
  const child = spawn('qemu-io', ['-f', 'qcow2', ...how, path], { stdio: 'pipe' });
  await once(child.stdout, 'data'); // its prompt: it is open
  return {
    async [Symbol.asyncDispose]() {
      child.stdin.end('quit\n');
      await once(child, 'exit');
    },
  };
}

test.each(ways)('who writes, and who only reads, by %s', async (name, ask) => {
  const path = join(folder, name);
  await createImage(path, { format: 'qcow2', size: 1024 * 1024 });
  const written = () => hasWriter(path, QCOW2, ask);
  expect(await written()).toEqual({ ok: true, value: false });
  {
    await using _reader = await holding(path, '-r');
    expect(await written()).toEqual({ ok: true, value: false });
  }
  {
    await using _writer = await holding(path);
    expect(await written()).toEqual({ ok: true, value: true });
    expect(await hasWriter(path, RAW, ask)).toEqual({ ok: true, value: false });
  }
  expect(await written()).toEqual({ ok: true, value: false });
});
