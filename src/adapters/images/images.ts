import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Fault } from '#domain/failure.ts';
import type { FileName, Format } from '#domain/ids.ts';
import { type FlawKind, parseHeader } from '#domain/qcow2.ts';
import { repoint } from '#domain/qcow2-writing.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';
import type { CopyOrder, Images } from '#ports/images.ts';
import { placeAt } from '../gluster/place.ts';
import { codeOf } from '../system/access.ts';
import { copyOffline, FOR_LOOKING } from './copying.ts';
import { pageOf } from './pages.ts';
import { qemuImg } from './qemu-img.ts';
import { writeStart } from './qemu-io.ts';
import { remoteHeader, remoteMend } from './remote.ts';

/** qemu-img changes one field of a header; on a stalled share it would hang without this. */
const QEMU_IMG_TIMEOUT_MS = 30_000;

/** The files of the share, opened without following a link and read no further than a page. */
export class ShareImages implements Images {
  header(directory: string, file: FileName): Promise<Result<HeaderView, Fault>> {
    const place = placeAt(directory);
    return place === null ? headerAt(join(directory, file)) : remoteHeader(place, file);
  }

  async mend(
    directory: string,
    overlay: FileName,
    backing: FileName,
    format: Format,
  ): Promise<Result<null, Fault>> {
    const no = (code: string, detail: string) =>
      err<Fault>({ kind: 'rejected', who: 'qemu-img', code, detail });
    const place = placeAt(directory);
    if (place !== null) {
      const ended = await remoteMend(place, overlay, backing, format);
      return ended === null ? ok(null) : no(ended.code, `${overlay}: ${ended.detail}`);
    }
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
      const page = await pageOf(handle, facts.size);
      const header = parseHeader(page, facts.size);
      const sealed = header.ok && header.value.encryption === 'luks';
      const anew = sealed ? repoint(page, backing, format) : null;
      if (sealed && anew === null) return no('ENOSPC', `${overlay} has no room for the name`);
      const ended =
        anew === null
          ? await qemuImg(args, [handle.fd], { timeout: QEMU_IMG_TIMEOUT_MS })
          : await writeStart(handle, anew);
      return ended === null ? ok(null) : no(ended.code, `${overlay}: ${ended.detail}`);
    } finally {
      await handle.close().catch(() => {});
    }
  }

  async copy(order: CopyOrder): Promise<Result<null, Fault>> {
    if (placeAt(order.directory) !== null) return NO_LOCKS;
    return copyOffline(order);
  }

  async sync(directory: string, file: FileName): Promise<Result<null, Fault>> {
    if (placeAt(directory) !== null) return NO_LOCKS;
    try {
      await using handle = await open(join(directory, file), FOR_LOOKING);
      await handle.sync();
      return ok(null);
    } catch (error) {
      return err({ kind: 'unreachable', who: 'the share', detail: `${file}: ${codeOf(error)}` });
    }
  }
}

const NO_LOCKS = err<Fault>({
  kind: 'rejected',
  who: 'qemu-img',
  code: 'ENOTSUP',
  detail: 'QEMU locks no file over a network, so none is merged while its guest is off',
});

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
    // An inode number of XFS or NFS may be too large for a double.
    const facts = await handle.stat({ bigint: true });
    if (!facts.isFile()) return flawed('not-regular', 'it is not a regular file');
    const size = Number(facts.size);
    const header = parseHeader(await pageOf(handle, size), size);
    return ok(header.ok ? ok({ ...header.value, inode: String(facts.ino) }) : header);
  } catch (error) {
    return err({ kind: 'unreachable', who: 'the share', detail: `${file}: ${codeOf(error)}` });
  } finally {
    await handle.close().catch(() => {});
  }
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
