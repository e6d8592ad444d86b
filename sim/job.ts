import type { Merge } from '#domain/chain.ts';
import { ok, type Result } from '#domain/result.ts';
import type { Job } from '#domain/sight.ts';
import type { SimDisk } from './disk.ts';
import {
  type CommitCall,
  committing,
  type Ground,
  grow,
  type PullCall,
  pulling,
} from './ground.ts';
import { nodesFrom, type SimNode } from './node.ts';
import type { No } from './refusals.ts';
import type { Cluster } from './share.ts';

/**
 * How far a job is, in the order in which QEMU and libvirt take it (measured on 9.0):
 * clusters are copied, the overlay's header is rewritten, QEMU is done, libvirt
 * changes its XML, tells, and only then forgets the job. Only an active commit is ever ready.
 * Older libvirts tell, and know of no job any more, before they change the XML (bz 1202719).
 */
export type Phase =
  | 'copying'
  | 'ready'
  | 'header'
  | 'concluding'
  | 'xml'
  | 'telling'
  | 'forgetting'
  | 'over';

/** A block job inside QEMU, moved one step at a time. */
export interface BlockJob {
  readonly kind: Job['kind'];
  readonly phase: Phase;
  readonly failed: boolean;
  /** What GetBlockJobInfo says; null is of no job. */
  info(): Job | null;
  /** One step on. `clusters` is how much is copied in one. */
  step(clusters: number): void;
  /** The guest has changed this cluster of the active layer. */
  wrote(at: number): void;
  /** It was cancelled, and is gone. */
  canceled(): void;
}

/** A pull, or a commit of a layer that is not active. */
export class SimJob implements BlockJob {
  readonly kind: Job['kind'];
  readonly #disk: SimDisk;
  readonly #ground: Ground | null;
  readonly #total: number;
  #copied = 0;
  /** The base was open for reading only before the job. */
  #reopened = false;
  /** A pull's run of clusters that QEMU reads and writes at once. */
  #run: Run = { end: 0, zeros: false };
  phase: Phase = 'copying';
  failed = false;

  private constructor(disk: SimDisk, kind: Job['kind'], ground: Ground | null) {
    this.#disk = disk;
    this.kind = kind;
    this.#ground = ground;
    this.#total = ground?.top.file.clusters ?? 1;
  }

  /** A merge with names kept relative, or why libvirt does not begin it. */
  static merge(disk: SimDisk, merge: Merge): Result<SimJob, No> {
    const relative = merge.kind === 'commit' || merge.onto !== null;
    if (merge.kind === 'pull') return SimJob.pull(disk, { base: merge.onto, relative });
    return SimJob.commit(disk, { top: merge.top, base: merge.into, relative });
  }

  static pull(disk: SimDisk, call: PullCall): Result<SimJob, No> {
    const ground = pulling(disk, call);
    return ground.ok ? ok(new SimJob(disk, 'pull', ground.value)) : ground;
  }

  static commit(disk: SimDisk, call: CommitCall): Result<SimJob, No> {
    const ground = committing(disk, call);
    return ground.ok ? ok(new SimJob(disk, 'commit', ground.value)) : ground;
  }

  /** Somebody else's: it does nothing and never ends by itself. */
  static foreign(disk: SimDisk, kind: Job['kind']): SimJob {
    return new SimJob(disk, kind, null);
  }

  /**
   * Never at its end while it runs, 0 of 1 once QEMU is done. Older libvirts hand on what QEMU
   * says, at its end or not, and know of no job once QEMU has none.
   */
  info(): Job | null {
    const { kind } = this;
    if (this.#disk.lateXml) {
      const ended = ['telling', 'xml', 'over'].includes(this.phase);
      return ended ? null : { kind, done: this.#copied, total: this.#total };
    }
    if (!['copying', 'header'].includes(this.phase)) return { kind, done: 0, total: 1 };
    return { kind, done: Math.min(this.#copied, this.#total - 1), total: this.#total };
  }

  step(clusters: number): void {
    if (this.#ground === null) return;
    switch (this.phase) {
      case 'copying':
        if (this.#copied === 0) this.#begin(this.#ground);
        for (let i = 0; i < clusters && this.phase === 'copying'; i++) this.#copy(this.#ground);
        return;
      case 'header':
        this.#rewrite(this.#ground);
        this.phase = 'concluding';
        return;
      case 'concluding':
        this.#close(this.#ground);
        this.#unlink(this.#ground);
        this.phase = this.#disk.lateXml ? 'telling' : 'xml';
        return;
      case 'xml':
        this.#disk.note(this.#disk.xml, this.#ground.base?.file.name ?? null);
        this.phase = this.#disk.lateXml ? 'over' : 'telling';
        return;
      case 'telling':
        this.phase = this.#disk.lateXml && !this.failed ? 'xml' : 'forgetting';
        return;
      case 'ready':
      case 'forgetting':
      case 'over':
        this.phase = 'over';
    }
  }

  wrote(): void {}

  canceled(): void {
    if (this.#ground !== null) this.#close(this.#ground);
  }

  #begin({ base, top }: Ground): void {
    if (this.kind !== 'commit' || base === null) return;
    this.#reopened = !base.writable;
    base.writable = true;
    grow(base, top.file.clusters);
  }

  /**
   * The base of a commit is reopened read-only, which flushes it; unless it was open for writing
   * before. Nothing flushes what was pulled.
   */
  #close({ base }: Ground): void {
    if (!this.#reopened || base === null) return;
    base.flush();
    base.writable = false;
  }

  #copy(ground: Ground): void {
    const at = this.#copied;
    if (at >= this.#total) {
      this.phase = 'header';
      return;
    }
    const { top, base } = ground;
    const into = this.kind === 'pull' ? top : base;
    if (this.kind === 'pull' && at >= this.#run.end) this.#run = runFrom(top, base, at);
    const { zeros } = this.#run;
    const cluster = this.kind === 'pull' ? pulled(top, base, at, zeros) : committed(top, base, at);
    if (into !== null && cluster !== null) {
      if (into.grows(at) && !this.#disk.share.take()) {
        this.failed = true;
        this.phase = 'telling';
        this.#close(ground);
        return;
      }
      into.write(at, cluster);
    }
    this.#copied++;
  }

  /** A layer that had nothing below keeps its header as it is. */
  #rewrite({ parent, base, name }: Ground): void {
    if (parent === null || parent.backing === null) return;
    const { file } = parent;
    if (file.header === null) return;
    file.header = { ...file.header, backing: name, format: base?.written ?? null };
  }

  /** The merged layers are closed, which writes what their tables still lack. */
  #unlink({ parent, base }: Ground): void {
    if (parent === null) return;
    for (const node of nodesFrom(parent.backing)) {
      if (node === base) break;
      node.flush();
      node.close();
    }
    parent.backing = base;
  }
}

/** Clusters up to `end` that a pull treats alike; `zeros`: all that is read of them is zeros. */
interface Run {
  readonly end: number;
  readonly zeros: boolean;
}

/** What QEMU asks for at once, at most (STREAM_CHUNK, 512 KiB). */
const CHUNK = 8;

/** As far as the active layer lacks what one layer below has in one piece. */
function runFrom(top: SimNode, base: SimNode | null, from: number): Run {
  let length = Math.min(CHUNK, top.file.clusters - from);
  for (const node of nodesFrom(top)) {
    if (node === base || from >= node.file.clusters) break;
    length = node.run(from, length);
    if (node.own(from) !== 'absent') break;
  }
  const all = Array.from({ length }, (_, at) => top.read(from + at));
  return { end: from + length, zeros: all.every((one) => one === 0) };
}

/**
 * What a pull takes up: what the active layer lacks and a layer above `base` has. Zeros become
 * zero clusters where the whole run is zeros. Past the end of the layer right below nothing is
 * looked for; past the end of a deeper one it has zeros.
 */
function pulled(
  top: SimNode,
  base: SimNode | null,
  at: number,
  zeros: boolean,
): Exclude<Cluster, 'absent'> | null {
  if (top.own(at) !== 'absent') return null;
  for (const node of nodesFrom(top.backing)) {
    if (node === base) return null;
    if (at >= node.file.clusters) return node === top.backing ? null : zeros ? 'zero' : 0;
    const own = node.own(at);
    if (own !== 'absent') return zeros ? 'zero' : own === 'zero' ? 0 : own;
  }
  return null;
}

/** What a commit brings down, zero clusters as real zeros (QEMU 7.2). */
export function committed(top: SimNode, base: SimNode | null, at: number) {
  for (const node of nodesFrom(top)) {
    if (node === base) return null;
    if (at >= node.file.clusters) return node === top ? null : 0;
    const own = node.own(at);
    if (own !== 'absent') return own === 'zero' ? 0 : own;
  }
  return null;
}
