import type { Format } from './ids.ts';
import { badLuks, outside } from './qcow2-places.ts';
import { err, ok, type Result } from './result.ts';

/**
 * The header page of a qcow2 file, read by the layout in QEMU's docs/interop/qcow2 and the checks
 * of block/qcow2.c, with limits of our own on top. Total: any bytes give facts or flaws, never an
 * exception. What we accept, QEMU opens with the same name, format and size; whatever could be
 * read in two ways is a flaw.
 */

/** The most that is ever read of a file: its header page. */
export const PAGE_BYTES = 65536;

/** What the header says. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Virtual size in bytes. */
  readonly size: number;
  readonly backingFile: string | null;
  readonly backingFormat: Format | null;
  readonly encryption: 'none' | 'aes' | 'luks';
  readonly dataFile: boolean;
  readonly dirty: boolean;
  readonly corrupt: boolean;
  readonly snapshots: number;
  readonly bitmaps: boolean;
  readonly headerLength: number;
  /** Of the whole file: it grows with every cluster that is written for the first time. */
  readonly fileBytes: number;
}

/** Why a header is not believed, or not good enough for an overlay. */
export type FlawKind =
  | 'too-short'
  | 'not-qcow2'
  | 'version'
  | 'cluster-size'
  | 'header-length'
  | 'size'
  | 'encryption'
  | 'features'
  | 'tables'
  | 'snapshots'
  | 'backing-name'
  | 'extensions'
  | 'backing-format'
  | 'data-file'
  | 'state'
  | 'not-regular'
  | 'missing';

export interface HeaderFlaw {
  readonly kind: FlawKind;
  /** A clause for a person: what the header says. */
  readonly says: string;
}

const MAGIC = 0x514649fb;
const DIRTY = 1n;
const CORRUPT = 2n;
const DATA_FILE = 4n;
/** Dirty, corrupt, data file, compression type, extended L2: all that QEMU 10 knows. */
const KNOWN_FEATURES = 31n;
const EXTENDED_L2 = 16n;

const MAX_HEADER_LENGTH = 4096;
const MAX_EXTENSIONS = 32;
const MAX_EXTENSION_BYTES = 4096;
const MAX_FEATURE_NAMES_BYTES = 9216;
const MAX_SIZE = BigInt(Number.MAX_SAFE_INTEGER);

/** By the number in the header. */
const METHODS = ['none', 'aes', 'luks'] as const;

/** The types of header extensions that QEMU 7.2 knows. */
export const EXTENSION = {
  end: 0,
  backingFormat: 0xe2792aca,
  featureNames: 0x6803f857,
  bitmaps: 0x23852875,
  encryption: 0x0537be77,
  dataFileName: 0x44415441,
} as const;

const flaw = (kind: FlawKind, says: string): Result<never, HeaderFlaw> => err({ kind, says });

/**
 * Reads a header page: the first bytes of a file (at most `PAGE_BYTES`; the whole file when it is
 * smaller) and the file's length in bytes.
 */
export function parseHeader(page: Uint8Array, fileBytes: number): Result<Qcow2Header, HeaderFlaw> {
  if (page.length < 72) return flaw('too-short', `it is only ${page.length} bytes long`);
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  if (view.getUint32(0) !== MAGIC) return flaw('not-qcow2', 'it is not a qcow2 file');
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) return flaw('version', `it is qcow2 version ${version}`);
  if (version === 3 && page.length < 104) return flaw('too-short', 'its header is cut off');
  const clusterBits = view.getUint32(20);
  if (clusterBits < 9 || clusterBits > 21) {
    return flaw('cluster-size', `its clusters have 2^${clusterBits} bytes`);
  }
  const headerLength = version === 2 ? 72 : view.getUint32(100);
  const cluster = 2 ** clusterBits;
  if (version === 3 && !sound(headerLength, cluster)) {
    return flaw('header-length', `its header claims ${headerLength} bytes`);
  }
  if (headerLength > page.length) return flaw('too-short', 'its header is cut off');
  return readFacts({ view, page, fileBytes, version, clusterBits, cluster, headerLength });
}

interface Page {
  readonly view: DataView;
  readonly page: Uint8Array;
  readonly fileBytes: number;
  readonly version: 2 | 3;
  readonly clusterBits: number;
  readonly cluster: number;
  readonly headerLength: number;
}

const sound = (headerLength: number, cluster: number): boolean =>
  headerLength >= 104 &&
  headerLength % 8 === 0 &&
  headerLength <= Math.min(cluster, MAX_HEADER_LENGTH);

function readFacts(at: Page): Result<Qcow2Header, HeaderFlaw> {
  const { view, version } = at;
  const size = view.getBigUint64(24);
  if (size > MAX_SIZE) return flaw('size', `its virtual size is ${size} bytes`);
  if (size % 512n !== 0n)
    return flaw('size', `its virtual size is ${size} bytes, no whole sectors`);
  const crypt = view.getUint32(32);
  if (crypt > 2) return flaw('encryption', `its encryption method is ${crypt}`);
  const features = version === 3 ? view.getBigUint64(72) : 0n;
  const unknown = features & ~KNOWN_FEATURES;
  if (unknown !== 0n) return flaw('features', `it has unknown feature bits 0x${hex(unknown)}`);
  if ((features & EXTENDED_L2) !== 0n && at.clusterBits < 14) {
    return flaw('features', 'it has extended L2 entries with clusters that are too small');
  }
  if (version === 3 && view.getUint32(96) > 6) {
    return flaw('tables', `its refcount order is ${view.getUint32(96)}`);
  }
  const compression = at.headerLength > 104 ? view.getUint8(104) : 0;
  if (compression > 1 || (compression === 1) !== ((features & 8n) !== 0n))
    return flaw('features', `its compression type is ${compression}`);
  const tables = badTable(at, Number(size), (features & EXTENDED_L2) !== 0n);
  if (tables !== null) return flaw('tables', tables);
  const name = backingName(at);
  if (!name.ok) return name;
  const extensions = readExtensions(at, name.value?.offset ?? at.cluster);
  if (!extensions.ok) return extensions;
  if ((extensions.value.luks !== null) !== (crypt === 2))
    return flaw('encryption', 'its encryption method and its LUKS pointer disagree');
  const luks = badLuks(at, extensions.value.luks);
  if (luks !== null) return flaw('encryption', `its LUKS header ${luks}`);
  if (
    extensions.value.bitmaps &&
    (view.getBigUint64(88) & 1n) !== 0n &&
    extensions.value.bitmapCount === 0
  )
    return flaw('extensions', 'it has no bitmaps in use');
  return ok({
    version,
    clusterBits: at.clusterBits,
    size: Number(size),
    backingFile: name.value?.text ?? null,
    backingFormat: extensions.value.backingFormat,
    encryption: METHODS[crypt] ?? 'none',
    dataFile: (features & DATA_FILE) !== 0n || extensions.value.dataFile,
    dirty: (features & DIRTY) !== 0n,
    corrupt: (features & CORRUPT) !== 0n,
    snapshots: view.getUint32(60),
    bitmaps: extensions.value.bitmaps,
    headerLength: at.headerLength,
    fileBytes: at.fileBytes,
  });
}

/** QEMU's limits on the L1, refcount and snapshot tables, and that each lies inside the file. */
function badTable(at: Page, size: number, extendedL2: boolean): string | null {
  const { view, cluster, fileBytes } = at;
  const perL1 = (cluster / (extendedL2 ? 16 : 8)) * cluster;
  const l1Entries = view.getUint32(36);
  if (l1Entries * 8 > 32 * 2 ** 20) return `its L1 table has ${l1Entries} entries`;
  if (l1Entries < Math.ceil(size / perL1)) return 'its L1 table is too small for its size';
  const l1 = outside(view.getBigUint64(40), l1Entries * 8, cluster, fileBytes);
  if (l1 !== null) return `its L1 table ${l1}`;
  const refcounts = view.getUint32(56);
  if (refcounts < 1 || refcounts * cluster > 8 * 2 ** 20) {
    return `its refcount table has ${refcounts} clusters`;
  }
  const refcountTable = outside(view.getBigUint64(48), cluster, cluster, fileBytes);
  if (refcountTable !== null) return `its refcount table ${refcountTable}`;
  const snapshots = view.getUint32(60);
  if (snapshots > 65536) return `it has ${snapshots} internal snapshots`;
  const list = outside(view.getBigUint64(64), snapshots === 0 ? 0 : 1, cluster, fileBytes);
  return list === null ? null : `its snapshot table ${list}`;
}

function backingName(
  at: Page,
): Result<{ readonly offset: number; readonly text: string } | null, HeaderFlaw> {
  const start = at.view.getBigUint64(8);
  const length = at.view.getUint32(16);
  if (start === 0n) return ok(null);
  const bad = (says: string) => flaw('backing-name', says);
  // QEMU takes an offset without a length as no backing at all; nobody writes that by accident.
  if (length === 0) return bad('its backing name has no length');
  if (start < BigInt(at.headerLength)) return bad('its backing name lies inside the header');
  if (start > BigInt(at.cluster)) return bad('its backing name lies outside the first cluster');
  const offset = Number(start);
  if (length > Math.min(1023, at.cluster - offset)) {
    return bad(`its backing name has ${length} bytes`);
  }
  if (offset + length > at.page.length) return bad('its backing name is cut off');
  const text = plainText(at.page.subarray(offset, offset + length));
  if (text === null) return bad('its backing name is not plain text');
  return ok({ offset, text });
}

interface Extensions {
  backingFormat: Format | null;
  luks: Uint8Array | null;
  dataFile: boolean;
  bitmaps: boolean;
  bitmapCount?: number;
}

function readExtensions(at: Page, end: number): Result<Extensions, HeaderFlaw> {
  const found: Extensions = {
    backingFormat: null,
    luks: null,
    dataFile: false,
    bitmaps: false,
  };
  const seen = new Set<number>();
  const bad = (says: string) => flaw('extensions', says);
  const limit = Math.min(end, at.page.length);
  for (let offset = at.headerLength; seen.size <= MAX_EXTENSIONS; ) {
    if (offset + 8 > limit) return bad('its header extensions do not end');
    const type = at.view.getUint32(offset);
    const length = at.view.getUint32(offset + 4);
    if (type === EXTENSION.end) {
      return length === 0 ? ok(found) : bad('the end of its header extensions has a length');
    }
    const most = type === EXTENSION.featureNames ? MAX_FEATURE_NAMES_BYTES : MAX_EXTENSION_BYTES;
    if (length > most) return bad(`a header extension has ${length} bytes`);
    const next = offset + 8 + Math.ceil(length / 8) * 8;
    if (next > limit) return bad('a header extension is cut off');
    // QEMU lets the last of two win; a second reader may let the first.
    if (seen.has(type)) return bad('a header extension occurs twice');
    seen.add(type);
    const data = at.page.subarray(offset + 8, offset + 8 + length);
    const problem = noteExtension(found, type, data);
    if (problem !== null) return err(problem);
    offset = next;
  }
  return bad(`it has more than ${MAX_EXTENSIONS} header extensions`);
}

function noteExtension(found: Extensions, type: number, data: Uint8Array): HeaderFlaw | null {
  if (type === EXTENSION.encryption) found.luks = data;
  if (type === EXTENSION.dataFileName) found.dataFile = true;
  if (type === EXTENSION.bitmaps) {
    if (data.length !== 24)
      return {
        kind: 'extensions',
        says: 'its bitmap extension has another length',
      };
    found.bitmaps = true;
    found.bitmapCount = new DataView(data.buffer, data.byteOffset).getUint32(0);
  }
  if (type !== EXTENSION.backingFormat || data.length === 0) return null;
  // A format of no bytes is no format to QEMU, which would then probe.
  const text = data.length > 15 ? null : plainText(data);
  if (text === null) return { kind: 'backing-format', says: 'its backing format is not a name' };
  found.backingFormat = text as Format;
  return null;
}

/** Printable ASCII, or null: a NUL would cut the name for QEMU and not for another reader. */
function plainText(bytes: Uint8Array): string | null {
  let text = '';
  for (const byte of bytes) {
    if (byte < 0x20 || byte > 0x7e) return null;
    text += String.fromCharCode(byte);
  }
  return text;
}

const hex = (bits: bigint): string => bits.toString(16);
