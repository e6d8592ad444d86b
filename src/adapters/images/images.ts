import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fault } from '#domain/failure.ts';
import type { FileName, Format } from '#domain/ids.ts';
import { type FlawKind, PAGE_BYTES, parseHeader } from '#domain/qcow2.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';
import type { Images } from '#ports/images.ts';

/** qemu-img changes one field of a header; on a stalled share it would hang without this. */
const QEMU_IMG_TIMEOUT_MS = 30_000;

/** The files of the share, opened without following a link and read no further than a page. */
export class ShareImages implements Images {
  async header(directory: string, file: FileName): Promise<Result<HeaderView, Fault>> {
    const path = join(directory, file);
    let handle: FileHandle;
    try {
      // O_NONBLOCK: opening a FIFO that somebody put there must not hang.
      handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      return notOpened(error, file);
    }
    try {
      const facts = await handle.stat();
      if (!facts.isFile()) return flawed('not-regular', 'it is not a regular file');
      const page = new Uint8Array(Math.min(PAGE_BYTES, facts.size));
      const read = await fill(handle, page);
      return ok(parseHeader(page.subarray(0, read), facts.size));
    } catch (error) {
      return err({ kind: 'unreachable', who: 'the share', detail: `${file}: ${codeOf(error)}` });
    } finally {
      await handle.close().catch(() => {});
    }
  }

  async mend(
    directory: string,
    overlay: FileName,
    backing: FileName,
    format: Format,
  ): Promise<Result<null, Fault>> {
    // -u writes the header only; QEMU's image lock refuses a file that somebody has open.
    const args = ['rebase', '-u', '-f', 'qcow2', '-F', format, '-b', backing];
    return new Promise((resolve) => {
      execFile(
        'qemu-img',
        [...args, `./${overlay}`],
        {
          cwd: directory,
          timeout: QEMU_IMG_TIMEOUT_MS,
          env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
        },
        (error, _stdout, stderr) => {
          if (error === null) return resolve(ok(null));
          const code = error.killed ? 'timeout' : (error.code ?? 'signal');
          const detail = stderr.trim().split('\n').at(-1) ?? error.message;
          resolve(err({ kind: 'rejected', who: 'qemu-img', code, detail }));
        },
      );
    });
  }
}

async function fill(handle: FileHandle, page: Uint8Array): Promise<number> {
  let read = 0;
  while (read < page.length) {
    const { bytesRead } = await handle.read(page, read, page.length - read, read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return read;
}

function notOpened(error: unknown, file: FileName): Result<HeaderView, Fault> {
  const code = codeOf(error);
  if (code === 'ENOENT') return flawed('missing', 'it is not there');
  if (code === 'ELOOP') return flawed('not-regular', 'it is a symbolic link');
  if (code === 'ENXIO') return flawed('not-regular', 'it is not a regular file');
  if (code === 'EACCES' || code === 'EPERM') {
    return err({ kind: 'rejected', who: 'the share', code, detail: `${file} may not be read` });
  }
  return err({ kind: 'unreachable', who: 'the share', detail: `${file}: ${code}` });
}

const flawed = (kind: FlawKind, says: string): Result<HeaderView, Fault> => ok(err({ kind, says }));

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);
