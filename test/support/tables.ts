/**
 * What is on disk of an image of the differential tests, cluster by cluster, read without QEMU:
 * while QEMU has the file open its own tools see neither what is in memory nor only what is not.
 */
import { parseHeader } from '#domain/qcow2.ts';

export const CLUSTER = 65_536;

/** The place of a cluster's data or of a table, in an entry of a qcow2 table. */
const PLACE = 0x00fffffffffffe00n;
const ZERO = 1n;

export interface OnDisk {
  readonly header: { backing: string | null; format: string | null; clusters: number } | null;
  /** `.` nothing here, `Z` a zero cluster (`z`: with a place), else what the cluster is full of. */
  readonly cells: readonly string[];
}

export function onDisk(bytes: Buffer, format: 'raw' | 'qcow2'): OnDisk {
  if (format === 'raw') {
    const { length } = bytes;
    const cells = Array.from({ length: Math.ceil(length / CLUSTER) }, (_, at) => cell(bytes, at));
    return { header: null, cells };
  }
  const read = parseHeader(bytes.subarray(0, CLUSTER), bytes.length);
  if (!read.ok) throw new Error(read.error.says);
  const { backingFile: backing, backingFormat, size } = read.value;
  const clusters = size / CLUSTER;
  const cells = Array.from({ length: clusters }, (_, at) => tableCell(bytes, at));
  return { header: { backing, format: backingFormat, clusters }, cells };
}

/** Of an image so small that its first table entry covers it all. */
function tableCell(bytes: Buffer, at: number): string {
  const first = Number(bytes.readBigUInt64BE(40));
  const table = Number(bytes.readBigUInt64BE(first) & PLACE);
  if (table === 0) return '.';
  const entry = bytes.readBigUInt64BE(table + at * 8);
  const place = Number(entry & PLACE);
  if ((entry & ZERO) !== 0n) return place === 0 ? 'Z' : 'z';
  return place === 0 ? '.' : cell(bytes, place / CLUSTER);
}

/** What one cluster of bytes is: one byte over and over, a qcow2 header, or neither. */
export function cell(bytes: Buffer, at: number): string {
  const cluster = bytes.subarray(at * CLUSTER, (at + 1) * CLUSTER);
  const first = cluster[0] ?? 0;
  if (cluster.every((byte) => byte === first)) return String(first);
  const read = parseHeader(cluster, 4 * CLUSTER);
  if (!read.ok) return 'mixed';
  return forgedCell(read.value.backingFile, read.value.backingFormat);
}

export const forgedCell = (backing: string | null, format: string | null): string =>
  `header of ${backing}, ${format}`;

/** An empty qcow2 as `qemu-img create` lays it out, whatever its header page says. */
export function emptyImage(page: Uint8Array): Buffer {
  const bytes = Buffer.alloc(4 * CLUSTER);
  bytes.set(page.subarray(0, CLUSTER));
  bytes.writeBigUInt64BE(BigInt(2 * CLUSTER), CLUSTER);
  for (let at = 0; at < 4; at++) bytes.writeUInt16BE(1, 2 * CLUSTER + at * 2);
  return bytes;
}
