import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Fault } from '#domain/failure.ts';
import type { FileName, Format } from '#domain/ids.ts';
import { type FlawKind, PAGE_BYTES, parseHeader } from '#domain/qcow2.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';
import type { Images } from '#ports/images.ts';

/** qemu-img changes one field of a header; on a stalled share it would hang without this. */
const QEMU_IMG_TIMEOUT_MS = 30_000;
const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };

/** The files of the share, opened without following a link and read no further than a page. */
export class ShareImages implements Images {
  header(directory: string, file: FileName): Promise<Result<HeaderView, Fault>> {
    return headerAt(join(directory, file));
  }

  async mend(
    directory: string,
    overlay: FileName,
    backing: FileName,
    format: Format,
  ): Promise<Result<null, Fault>> {
    const no = (code: string, detail: string) =>
      err<Fault>({ kind: 'rejected', who: 'qemu-img', code, detail });
    let handle: FileHandle;
    try {
      handle = await open(join(directory, overlay), FOR_LOOKING);
    } catch (error) {
      return no(codeOf(error), `${overlay} cannot be opened`);
    }
    try {
      const facts = await handle.stat();
      if (!facts.isFile()) return no('EINVAL', `${overlay} is not a regular file`);
      // -u writes the header only; QEMU's image lock refuses a file that somebody has open. It is
      // handed the file, not the name, behind which there may be a link by now.
      const args = ['rebase', '-u', '-f', 'qcow2', '-F', format, '-b', backing, '/dev/fd/3'];
      const ended = await qemuImg(args, handle.fd);
      return ended === null ? ok(null) : no(ended.code, `${overlay}: ${ended.detail}`);
    } finally {
      await handle.close().catch(() => {});
    }
  }
}

/** The header page of the file at `path`; no link is followed, and no other file is opened. */
export async function headerAt(path: string): Promise<Result<HeaderView, Fault>> {
  const file = basename(path);
  let handle: FileHandle;
  try {
    handle = await open(path, FOR_LOOKING);
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

// O_NONBLOCK: opening a FIFO that somebody put there must not hang.
const FOR_LOOKING = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** What it says that it is, or why it cannot be run. */
export function qemuImgVersion(command = 'qemu-img'): Promise<Result<string, string>> {
  return new Promise((resolve) => {
    const child = spawn(command, ['--version'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: QEMU_IMG_TIMEOUT_MS,
      env: ENVIRONMENT,
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, 4096);
    });
    child.on('error', (error) => resolve(err(error.message)));
    child.on('close', (code) =>
      resolve(code === 0 ? ok(said.split('\n')[0] ?? '') : err(`it ended with ${code}`)),
    );
  });
}

/** Runs qemu-img with `fd` as its descriptor 3; null when it succeeded. */
function qemuImg(
  args: readonly string[],
  fd: number,
): Promise<{ readonly code: string; readonly detail: string } | null> {
  return new Promise((resolve) => {
    const child = spawn('qemu-img', args, {
      stdio: ['ignore', 'ignore', 'pipe', fd],
      timeout: QEMU_IMG_TIMEOUT_MS,
      env: ENVIRONMENT,
    });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4096);
    });
    child.on('error', (error) => resolve({ code: codeOf(error), detail: error.message }));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(null);
      const detail = said.trim().split('\n').at(-1) ?? '';
      resolve({ code: signal === null ? String(code) : 'timeout', detail });
    });
  });
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

function notOpened(error: unknown, file: string): Result<HeaderView, Fault> {
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
