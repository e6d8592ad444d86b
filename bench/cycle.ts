import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Merge } from '#domain/chain.ts';
import type { FileName, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Guest } from '../test/live/lab/guest.ts';
import { backingChain, createImage, createOverlay } from '../test/live/lab/images.ts';
import type { Lab } from '../test/live/lab/lab.ts';
import type { Attached } from './cinder.ts';
import type { Taken } from './trace.ts';

export const VERBS = ['create', 'commit', 'pull with base', 'pull all'] as const;
export type Verb = (typeof VERBS)[number];

/** One operation as every side gets it; the snapshot is the one it is about. */
export type Order = { readonly snapshot: SnapshotId; readonly volume: Attached } & (
  | { readonly kind: 'create'; readonly file: FileName; readonly path: string }
  | { readonly kind: 'delete'; readonly merge: Merge; readonly chain: readonly FileName[] }
);

/** Who does it: the bare libvirt calls, ours in this process or served, Nova's driver. */
export interface Side {
  readonly name: SideName;
  /**
   * What is not part of the operation (what the caller of a bare call knows already) is done here;
   * what is answered does the rest, and that is what is measured.
   */
  prepare(order: Order): Promise<() => Promise<Taken>>;
  /** Lets what the operation left running come to rest. */
  settle(): Promise<void>;
}

export const SIDES = ['bare', 'ours', 'http', 'nova', 'nova+ours'] as const;
export type SideName = (typeof SIDES)[number];

export interface Sample extends Taken {
  readonly side: SideName;
  readonly verb: Verb;
  /** Which of its kind in its round: a round has more than one create. */
  readonly nth: number;
}

export const TARGET = 'vda';
const MIB = 1024 * 1024;
/** Room for the largest layer. */
const VOLUME_MIB = 2048;

export interface RigOptions {
  /** Layers before the first operation. */
  readonly depth: number;
  /** What the guest writes into each new layer, so that every merge has something to move. */
  readonly bytes: number;
}

/** One guest with one volume, which all sides work on in turn. */
export class Rig implements AsyncDisposable {
  readonly volume: Attached;
  readonly guest: Guest;
  readonly #options: RigOptions;
  readonly #folder: string;
  /** The active file first. */
  #chain: FileName[];

  static async open(lab: Lab<null>, options: RigOptions): Promise<Rig> {
    const id = randomUUID() as VolumeId;
    const base = `volume-${id}` as FileName;
    await createImage(join(lab.images, base), { format: 'raw', size: VOLUME_MIB * MIB });
    const chain = [base];
    while (chain.length < options.depth) {
      const file = `${base}.${randomUUID()}` as FileName;
      const format = chain.length === 1 ? 'raw' : 'qcow2';
      await createOverlay(join(lab.images, file), { name: chain[0]!, format });
      chain.unshift(file);
    }
    const format = chain.length === 1 ? 'raw' : 'qcow2';
    const disk = { path: join(lab.images, chain[0]!), format, serial: id };
    return new Rig(id, await lab.guest({ disks: [disk] }), lab.images, chain, options);
  }

  private constructor(
    id: VolumeId,
    guest: Guest,
    folder: string,
    chain: FileName[],
    options: RigOptions,
  ) {
    this.guest = guest;
    this.#folder = folder;
    this.#chain = chain;
    this.#options = options;
    this.volume = { id, server: guest.uuid as ServerId, active: () => this.#chain[0]! };
  }

  /**
   * Creates, then a delete of each kind: the volume is as deep as before. Everything can be pulled
   * where two layers are left, since a delete merges one away.
   */
  async cycle(side: Side): Promise<Sample[]> {
    const shallow = this.#chain.length === 1;
    const taken: Sample[] = [];
    for (const nth of shallow ? [0, 1, 2] : [0, 1]) {
      taken.push({ side: side.name, verb: 'create', nth, ...(await this.create(side)) });
    }
    const [, top, into] = this.#chain as [FileName, FileName, FileName];
    const commit: Merge = { kind: 'commit', top, into };
    taken.push({ side: side.name, verb: 'commit', nth: 0, ...(await this.delete(side, commit)) });
    const pull: Merge = { kind: 'pull', onto: this.#chain[2]! };
    const pulled = await this.delete(side, pull);
    taken.push({ side: side.name, verb: 'pull with base', nth: 0, ...pulled });
    if (!shallow) return taken;
    const all = await this.delete(side, { kind: 'pull', onto: null });
    return [...taken, { side: side.name, verb: 'pull all', nth: 0, ...all }];
  }

  async create(side: Side): Promise<Taken> {
    const snapshot = randomUUID() as SnapshotId;
    const { volume } = this;
    const file = `volume-${volume.id}.${snapshot}` as FileName;
    const path = join(this.#folder, file);
    const active = volume.active();
    // Only the file that the volume began with is raw, and the first pull of all does away with it.
    const format = active === `volume-${volume.id}` ? 'raw' : 'qcow2';
    await createOverlay(path, { name: active, format });
    const sample = await run(side, { kind: 'create', snapshot, volume, file, path });
    this.#chain.unshift(file);
    await this.#agree();
    const { bytes } = this.#options;
    if (bytes > 0) await this.guest.write(TARGET, 0, bytes, 0x42);
    return sample;
  }

  async delete(side: Side, merge: Merge): Promise<Taken> {
    const { volume } = this;
    const chain = [...this.#chain];
    // Of a snapshot that has no file of its own any more, as after the delete of a neighbour.
    const snapshot = randomUUID() as SnapshotId;
    const sample = await run(side, { kind: 'delete', snapshot, volume, merge, chain });
    const gone = merge.kind === 'commit' ? merge.top : chain[1]!;
    this.#chain = chain.filter((file) => file !== gone);
    await this.#agree();
    await rm(join(this.#folder, gone));
    return sample;
  }

  /** The guest goes, and its files, so that the next rig finds room. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.guest[Symbol.asyncDispose]();
    await Promise.all(this.#chain.map((file) => rm(join(this.#folder, file), { force: true })));
  }

  /** A measurement of something that did not happen is worth nothing. */
  async #agree(): Promise<void> {
    const chain = await backingChain(join(this.#folder, this.volume.active()), 'qcow2');
    const files = chain.map(({ filename }) => filename.split('/').at(-1));
    if (files.join() !== this.#chain.join()) throw new Error(`the chain is ${files.join(' on ')}`);
    const { path } = (await this.guest.tops())[TARGET] ?? {};
    if (path?.endsWith(this.volume.active()) !== true) {
      throw new Error(`the guest writes to ${path}`);
    }
  }
}

async function run(side: Side, order: Order): Promise<Taken> {
  const perform = await side.prepare(order);
  const taken = await perform();
  await side.settle();
  return taken;
}
