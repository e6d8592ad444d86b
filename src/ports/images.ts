import type { Fault } from '#domain/failure.ts';
import type { FileName, Format } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';

/**
 * The files of volumes, as far as we touch them: the header page of an overlay, and one field of
 * it. Never the bytes of a raw file; never a file outside the named folder; no link is followed.
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
}
