import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Merge } from '#domain/chain.ts';
import type { FileName, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Guest } from '../test/live/lab/guest.ts';
import { backingChain, createImage, createOverlay } from '../test/live/lab/images.ts';
import type { Lab } from '../test/live/lab/lab.ts';
import type { Taken } from './trace.ts';

export type Verb = 'create' | 'commit' | 'pull with base' | 'pull all';

/** One operation as both sides get it; the snapshot is the one it is about. */
export type Order = { readonly snapshot: SnapshotId; readonly volume: VolumeId } & (
  | { readonly kind: 'create'; readonly file: FileName; readonly path: string }
  | { readonly kind: 'delete'; readonly merge: Merge; readonly chain: readonly FileName[] }
);

/** Bare libvirt, or ours. */
export interface Side {
  readonly name: 'bare' | 'ours';
  /** What is not part of the operation: whatever the caller of a bare call knows already. */
  prepare(order: Order): Promise<void>;
  /** From here to the end is what is measured. */
  perform(order: Order): Promise<Taken>;
  /** Lets what the operation left running come to rest. */
  settle(): Promise<void>;
}

export interface Sample extends Taken {
  readonly side: Side['name'];
  readonly verb: Verb;
  /** Which of its kind in its round: a round has more than one create. */
  readonly nth: number;
  readonly round: number;
}

export const TARGET = 'vda';
const MIB = 1024 * 1024;
/** What the guest writes into each new layer, so that every merge has something to move. */
const WRITTEN = 65_536;

/** One guest with one volume, which both sides work on in turn. */
export class Bench {
  readonly volume: VolumeId;
  readonly server: ServerId;
  readonly #guest: Guest;
  readonly #folder: string;
  /** The active file first. */
  #chain: FileName[];

  static async open(lab: Lab<null>): Promise<Bench> {
    const volume = randomUUID() as VolumeId;
    const base = `volume-${volume}` as FileName;
    const path = join(lab.images, base);
    await createImage(path, { format: 'raw', size: 8 * MIB });
    const guest = await lab.guest({ disks: [{ path, format: 'raw', serial: volume }] });
    return new Bench(volume, guest, lab.images, base);
  }

  private constructor(volume: VolumeId, guest: Guest, folder: string, base: FileName) {
    this.volume = volume;
    this.server = guest.uuid as ServerId;
    this.#guest = guest;
    this.#folder = folder;
    this.#chain = [base];
  }

  get active(): FileName {
    return this.#chain[0]!;
  }

  /** Three creates, then one delete of each kind: the volume is one file again. */
  async cycle(side: Side): Promise<Omit<Sample, 'round'>[]> {
    const taken: Omit<Sample, 'round'>[] = [];
    for (const nth of [0, 1, 2]) {
      const sample = await this.#create(side);
      taken.push({ side: side.name, verb: 'create', nth, ...sample });
    }
    const deletes: [Verb, Merge][] = [
      ['commit', { kind: 'commit', top: this.#chain[1]!, into: this.#chain[2]! }],
      ['pull with base', { kind: 'pull', onto: this.#chain[3]! }],
      ['pull all', { kind: 'pull', onto: null }],
    ];
    for (const [verb, merge] of deletes) {
      taken.push({ side: side.name, verb, nth: 0, ...(await this.#delete(side, merge)) });
    }
    return taken;
  }

  async #create(side: Side): Promise<Taken> {
    const snapshot = randomUUID() as SnapshotId;
    const file = `volume-${this.volume}.${snapshot}` as FileName;
    const path = join(this.#folder, file);
    // Only the file that the volume began with is raw, and the first pull of all does away with it.
    const format = this.active === `volume-${this.volume}` ? 'raw' : 'qcow2';
    await createOverlay(path, { name: this.active, format });
    const order = { kind: 'create', snapshot, volume: this.volume, file, path } as const;
    const sample = await this.#run(side, order);
    this.#chain.unshift(file);
    await this.#agree();
    await this.#guest.write(TARGET, 0, WRITTEN, 0x42);
    return sample;
  }

  async #delete(side: Side, merge: Merge): Promise<Taken> {
    const snapshot = randomUUID() as SnapshotId;
    const chain = [...this.#chain];
    const order = { kind: 'delete', snapshot, volume: this.volume, merge, chain } as const;
    const sample = await this.#run(side, order);
    const gone = merge.kind === 'commit' ? merge.top : chain[1]!;
    this.#chain = chain.filter((file) => file !== gone);
    await this.#agree();
    await rm(join(this.#folder, gone));
    return sample;
  }

  async #run(side: Side, order: Order): Promise<Taken> {
    await side.prepare(order);
    const taken = await side.perform(order);
    await side.settle();
    return taken;
  }

  /** A measurement of something that did not happen is worth nothing. */
  async #agree(): Promise<void> {
    const chain = await backingChain(join(this.#folder, this.active), 'qcow2');
    const files = chain.map(({ filename }) => filename.split('/').at(-1));
    if (files.join() !== this.#chain.join()) throw new Error(`the chain is ${files.join(' on ')}`);
    const { path } = (await this.#guest.tops())[TARGET] ?? {};
    if (path?.endsWith(this.active) !== true) throw new Error(`the guest writes to ${path}`);
  }
}
