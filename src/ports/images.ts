import type { Layer, Merge } from '#domain/chain.ts';
import type { Fault } from '#domain/failure.ts';
import type { FileName, Format } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';

/** A merge of files that no QEMU has open. */
export interface CopyOrder {
  readonly directory: string;
  /** The whole chain, the active file first: no header is asked what lies below, nor its format. */
  readonly chain: Layer;
  readonly merge: Merge;
}

/**
 * The files of volumes, as far as we touch them: the header page of an overlay, one field of it,
 * and of a guest that is shut off the merge of one file into another by qemu-img, which takes
 * QEMU's image locks: what somebody else has open is `rejected` as `locked`, and nothing changed.
 * Never the bytes of a raw file; never a file outside the named folder; no link is followed.
 * test/contract/images.ts is the law.
 */
export interface Images {
  /** The header of a file that is qcow2 by all we know. */
  header(directory: string, file: FileName): Promise<Result<HeaderView, Fault>>;
  /**
   * Writes backing name and format into the header of an overlay that nobody has open
   * (`qemu-img rebase -u`, every format named).
   */
  mend(
    directory: string,
    overlay: FileName,
    backing: FileName,
    format: Format,
  ): Promise<Result<null, Fault>>;
  /**
   * A commit copies what `top` has into the file below and leaves `top` and every header alone
   * (`qemu-img commit -d`). A pull copies into the active file what lies between it and `onto`, and
   * then names `onto` in its header, bare, and with its format (`qemu-img rebase`). What was copied
   * is on disk when it returns, and a header is never rewritten before that. A copy that was broken
   * off can be made again; one that was made and is asked for again changes nothing.
   */
  copy(order: CopyOrder): Promise<Result<null, Fault>>;
  /** Returns once all of the file is on disk, its header too. */
  sync(directory: string, file: FileName): Promise<Result<null, Fault>>;
}
