import { ok, type Result } from '#domain/result.ts';
import type { Job } from '#domain/sight.ts';
import type { SimDisk } from './disk.ts';
import { type CommitCall, committing, type Ground, grow } from './ground.ts';
import type { BlockJob, Phase } from './job.ts';
import { nodesFrom, type SimNode } from './node.ts';
import type { No } from './refusals.ts';

/**
 * The active layer is mirrored into `base`: first what it and the layers between have, again what
 * the guest writes meanwhile. Once that is all, it is ready, the guest's writes go to both, and it
 * waits: for a pivot, after which the guest writes to `base`, or for a cancel, after which `base`
 * is left with what it had got by then.
 */
export class ActiveCommit implements BlockJob {
  readonly kind = 'active-commit';
  readonly #disk: SimDisk;
  readonly #top: SimNode;
  readonly #base: SimNode;
  readonly #dirty = new Set<number>();
  /** It goes on from where it was, and around. */
  #cursor = 0;
  #copied = 0;
  phase: Phase = 'copying';
  failed = false;

  private constructor(disk: SimDisk, top: SimNode, base: SimNode) {
    this.#disk = disk;
    this.#top = top;
    this.#base = base;
    for (let at = 0; at < top.file.clusters; at++) if (this.#isAbove(at)) this.#dirty.add(at);
  }

  static of(disk: SimDisk, call: CommitCall): Result<ActiveCommit, No> {
    const ground = committing(disk, call);
    if (!ground.ok) return ground;
    const { top, base } = ground.value as Ground & { readonly base: SimNode };
    base.writable = true;
    grow(base, top.file.clusters);
    return ok(new ActiveCommit(disk, top, base));
  }

  /** At its end only when it is ready, 0 of 1 once QEMU is done. */
  info(): Job {
    const { kind } = this;
    const total = this.#copied + this.#dirty.size;
    const mirror = { into: this.#base.file.name, ready: this.phase === 'ready' };
    if (this.phase === 'ready') return { kind, done: total, total, mirror };
    // While it ends, libvirt's XML has a mirror without a job.
    if (this.phase !== 'copying') return { kind, done: 0, total: 1 };
    return { kind, done: this.#copied, total: Math.max(total, this.#copied + 1), mirror };
  }

  step(clusters: number): void {
    switch (this.phase) {
      case 'copying':
        for (let i = 0; i < clusters && this.phase === 'copying'; i++) this.#next();
        return;
      case 'ready':
        return;
      case 'header':
      case 'concluding':
        // No time passes between the two: libvirt hears of the end before it hears of a death.
        this.#pivot();
        this.#disk.note(this.#disk.xml, this.#base.file.name);
        this.phase = 'telling';
        return;
      case 'telling':
        this.phase = 'forgetting';
        return;
      case 'forgetting':
      case 'over':
        this.phase = 'over';
    }
  }

  wrote(at: number): void {
    // Until it is over: a pivot first waits for what is still to be mirrored.
    if (this.phase === 'ready' || this.phase === 'concluding') this.#copy(at);
    else if (this.phase === 'copying') this.#dirty.add(at);
  }

  /** The filter on top goes, which flushes the active layer; a ready job flushes the base too. */
  canceled(): void {
    this.#top.flush();
    if (this.phase === 'ready') this.#base.flush();
  }

  /** Only of a job that is ready. */
  pivot(): void {
    this.phase = 'concluding';
  }

  #next(): void {
    if (this.#dirty.size > 0) {
      const ahead = [...this.#dirty].filter((at) => at >= this.#cursor);
      const at = Math.min(...(ahead.length > 0 ? ahead : this.#dirty));
      if (!this.#copy(at)) return;
      this.#dirty.delete(at);
      this.#cursor = at + 1;
      return;
    }
    this.#base.flush();
    this.phase = 'ready';
  }

  /** False when there was no room; the job has failed then. */
  #copy(at: number): boolean {
    const data = this.#top.read(at);
    if (this.#base.grows(at) && !this.#disk.share.take()) {
      this.failed = true;
      this.phase = 'telling';
      return false;
    }
    if (this.#isZero(at)) this.#base.unmap(at, this.#disk.unmaps);
    else this.#base.write(at, data);
    this.#copied++;
    return true;
  }

  /** QEMU says where a layer reads as zeros without data, and such clusters are unmapped. */
  #isZero(at: number): boolean {
    for (const node of nodesFrom(this.#top)) {
      if (at >= node.file.clusters) return true;
      const own = node.own(at);
      if (own !== 'absent') return own === 'zero';
    }
    return true;
  }

  #isAbove(at: number): boolean {
    for (const node of nodesFrom(this.#top)) {
      if (node === this.#base) return false;
      if (at >= node.file.clusters || node.own(at) !== 'absent') return true;
    }
    return false;
  }

  /** The layers above the base are closed, which writes what their tables still lack. */
  #pivot(): void {
    this.#base.flush();
    for (const node of nodesFrom(this.#top)) {
      if (node === this.#base) break;
      node.flush();
      node.close();
    }
    this.#disk.top = this.#base;
  }
}
