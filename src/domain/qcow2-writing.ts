import type { FileName, Format } from './ids.ts';
import { EXTENSION } from './qcow2.ts';

/**
 * The beginning of a qcow2 file anew, with another backing file and format, as QEMU lays it out:
 * the header, its extensions, the name. Whole sectors, no more than the first cluster; null when
 * they do not fit. It is for encrypted files only, of which qemu-img rewrites no header without the
 * key (measured on 7.2: `rebase -u` says `Parameter 'encrypt.key-secret' is required for cipher`).
 * `page` must be one that `parseHeader` accepts.
 */
export function repoint(page: Uint8Array, backing: FileName, format: Format): Uint8Array | null {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const headerLength = view.getUint32(4) === 2 ? 72 : view.getUint32(100);
  const { kept, end } = extensions(page, view, headerLength);
  const name = latin(backing);
  const head = page.slice(0, headerLength);
  const all = [head, extension(EXTENSION.backingFormat, format), ...kept, END, name];
  const length = all.reduce((sum, part) => sum + part.length, 0);
  // What stood there before is wiped.
  const before = Math.max(end, Number(view.getBigUint64(8)) + view.getUint32(16));
  const sectors = Math.ceil(Math.max(length, before) / SECTOR) * SECTOR;
  if (sectors > Math.min(2 ** view.getUint32(20), page.length)) return null;
  const anew = new Uint8Array(sectors);
  let at = 0;
  for (const part of all) {
    anew.set(part, at);
    at += part.length;
  }
  const says = new DataView(anew.buffer);
  says.setBigUint64(8, BigInt(length - name.length));
  says.setUint32(16, name.length);
  return anew;
}

const SECTOR = 512;
const END = new Uint8Array(8);

/** Each extension but the backing format, to the letter, and where they end. */
function extensions(page: Uint8Array, view: DataView, from: number) {
  const kept: Uint8Array[] = [];
  for (let at = from; ; ) {
    const type = view.getUint32(at);
    const next = at + 8 + Math.ceil(view.getUint32(at + 4) / 8) * 8;
    if (type === EXTENSION.end) return { kept, end: next };
    if (type !== EXTENSION.backingFormat) kept.push(page.slice(at, next));
    at = next;
  }
}

function extension(type: number, text: string): Uint8Array {
  const made = new Uint8Array(8 + Math.ceil(text.length / 8) * 8);
  const view = new DataView(made.buffer);
  view.setUint32(0, type);
  view.setUint32(4, text.length);
  made.set(latin(text), 8);
  return made;
}

const latin = (text: string): Uint8Array => Uint8Array.from(text, (sign) => sign.charCodeAt(0));
