import { CLUSTER_BYTES, type Header, type SimFile } from './share.ts';

/** The first bytes of a file and how many it has. */
export interface FileHead {
  readonly page: Uint8Array;
  readonly fileBytes: number;
}

const MAGIC = 0x514649fb;
const BACKING_FORMAT = 0xe2792aca;
const LUKS_POINTER = 0x0537be77;
const LUKS_METHOD = 2;
/** `LUKS` and two bytes more, version 1: what cryptsetup and QEMU begin a raw volume with. */
const LUKS_MAGIC = [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe, 0x00, 0x01];
/** What a LUKS header takes before the first encrypted byte: 2 MiB as QEMU makes it. */
const LUKS_CLUSTERS = 32;
/** Stands for bytes that nobody can make out. */
const NOISE = 0xa5;
const HEADER_LENGTH = 112;
/** Cluster 0 is the header, 1 the refcount table, 2 a refcount block, 3 the L1 table. */
const META_CLUSTERS = 4;

/** What whoever reads the file finds there. */
export function headOf(file: SimFile): FileHead {
  if (file.header !== null) {
    const { page, fileBytes } = qcow2Head(file.header, file.luks);
    return { page, fileBytes: fileBytes + grown(file) };
  }
  if (file.luks) return luksHead(file.clusters);
  const first = file.content[0];
  if (typeof first === 'object') return qcow2Head(first);
  const page = new Uint8Array(CLUSTER_BYTES).fill(typeof first === 'number' ? first : 0);
  return { page, fileBytes: file.clusters * CLUSTER_BYTES };
}

/** What was written for the first time, and the table that says where it is. */
function grown({ content }: SimFile): number {
  const own = content.filter((cluster) => cluster !== 'absent').length;
  return own === 0 ? 0 : (own + 1) * CLUSTER_BYTES;
}

/** A header is never changed, only replaced; its page is made once, or twice. */
const HEADS = { plain: new WeakMap<Header, FileHead>(), luks: new WeakMap<Header, FileHead>() };

function qcow2Head(header: Header, luks = false): FileHead {
  const heads = luks ? HEADS.luks : HEADS.plain;
  const known = heads.get(header);
  if (known !== undefined) return known;
  const made = laidOut(header, luks);
  heads.set(header, made);
  return made;
}

/** QEMU's docs/interop/qcow2, version 3, as `qemu-img create` lays it out. */
function laidOut(header: Header, luks: boolean): FileHead {
  const page = new Uint8Array(CLUSTER_BYTES);
  const view = new DataView(page.buffer);
  const size = header.clusters * CLUSTER_BYTES;
  view.setUint32(0, MAGIC);
  view.setUint32(4, 3);
  view.setUint32(20, 16);
  view.setBigUint64(24, BigInt(size));
  if (luks) view.setUint32(32, LUKS_METHOD);
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
  if (luks) {
    view.setUint32(at, LUKS_POINTER);
    view.setUint32(at + 4, 16);
    view.setBigUint64(at + 8, BigInt(META_CLUSTERS * CLUSTER_BYTES));
    view.setBigUint64(at + 16, BigInt(LUKS_CLUSTERS * CLUSTER_BYTES));
    at += 24;
  }
  at += 8;
  if (header.backing !== null) {
    view.setBigUint64(8, BigInt(at));
    view.setUint32(16, header.backing.length);
    page.set(latin(header.backing), at);
  }
  const clusters = META_CLUSTERS + (luks ? LUKS_CLUSTERS : 0);
  return { page, fileBytes: clusters * CLUSTER_BYTES };
}

/** A raw volume with LUKS around it: its header, and noise. */
function luksHead(clusters: number): FileHead {
  const page = new Uint8Array(CLUSTER_BYTES).fill(NOISE);
  page.set(LUKS_MAGIC);
  return { page, fileBytes: (LUKS_CLUSTERS + clusters) * CLUSTER_BYTES };
}

const latin = (text: string): Uint8Array => Buffer.from(text, 'latin1');
