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
   * The relative name by which libvirt knows this file: as the header above gave it when libvirt
   * read that header (at the snapshot or the start), or null. It is not read again (measured).
   */
  relativeName: string | null = null;
  /** Whether it was opened with the key of its encryption. */
  readonly keyed: boolean;
  /** The `N` of libvirt's `vda[N]`: per guest, never another one while the guest runs. */
  index = 0;
  /** Opened without a format driver, by the one of its protocol alone. */
  formatless = false;
  readonly unflushed = new Map<number, Entry>();
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
    // The place it has is written over, also where the tables on disk still call it something else.
    const place = own ?? this.#freePlace();
    this.#fill(place, cluster);
    this.#enter(at, { cluster, place });
  }

  /** Zeros that give their place back: its data is gone from the file at once. */
  discard(at: number): void {
    if (this.driver !== QCOW2) {
      this.file.content[at] = 'zero';
      return;
    }
    const { cluster, place } = this.#entry(at);
    if (cluster === 'absent' && this.backing === null) return;
    if (place !== null) this.#fill(place, 0);
    this.#enter(at, { cluster: 'zero', place: null });
  }

  /** Whether writing there needs room that is not taken yet. */
  grows(at: number): boolean {
    return this.#entry(at).cluster === 'absent';
  }

  flush(): void {
    const { content, places } = this.file;
    for (const [at, { cluster, place }] of this.unflushed) {
      content[at] = cluster;
      if (place === null) places.delete(at);
      else places.set(at, place);
    }
    this.unflushed.clear();
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
