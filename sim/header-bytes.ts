import { CLUSTER_BYTES, type Header, type SimFile } from './share.ts';

/** The first bytes of a file and how many it has. */
export interface FileHead {
  readonly page: Uint8Array;
  readonly fileBytes: number;
}

const MAGIC = 0x514649fb;
const BACKING_FORMAT = 0xe2792aca;
const HEADER_LENGTH = 112;
/** Cluster 0 is the header, 1 the refcount table, 2 a refcount block, 3 the L1 table. */
const META_CLUSTERS = 4;

/** What whoever reads the file finds there. */
export function headOf(file: SimFile): FileHead {
  if (file.header !== null) return qcow2Head(file.header);
  const first = file.content[0];
  if (typeof first === 'object') return qcow2Head(first);
  const page = new Uint8Array(CLUSTER_BYTES).fill(typeof first === 'number' ? first : 0);
  return { page, fileBytes: file.clusters * CLUSTER_BYTES };
}

/** A header is never changed, only replaced; its page is made once. */
const HEADS = new WeakMap<Header, FileHead>();

function qcow2Head(header: Header): FileHead {
  const known = HEADS.get(header);
  if (known !== undefined) return known;
  const made = laidOut(header);
  HEADS.set(header, made);
  return made;
}

/** QEMU's docs/interop/qcow2, version 3, as `qemu-img create` lays it out. */
function laidOut(header: Header): FileHead {
  const page = new Uint8Array(CLUSTER_BYTES);
  const view = new DataView(page.buffer);
  const size = header.clusters * CLUSTER_BYTES;
  view.setUint32(0, MAGIC);
  view.setUint32(4, 3);
  view.setUint32(20, 16);
  view.setBigUint64(24, BigInt(size));
  view.setUint32(36, Math.max(1, Math.ceil(size / ((CLUSTER_BYTES / 8) * CLUSTER_BYTES))));
  view.setBigUint64(40, BigInt(3 * CLUSTER_BYTES));
  view.setBigUint64(48, BigInt(CLUSTER_BYTES));
  view.setUint32(56, 1);
  view.setBigUint64(72, BigInt(header.features));
  view.setUint32(96, 4);
  view.setUint32(100, HEADER_LENGTH);
  let at = HEADER_LENGTH;
  if (header.format !== null) {
    view.setUint32(at, BACKING_FORMAT);
    view.setUint32(at + 4, header.format.length);
    page.set(latin(header.format), at + 8);
    at += 8 + Math.ceil(header.format.length / 8) * 8;
  }
  at += 8;
  if (header.backing !== null) {
    view.setBigUint64(8, BigInt(at));
    view.setUint32(16, header.backing.length);
    page.set(latin(header.backing), at);
  }
  return { page, fileBytes: META_CLUSTERS * CLUSTER_BYTES };
}

const latin = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
