import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Fault } from '#domain/failure.ts';
import { type Format, RAW } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { codeOf } from '../system/access.ts';
import { FOR_LOOKING } from './copying.ts';
import { qemuImg } from './qemu-img.ts';

/** It reads a header; on a stalled share it would hang without this. */
const TIMEOUT_MS = 30_000;

/**
 * The bytes that a QEMU has locked of what it writes to (block/file-posix.c): that it may write,
 * that it may resize, and that nobody else may read. They are what keeps qemu-img out.
 */
const WRITERS_LOCKS: readonly number[] = [101, 103, 200];

/**
 * Whether a QEMU has the file open for writing, and may hold tables of it in memory: it has a lock
 * then. The kernel is asked for it with `isLocked`, where it can say; else qemu-img meets it, which
 * takes 13 ms. What the kernel holds of the file is on disk before the answer. A raw file has no
 * tables, and of what else QEMU calls raw nothing is kept in memory either.
 */
export async function hasWriter(
  path: string,
  format: Format,
  isLocked: (fd: number, byte: number) => Promise<boolean | null>,
): Promise<Result<boolean, Fault>> {
  const file = basename(path);
  try {
    await using handle = await open(path, FOR_LOOKING);
    await handle.sync();
    if (format === RAW) return ok(false);
    const locks = await Promise.all(WRITERS_LOCKS.map((byte) => isLocked(handle.fd, byte)));
    if (!locks.includes(null)) return ok(locks.includes(true));
    const args = ['info', '-f', format, '/dev/fd/3'];
    const failure = await qemuImg(args, [handle.fd], { timeout: TIMEOUT_MS });
    if (failure === null) return ok(false);
    if (failure.code === 'locked') return ok(true);
    const detail = `${file}: ${failure.detail}`;
    return err({ kind: 'rejected', who: 'qemu-img', code: failure.code, detail });
  } catch (error) {
    return err({ kind: 'unreachable', who: 'the share', detail: `${file}: ${codeOf(error)}` });
  }
}
