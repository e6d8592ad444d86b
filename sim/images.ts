import type { Fault } from '#domain/failure.ts';
import { type FileName, type Format, QCOW2 } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';
import type { CopyOrder, Images } from '#ports/images.ts';
import { headOf } from './header-bytes.ts';
import { copyGiven, LOCKED } from './qemu-img.ts';
import { forged, type SimFile, type SimShare } from './share.ts';

/** The domain's parser of header pages; handed in, because the sim imports no rule. */
export type HeaderParser = (page: Uint8Array, fileBytes: number) => HeaderView;

/** The files of the simulated share, as bytes: they go through the same parser as real ones. */
export class SimImages implements Images {
  readonly #share: SimShare;
  readonly #parse: HeaderParser;
  /** Every file whose bytes were asked for, in order. */
  readonly opened: FileName[] = [];

  constructor(share: SimShare, parse: HeaderParser) {
    this.#share = share;
    this.#parse = parse;
  }

  async header(directory: string, file: FileName): Promise<Result<HeaderView, Fault>> {
    const found = this.#find(directory, file);
    if (found === null) return ok(err({ kind: 'missing', says: 'it is not there' }));
    if (found.access === 'folder') {
      return ok(err({ kind: 'not-regular', says: 'it is not a regular file' }));
    }
    this.opened.push(file);
    const { page, fileBytes } = headOf(found);
    const header = this.#parse(page, fileBytes);
    return ok(header.ok ? ok({ ...header.value, inode: found.inode }) : header);
  }

  async mend(
    directory: string,
    overlay: FileName,
    backing: FileName,
    format: Format,
  ): Promise<Result<null, Fault>> {
    const found = this.#find(directory, overlay);
    if (found === null) return failed(`Could not open '${overlay}': No such file or directory`);
    if (found.access === 'folder') return failed(`${overlay} is not a regular file`);
    // We are root: a mode keeps us out of nothing.
    if (found.access === 'immutable') return failed('Operation not permitted');
    if (this.#share.isLocked(found)) return failed(LOCKED);
    const header = found.header ?? forged(found);
    if (header === null) return failed('Image is not in qcow2 format');
    const mended = { ...header, backing, format };
    if (found.format === QCOW2) found.header = mended;
    else found.content[0] = mended;
    return ok(null);
  }

  async copy({ directory, chain, merge }: CopyOrder): Promise<Result<null, Fault>> {
    if (directory !== this.#share.directory) return failed('No such file or directory');
    const said = copyGiven(this.#share, chain, merge);
    return said === null ? ok(null) : failed(said);
  }

  async sync(directory: string, file: FileName): Promise<Result<null, Fault>> {
    if (this.#find(directory, file) !== null) return ok(null);
    return err({ kind: 'unreachable', who: 'the share', detail: `${file}: ENOENT` });
  }

  #find(directory: string, file: FileName): SimFile | null {
    return this.#share.at(directory, file);
  }
}

const failed = (detail: string): Result<null, Fault> =>
  err({ kind: 'rejected', who: 'qemu-img', code: detail === LOCKED ? 'locked' : '1', detail });
