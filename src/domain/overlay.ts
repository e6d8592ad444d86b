import { type FileName, type Format, LUKS, RAW } from './ids.ts';
import type { HeaderFlaw, Qcow2Header } from './qcow2.ts';
import type { Result } from './result.ts';

/**
 * What an overlay must say before it becomes a guest's active layer. libvirt opens it with
 * `"backing":null` and attaches the live node in memory, so a header that lies is accepted, looks
 * perfect in the live XML, and takes effect at the next start (measured on libvirt 9.0 and
 * QEMU 7.2): the guest then reads another file, or the host reads a file for it (OSSA-2014-033).
 */
export interface OverlayExpectation {
  /** The base name of the file that the guest writes to now. */
  readonly backing: FileName;
  /** The format that the hypervisor has for that file. */
  readonly format: Format;
  /** The disk's virtual size in bytes: of an encrypted volume what the guest sees of it. */
  readonly size: number;
  /** Whether the volume is encrypted, by LUKS: so must the overlay be. */
  readonly encrypted: boolean;
}

/** What a header is held against; whatever is left out is not compared. */
export interface HeaderExpectation {
  /** Null: it must name none. */
  readonly backing?: string | null;
  readonly format?: string;
  readonly size?: number;
  /** Left out: it must not be. */
  readonly encrypted?: boolean;
}

/**
 * `mendable`: all is right but the backing format, which can be written anew while nobody has the
 * file open. `refused`: anything else.
 */
export type OverlayVerdict =
  | { readonly verdict: 'accepted' }
  | { readonly verdict: 'mendable'; readonly reasons: readonly HeaderFlaw[] }
  | { readonly verdict: 'refused'; readonly reasons: readonly HeaderFlaw[] };

export const judgeOverlay = (
  header: Result<Qcow2Header, HeaderFlaw>,
  expected: OverlayExpectation,
): OverlayVerdict => judgeHeader(header, expected);

/** The same verdict by as much as somebody knows of the backing file. */
export function judgeHeader(
  header: Result<Qcow2Header, HeaderFlaw>,
  expected: HeaderExpectation,
): OverlayVerdict {
  if (!header.ok) return { verdict: 'refused', reasons: [header.error] };
  const fatal = fatalFlaws(header.value, expected);
  const format = wrongFormat(header.value, expected);
  const reasons = format === null ? fatal : [...fatal, flaw('backing-format', format)];
  if (fatal.length > 0) return { verdict: 'refused', reasons };
  return reasons.length > 0 ? { verdict: 'mendable', reasons } : { verdict: 'accepted' };
}

function fatalFlaws(header: Qcow2Header, expected: HeaderExpectation): HeaderFlaw[] {
  const flaws: HeaderFlaw[] = [];
  const { backing, size } = expected;
  if (backing !== undefined && header.backingFile !== backing) {
    const named = header.backingFile === null ? 'no backing file' : header.backingFile;
    const must = backing === null ? 'it must name none' : `the guest writes to ${backing}`;
    flaws.push(flaw('backing-name', `it names ${named}, and ${must}`));
  }
  if (size !== undefined && header.size !== size) {
    flaws.push(flaw('size', `its virtual size is ${header.size}, and the disk's ${size}`));
  }
  if (header.dataFile) flaws.push(flaw('data-file', 'it keeps its data in another file'));
  const encryption = wrongEncryption(header.encryption, expected.encrypted === true);
  if (encryption !== null) flaws.push(flaw('encryption', encryption));
  if (header.snapshots > 0) {
    flaws.push(flaw('snapshots', `it holds ${header.snapshots} internal snapshots`));
  }
  if (header.bitmaps) flaws.push(flaw('extensions', 'it holds dirty bitmaps'));
  if (header.corrupt) flaws.push(flaw('state', 'it is marked corrupt'));
  if (header.dirty) flaws.push(flaw('state', 'it is marked dirty: something has it open'));
  return flaws;
}

/** What the guest writes to a plain overlay over an encrypted volume, everybody can read. */
function wrongEncryption(has: Qcow2Header['encryption'], wanted: boolean): string | null {
  if (has === 'aes') return 'it is encrypted with AES, which QEMU no longer does';
  if (wanted === (has === 'luks')) return null;
  return wanted
    ? 'it is not encrypted, and the volume is'
    : 'it is encrypted, and the volume is not';
}

/** What is wrong with the backing format, or null. A format left out is one that is probed. */
function wrongFormat(header: Qcow2Header, expected: HeaderExpectation): string | null {
  const { backing, format, encrypted = false } = expected;
  const named = backing === undefined ? header.backingFile : backing;
  const said = header.backingFormat;
  // libvirt's raw with a key is QEMU's luks; Cinder writes the one and QEMU the other (measured).
  if (encrypted && format === RAW && said === LUKS) return null;
  if (named === null || (said !== null && format === undefined) || said === format) return null;
  if (format === undefined) return `it names no format for ${named}: whoever opens it would probe`;
  return `it calls ${named} ${said ?? 'nothing'}, and the guest has it as ${format}`;
}

const flaw = (kind: HeaderFlaw['kind'], says: string): HeaderFlaw => ({ kind, says });
