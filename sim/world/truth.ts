import type { SeenLayer } from '#domain/chain.ts';
import type { FileName, Format, SnapshotId } from '#domain/ids.ts';
import { QCOW2, RAW } from '#domain/ids.ts';
import type { CloudDisk } from '../cloud.ts';
import type { SimDisk, StartFrom } from '../disk.ts';
import { type Bytes, nodesFrom } from '../node.ts';
import { openChain } from '../opening.ts';
import type { Header, SimShare } from '../share.ts';

/** The headers of a share's files at one time. */
export type Headers = ReadonlyMap<FileName, Header | null>;

/**
 * A merge that Cinder has not been told of: as long as it has not, the files it began from are
 * all there, and setting the headers back undoes it.
 */
export interface Unproven {
  readonly headers: Headers;
  readonly snapshot: SnapshotId | null;
}

/** What a disk must read as, known from what the guest did and nothing else. */
export class DiskTruth {
  readonly it: CloudDisk;
  /** What the guest wrote last, cluster by cluster. */
  readonly bytes: Bytes[];
  /** What each cluster may read as after QEMU was killed: as flushed last, or as written since. */
  #since: Bytes[][];
  /** What each snapshot froze. */
  readonly frozen = new Map<SnapshotId, readonly Bytes[]>();
  readonly unproven: Unproven[] = [];

  constructor(it: CloudDisk) {
    this.it = it;
    this.bytes = [...it.disk.view()];
    this.#since = this.bytes.map((one) => [one]);
  }

  get disk(): SimDisk {
    return this.it.disk;
  }

  /** Whether the server has it; else it is Cinder's alone. */
  get attached(): boolean {
    return this.it.guest.disks.includes(this.disk);
  }

  get running(): boolean {
    return this.disk.top !== null;
  }

  write(at: number, byte: number): void {
    this.disk.write(at, byte);
    this.#wrote(at, byte);
  }

  writeZeroes(at: number): void {
    this.disk.writeZeroes(at);
    this.#wrote(at, 0);
  }

  forge(header: Partial<Header>): void {
    this.disk.forge(header);
    this.#wrote(0, this.disk.top?.read(0) ?? 0);
  }

  flush(): void {
    this.disk.flush();
    this.durable();
  }

  /** All that the guest wrote is on disk: it flushed, stopped, or an overlay was put on top. */
  durable(): void {
    this.#since = this.bytes.map((one) => [one]);
  }

  /** The guest has started again, on what was on disk. */
  startedOn(view: readonly Bytes[]): void {
    this.bytes.splice(0, this.bytes.length, ...view);
    this.durable();
  }

  /** Where a disk that was read back differs from anything it may be, or null. */
  lost(view: readonly Bytes[]): number | null {
    const at = this.#since.findIndex((allowed, cluster) => !allowed.includes(view[cluster] ?? 0));
    return at < 0 ? null : at;
  }

  /** Where the disk differs from what the guest wrote, or null. */
  differs(): number | null {
    const top = this.disk.top;
    if (top === null) return null;
    for (let at = 0; at < this.bytes.length; at++) if (top.read(at) !== this.bytes[at]) return at;
    return null;
  }

  #wrote(at: number, bytes: Bytes): void {
    this.bytes[at] = bytes;
    this.#since[at]?.push(bytes);
  }
}

/** What a file reads as when it is opened anew, as by a guest that starts; or why it is not. */
export function coldView(
  share: SimShare,
  file: FileName,
  format: Format,
  below: SeenLayer | null = null,
): readonly Bytes[] | string {
  const top = share.file(file);
  if (top === null) return `missing existing file ${file}`;
  // What is lost is lost with every key, too.
  const opened = openChain(share, top, format, { below, keys: 'all' });
  if (!opened.ok) return opened.error.message;
  const view = Array.from({ length: top.clusters }, (_, at) => opened.value.read(at));
  for (const node of nodesFrom(opened.value)) node.close();
  return view;
}

/** A file read anew as what it was made as; null where it cannot be. */
export function readCold(share: SimShare, file: FileName): readonly Bytes[] | null {
  const format = share.file(file)?.format;
  const view = format === undefined ? '' : coldView(share, file, format);
  return typeof view === 'string' ? null : view;
}

/** A file as QEMU has it, which may not have written all of it yet; else as it is on disk. */
export function readNow(disk: SimDisk, file: FileName): readonly Bytes[] | null {
  const node = disk.node(file);
  if (node === null) return readCold(disk.share, file);
  return Array.from({ length: node.file.clusters }, (_, at) => node.read(at));
}

/** The files that a start would open, by what the headers say, the topmost first. */
export function coldFiles(share: SimShare, file: FileName): readonly FileName[] {
  const files: FileName[] = [];
  for (let at: FileName | null = file; at !== null && !files.includes(at); ) {
    files.push(at);
    at = (share.file(at)?.header?.backing ?? null) as FileName | null;
  }
  return files;
}

/** What starting the disk's guest now would read. */
export function restarted(disk: SimDisk, from?: StartFrom): readonly Bytes[] | string {
  const { file, format, on } = disk.config;
  const below = from === 'the configuration' ? on : null;
  return coldView(disk.share, file, format ?? QCOW2, below);
}

export const headersOf = (share: SimShare): Headers =>
  new Map([...share.files].map(([name, { header }]) => [name, header]));

/** Writes the headers of a disk's files as they were, of those files that are still there. */
export function setBack({ share, volume }: SimDisk, headers: Headers): void {
  for (const [name, header] of headers) {
    if (!name.startsWith(`volume-${volume}`)) continue;
    const file = share.file(name);
    if (file !== null && file.format !== RAW) file.header = header;
  }
}

/** What an overlay stands on reads: in QEMU if it is open there, else by the headers. */
export function standsOn(
  { disk, bytes }: DiskTruth,
  overlay: FileName | undefined,
): readonly Bytes[] | null {
  if (overlay === undefined) return null;
  for (const node of nodesFrom(disk.top)) {
    if (node.file.name !== overlay) continue;
    const { backing } = node;
    return backing && Array.from({ length: bytes.length }, (_, at) => backing.read(at));
  }
  const backing = disk.share.file(overlay)?.header?.backing ?? null;
  return backing === null ? null : readCold(disk.share, backing as FileName);
}
