import { type Format, QCOW2, RAW } from '#domain/ids.ts';
import { type Cluster, GARBAGE, type Header, LUKS, type SimFile, type SimShare } from './share.ts';

/** What a guest reads of one cluster. */
export type Bytes = number | Header;

/** What a layer's tables say of a cluster: what is there, and the place in the file it has. */
interface Entry {
  readonly cluster: Cluster;
  readonly place: number | null;
}

/**
 * A file as a running QEMU has it open: the driver it was opened with, what it stands on in
 * memory (whatever its header says), and the qcow2 tables that are not on disk yet. Data goes to
 * its place in the file at once; which cluster that place belongs to is only in the tables.
 */
export class SimNode {
  readonly file: SimFile;
  readonly driver: Format;
  backing: SimNode | null;
  /**
   * The relative name by which libvirt knows this file, or null: as the header above gave it at
   * the start, or else at the first call that asked for relative names (see `learnNames`).
   */
  relativeName: string | null = null;
  /** Whether it was opened with the key of its encryption. */
  readonly keyed: boolean;
  /** The `N` of libvirt's `vda[N]`: per guest, never another one while the guest runs. */
  index = 0;
  /** Opened without a format driver, by the one of its protocol alone. */
  formatless = false;
  /**
   * Open for writing: the active layer, the base of a job; and the base of an active commit that
   * was cancelled, which QEMU forgets to reopen read-only (measured on 7.2.22).
   */
  writable = false;
  readonly unflushed = new Map<number, Entry>();
  /** A place was given back, which the tables on disk do not know yet. */
  #freed = false;
  readonly #share: SimShare;

  constructor(
    share: SimShare,
    file: SimFile,
    driver: Format,
    backing: SimNode | null,
    keyed = false,
  ) {
    this.#share = share;
    this.file = file;
    this.driver = driver;
    this.backing = backing;
    this.keyed = keyed;
    share.lock(file);
  }

  /** The format that QEMU writes into a header above: its own driver's name (measured). */
  get written(): Format {
    if (this.formatless) return 'file' as Format;
    return this.driver === RAW && this.keyed ? LUKS : this.driver;
  }

  close(): void {
    this.#share.unlock(this.file);
  }

  /** What this layer alone has there; past its end it has nothing. */
  own(at: number): Cluster {
    if (at >= this.file.clusters) return 'absent';
    if (this.driver === RAW && this.file.format !== RAW) return GARBAGE;
    if (this.file.luks && !this.keyed) return GARBAGE;
    const { cluster } = this.#entry(at);
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
    if (this.driver !== QCOW2) {
      this.file.content[at] = cluster;
      return;
    }
    const { place: own } = this.#entry(at);
    if (cluster === 'zero') {
      this.#enter(at, { cluster, place: own });
      return;
    }
    // A place that was given back is not taken anew before the tables on disk say so.
    if (own === null && this.#freed) this.flush();
    const place = own ?? this.#freePlace();
    // A place that it has is written over, whatever the tables on disk call it.
    this.#fill(place, cluster);
    this.#enter(at, { cluster, place });
  }

  /**
   * A guest's discard: zeros that give their place back. Where there is nothing, and nothing below
   * that could show through, nothing is changed.
   */
  discard(at: number, punches: boolean): void {
    const nothing = this.#entry(at).cluster === 'absent' && this.backing === null;
    if (this.driver !== QCOW2 || !nothing) this.unmap(at, punches);
  }

  /**
   * Write zeroes that may unmap: the place is given back; `punches` says whether its data is gone
   * from the file at once, before the tables on disk know.
   */
  unmap(at: number, punches: boolean): void {
    if (this.driver !== QCOW2) {
      this.file.content[at] = 'zero';
      return;
    }
    const { place } = this.#entry(at);
    if (place !== null) {
      if (punches) this.#fill(place, 0);
      this.#freed = true;
    }
    this.#enter(at, { cluster: 'zero', place: null });
  }

  /** Whether writing there needs room that is not taken yet. */
  grows(at: number): boolean {
    return this.#entry(at).cluster === 'absent';
  }

  /**
   * How many clusters from `at` on QEMU sees as one piece, at most `most`: in a qcow2 file those
   * of one kind whose places, if they have any, are one after the other; all of another file.
   */
  run(at: number, most: number): number {
    const end = Math.min(at + most, this.file.clusters);
    if (this.driver !== QCOW2) return end - at;
    const { cluster, place } = this.#entry(at);
    const kind = typeof cluster === 'string' ? cluster : 'data';
    for (let next = at + 1; next < end; next++) {
      const entry = this.#entry(next);
      const same = kind === (typeof entry.cluster === 'string' ? entry.cluster : 'data');
      if (!same || entry.place !== (place === null ? null : place + next - at)) return next - at;
    }
    return end - at;
  }

  flush(): void {
    const { content, places } = this.file;
    for (const [at, { cluster, place }] of this.unflushed) {
      content[at] = cluster;
      if (place === null) places.delete(at);
      else places.set(at, place);
    }
    this.unflushed.clear();
    this.#freed = false;
  }

  #entry(at: number): Entry {
    return this.unflushed.get(at) ?? this.#onDisk(at);
  }

  /** A raw file taken for qcow2 is the empty image that the forged header describes. */
  #onDisk(at: number): Entry {
    if (this.driver !== RAW && this.file.format === RAW) return NOTHING;
    const { content, places } = this.file;
    return { cluster: content[at] ?? 'absent', place: places.get(at) ?? null };
  }

  #enter(at: number, entry: Entry): void {
    const there = this.#onDisk(at);
    const same = typeof entry.cluster !== 'string' && typeof there.cluster !== 'string';
    // Data in its old place is no change of the tables.
    if ((same || entry.cluster === there.cluster) && entry.place === there.place) {
      this.unflushed.delete(at);
    } else this.unflushed.set(at, entry);
  }

  /** Data reaches the file at once: whatever the tables on disk call this place, has it now. */
  #fill(place: number, data: number | Header): void {
    const { content, places } = this.file;
    for (const [at, one] of places) {
      if (one === place && typeof content[at] !== 'string') content[at] = data;
    }
  }

  /** The first place that no cluster has: one that was given back is taken again soon. */
  #freePlace(): number {
    const taken = new Set<number | null>();
    for (let at = 0; at < this.file.clusters; at++) taken.add(this.#entry(at).place);
    let place = 0;
    while (taken.has(place)) place++;
    return place;
  }
}

const NOTHING: Entry = { cluster: 'absent', place: null };

/** The node and all it stands on. */
export function* nodesFrom(top: SimNode | null): Generator<SimNode> {
  for (let at = top; at !== null; at = at.backing) yield at;
}
