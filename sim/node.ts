import { type Format, QCOW2, RAW } from '#domain/ids.ts';
import { type Cluster, GARBAGE, type Header, type SimFile, type SimShare } from './share.ts';

/** What a guest reads of one cluster. */
export type Bytes = number | Header;

/**
 * A file as a running QEMU has it open: the driver it was opened with, what it stands on in
 * memory (whatever its header says), and the qcow2 tables that are not on disk yet. Data goes to
 * the file at once; that a cluster is there at all is only in the tables.
 */
export class SimNode {
  readonly file: SimFile;
  readonly driver: Format;
  backing: SimNode | null;
  readonly unflushed = new Map<number, Cluster>();
  readonly #share: SimShare;

  constructor(share: SimShare, file: SimFile, driver: Format, backing: SimNode | null) {
    this.#share = share;
    this.file = file;
    this.driver = driver;
    this.backing = backing;
    share.lock(file);
  }

  close(): void {
    this.#share.unlock(this.file);
  }

  /** What this layer alone has there; past its end it has nothing. */
  own(at: number): Cluster {
    if (at >= this.file.clusters) return 'absent';
    if (this.driver === RAW && this.file.format !== RAW) return GARBAGE;
    const cluster = this.unflushed.get(at) ?? this.#onDisk(at);
    return this.driver === RAW && cluster === 'absent' ? 'zero' : cluster;
  }

  /** The topmost layer that has the cluster; past the end of a layer all is zeros below it. */
  read(at: number): Bytes {
    if (at >= this.file.clusters) return 0;
    const own = this.own(at);
    if (own === 'zero') return 0;
    return own === 'absent' ? (this.backing?.read(at) ?? 0) : own;
  }

  /** A zero cluster is worth its two bits in the tables; a raw file gets real zeros. */
  write(at: number, cluster: Exclude<Cluster, 'absent'>): void {
    if (!this.#keepsTables() || this.#inPlace(at, cluster)) this.file.content[at] = cluster;
    else this.unflushed.set(at, cluster);
  }

  /** Whether writing there needs room that is not taken yet. */
  grows(at: number): boolean {
    return (this.unflushed.get(at) ?? this.#onDisk(at)) === 'absent';
  }

  flush(): void {
    for (const [at, cluster] of this.unflushed) this.file.content[at] = cluster;
    this.unflushed.clear();
  }

  /** A raw file taken for qcow2 is the empty image that the forged header describes. */
  #onDisk(at: number): Cluster {
    if (this.driver !== RAW && this.file.format === RAW) return 'absent';
    return this.file.content[at] ?? 'absent';
  }

  #keepsTables(): boolean {
    return this.driver === QCOW2;
  }

  #inPlace(at: number, cluster: Cluster): boolean {
    const there = this.file.content[at] ?? 'absent';
    const allocated = there !== 'absent' && there !== 'zero';
    return allocated && cluster !== 'zero' && !this.unflushed.has(at) && this.file.format === QCOW2;
  }
}

/** The node and all it stands on. */
export function* nodesFrom(top: SimNode | null): Generator<SimNode> {
  for (let at = top; at !== null; at = at.backing) yield at;
}
