import { PAGE_BYTES } from '#domain/qcow2.ts';

/** The first bytes of a qcow2 file and the length of the whole file: what the parser is given. */
export interface FileHead {
  readonly page: Uint8Array;
  readonly fileBytes: number;
}

/** What to write. What is left out is what `qemu-img create` writes. */
export interface HeaderFacts {
  readonly version?: 2 | 3;
  readonly clusterBits?: number;
  readonly size?: number;
  readonly backing?: string | null;
  /** Null writes no format extension. */
  readonly format?: string | null;
  readonly headerLength?: number;
  readonly incompatible?: bigint;
  readonly crypt?: number;
  readonly snapshots?: number;
  readonly compression?: number;
  /** Besides the format, in this order, after it. */
  readonly extensions?: readonly Extension[];
  /** Written after the end of the extensions, before the backing name. */
  readonly afterEnd?: readonly Extension[];
}

export type Extension = readonly [type: number, data: string];

export const TYPE = {
  end: 0,
  format: 0xe2792aca,
  features: 0x6803f857,
  bitmaps: 0x23852875,
  luks: 0x0537be77,
  dataFile: 0x44415441,
} as const;

/** Where the fields are (QEMU's docs/interop/qcow2). */
export const AT = {
  magic: 0,
  version: 4,
  backingOffset: 8,
  backingSize: 16,
  clusterBits: 20,
  size: 24,
  crypt: 32,
  l1Size: 36,
  l1Offset: 40,
  refcountOffset: 48,
  refcountClusters: 56,
  snapshots: 60,
  snapshotsOffset: 64,
  incompatible: 72,
  autoclear: 88,
  refcountOrder: 96,
  headerLength: 100,
  compression: 104,
} as const;

/** The extension that says where the LUKS header is: somewhere in the file, if nothing is said. */
export function luks(at = 65_536n, bytes = 65_536n): Extension {
  const data = new DataView(new ArrayBuffer(16));
  data.setBigUint64(0, at);
  data.setBigUint64(8, bytes);
  return [TYPE.luks, String.fromCharCode(...new Uint8Array(data.buffer))];
}

/** Cluster 0 the header, 1 the refcount table, 2 a refcount block, 3 the L1 table. */
export function qcow2(facts: HeaderFacts = {}): FileHead {
  const { version = 3, clusterBits = 16, size = 2 ** 23 } = facts;
  const { backing = 'v', format = 'raw', incompatible = 0n } = facts;
  const cluster = 2 ** clusterBits;
  const perL1 = (cluster / (incompatible & 16n ? 16 : 8)) * cluster;
  const l1 = Math.max(1, Math.ceil(size / perL1));
  const headerLength = version === 2 ? 72 : (facts.headerLength ?? 112);
  const fileBytes = 3 * cluster + l1 * 8;
  const page = new Uint8Array(Math.min(PAGE_BYTES, fileBytes));
  const extensions = [
    ...(format === null ? [] : [extension([TYPE.format, format])]),
    ...(facts.extensions ?? []).map(extension),
    extension([TYPE.end, '']),
    ...(facts.afterEnd ?? []).map(extension),
  ];
  const words = extensions.flatMap((bytes) => [...bytes]);
  page.set(words, headerLength);
  const name = latin(backing ?? '');
  const nameAt = headerLength + words.length;
  page.set(name, nameAt);
  const view = new DataView(page.buffer);
  const u32 = (at: number, value: number) => view.setUint32(at, value);
  const u64 = (at: number, value: bigint) => view.setBigUint64(at, value);
  u32(AT.magic, 0x514649fb);
  u32(AT.version, version);
  u64(AT.backingOffset, backing === null ? 0n : BigInt(nameAt));
  u32(AT.backingSize, name.length);
  u32(AT.clusterBits, clusterBits);
  u64(AT.size, BigInt(size));
  u32(AT.crypt, facts.crypt ?? 0);
  u32(AT.l1Size, l1);
  u64(AT.l1Offset, BigInt(3 * cluster));
  u64(AT.refcountOffset, BigInt(cluster));
  u32(AT.refcountClusters, 1);
  u32(AT.snapshots, facts.snapshots ?? 0);
  u64(AT.snapshotsOffset, facts.snapshots ? BigInt(2 * cluster) : 0n);
  if (version === 3) {
    u64(AT.incompatible, incompatible);
    u32(AT.refcountOrder, 4);
    u32(AT.headerLength, headerLength);
    if (headerLength > 104) u32(AT.compression, (facts.compression ?? 0) * 2 ** 24);
  }
  return { page, fileBytes };
}

/** A copy with one number written over; what falls off the page is dropped. */
export const put32 = (head: FileHead, at: number, value: number): FileHead =>
  written(head, at, 4, (view) => view.setUint32(0, value));
export const put64 = (head: FileHead, at: number, value: bigint): FileHead =>
  written(head, at, 8, (view) => view.setBigUint64(0, value));

/** A copy of a file that ends early. */
export const cutTo = (head: FileHead, bytes: number): FileHead => ({
  page: head.page.slice(0, bytes),
  fileBytes: Math.min(bytes, head.fileBytes),
});

/** What a careless reader makes of a header; `wins` says which of two formats it believes. */
export function carelessly(head: FileHead, wins: 'first' | 'last') {
  const view = new DataView(head.page.buffer, head.page.byteOffset, head.page.byteLength);
  const offset = Number(view.getBigUint64(AT.backingOffset));
  const cluster = 2 ** view.getUint32(AT.clusterBits);
  const text = (at: number, length: number) =>
    String.fromCharCode(...head.page.subarray(at, at + length)).split('\0', 1)[0] ?? '';
  const formats: string[] = [];
  let at = view.getUint32(AT.version) === 2 ? 72 : view.getUint32(AT.headerLength);
  while (at + 8 <= Math.min(offset || cluster, head.page.length)) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    if (type === TYPE.end) break;
    if (type === TYPE.format) formats.push(text(at + 8, length));
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return {
    size: view.getBigUint64(AT.size),
    backing: offset === 0 ? null : text(offset, view.getUint32(AT.backingSize)),
    format: formats.at(wins === 'first' ? 0 : -1) || null,
  };
}

function extension([type, data]: Extension): Uint8Array {
  const bytes = new Uint8Array(8 + Math.ceil(data.length / 8) * 8);
  new DataView(bytes.buffer).setUint32(0, type);
  new DataView(bytes.buffer).setUint32(4, data.length);
  bytes.set(latin(data), 8);
  return bytes;
}

function written(head: FileHead, at: number, bytes: number, set: (view: DataView) => void) {
  const page = head.page.slice();
  const number = new Uint8Array(bytes);
  set(new DataView(number.buffer));
  if (at < page.length) page.set(number.subarray(0, page.length - at), at);
  return { ...head, page };
}

const latin = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
