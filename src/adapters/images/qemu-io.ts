import { type FileHandle, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fill } from './pages.ts';
import { type Failure, runQemu } from './qemu-img.ts';

/** It writes less than a page; on a stalled share it would hang without this. */
const TIMEOUT_MS = 30_000;

/**
 * Writes the beginning of an encrypted file, whose header qemu-img does not touch without the key:
 * by qemu-io, which takes the same lock and so writes nothing that a QEMU has open. Null when it
 * succeeded.
 */
export async function writeStart(handle: FileHandle, bytes: Uint8Array): Promise<Failure | null> {
  const folder = await mkdtemp(join(tmpdir(), 'chainkeeper-header-'));
  try {
    const page = join(folder, 'page');
    await writeFile(page, bytes, { mode: 0o600 });
    const write = `write -q -s ${page} 0 ${bytes.length}`;
    const args = ['-f', 'raw', '-c', write, '-c', 'flush', '/dev/fd/3'];
    const failure = await runQemu('qemu-io', args, [handle.fd], { timeout: TIMEOUT_MS });
    if (failure !== null) return failure;
    const now = new Uint8Array(bytes.length);
    const same = (await fill(handle, now)) === bytes.length && Buffer.compare(now, bytes) === 0;
    return same ? null : { code: 'EIO', detail: 'qemu-io wrote something else' };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
