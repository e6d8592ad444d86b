import type { Merge } from '#domain/chain.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Job } from '#domain/sight.ts';
import type { SimDisk } from './disk.ts';
import { nodesFrom, type SimNode } from './node.ts';
import type { Cluster } from './share.ts';

/**
 * How far a job is, in the order in which QEMU and libvirt take it (measured on 9.0):
 * clusters are copied, the overlay's header is rewritten, QEMU is done, libvirt
 * changes its XML, tells, and only then forgets the job.
 */
export type Phase = 'copying' | 'header' | 'concluding' | 'xml' | 'telling' | 'forgetting' | 'over';

/** libvirt's own refusals, by its error codes. */
export interface No {
  readonly code: number;
  readonly message: string;
}

/** What a job works on. `parent` gets a new header: for a pull it is the active layer itself. */
interface Ground {
  readonly top: SimNode;
  readonly base: SimNode | null;
  readonly parent: SimNode;
  /** The backing name that the parent's header will have. */
  readonly name: string | null;
}

/** A block job inside QEMU, moved one step at a time. */
export class SimJob {
  readonly kind: Job['kind'];
  readonly #disk: SimDisk;
  readonly #ground: Ground | null;
  readonly #total: number;
  #copied = 0;
  phase: Phase = 'copying';
  failed = false;

  private constructor(disk: SimDisk, kind: Job['kind'], ground: Ground | null) {
    this.#disk = disk;
    this.kind = kind;
    this.#ground = ground;
    this.#total = ground?.top.file.clusters ?? 1;
  }

  /** A merge, or why libvirt does not begin it. */
  static merge(disk: SimDisk, merge: Merge): Result<SimJob, No> {
    const ground = merge.kind === 'pull' ? pulling(disk, merge.onto) : committing(disk, merge);
    return ground.ok ? ok(new SimJob(disk, merge.kind, ground.value)) : ground;
  }

  /** Somebody else's: it does nothing and never ends by itself. */
  static foreign(disk: SimDisk, kind: Job['kind']): SimJob {
    return new SimJob(disk, kind, null);
  }

  /** What GetBlockJobInfo says: never at its end while it runs, 0 of 1 once QEMU is done. */
  info(): Job {
    const { kind } = this;
    if (!['copying', 'header'].includes(this.phase)) return { kind, done: 0, total: 1 };
    return { kind, done: Math.min(this.#copied, this.#total - 1), total: this.#total };
  }

  /** One step on. `clusters` is how much is copied in one. */
  step(clusters: number): void {
    if (this.#ground === null) return;
    switch (this.phase) {
      case 'copying':
        for (let i = 0; i < clusters && this.phase === 'copying'; i++) this.#copy(this.#ground);
        return;
      case 'header':
        this.#rewrite(this.#ground);
        this.phase = 'concluding';
        return;
      case 'concluding':
        // The base is reopened read-only, which flushes it; nothing flushes what was pulled.
        if (this.kind === 'commit') this.#ground.base?.flush();
        this.#unlink(this.#ground);
        this.phase = 'xml';
        return;
      case 'xml':
        this.#disk.note(this.#disk.chain());
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

  #copy(ground: Ground): void {
    const at = this.#copied;
    if (at >= this.#total) {
      this.phase = 'header';
      return;
    }
    const { top, base } = ground;
    const into = this.kind === 'pull' ? top : base;
    const cluster = this.kind === 'pull' ? pulled(top, base, at) : committed(top, base, at);
    if (into !== null && cluster !== null) {
      if (into.grows(at) && !this.#disk.share.take()) {
        this.failed = true;
        this.phase = 'telling';
        return;
      }
      into.write(at, cluster);
    }
    this.#copied++;
  }

  #rewrite({ parent, base, name }: Ground): void {
    const { file } = parent;
    if (file.header === null) return;
    file.header = { ...file.header, backing: name, format: base?.driver ?? null };
  }

  /** The merged layers leave the chain in memory. */
  #unlink({ parent, base }: Ground): void {
    for (const node of nodesFrom(parent.backing)) {
      if (node === base) break;
      node.close();
    }
    parent.backing = base;
  }
}

function pulling(disk: SimDisk, onto: string | null): Result<Ground, No> {
  const top = disk.top;
  if (top === null) return NOT_RUNNING;
  const below = [...nodesFrom(top.backing)];
  const base = below.find((node) => node.file.name === onto) ?? null;
  if (base === null && onto !== null) {
    return no(8, `could not find image '${onto}' beneath '${top.file.name}' in chain`);
  }
  const name = base === null ? ok(null) : relativeName(top, base);
  return name.ok ? ok({ top, base, parent: top, name: name.value }) : name;
}

function committing(disk: SimDisk, merge: Extract<Merge, { kind: 'commit' }>): Result<Ground, No> {
  if (disk.top === null) return NOT_RUNNING;
  const top = disk.node(merge.top);
  if (top === null) return no(8, `could not find image '${merge.top}' in chain`);
  if (top === disk.top) {
    return no(8, `commit of '${disk.target}' active layer requires active flag`);
  }
  const base = [...nodesFrom(top.backing)].find((node) => node.file.name === merge.into);
  if (base === undefined) {
    return no(8, `could not find image '${merge.into}' beneath '${merge.top}' in chain`);
  }
  if (disk.share.file(base.file.name) !== base.file) {
    return no(38, `unable to stat: ${merge.into}: No such file or directory`);
  }
  const parent = [...nodesFrom(disk.top)].find((node) => node.backing === top);
  const name = relativeName(top, base);
  if (!name.ok || parent === undefined) return name.ok ? NOT_RUNNING : name;
  base.file.clusters = Math.max(base.file.clusters, top.file.clusters);
  return ok({ top, base, parent, name: name.value });
}

/**
 * libvirt keeps names relative by the headers on the way, which it trusts: a header that names
 * another file passes that name on.
 */
function relativeName(from: SimNode, base: SimNode): Result<string, No> {
  let name = '';
  for (let at: SimNode | null = from; at !== null && at !== base; at = at.backing) {
    name = at.file.header?.backing ?? '';
    if (name === '' || name.startsWith('/'))
      return no(55, "can't keep relative backing relationship");
  }
  return ok(name);
}

/** What a pull takes up: what the active layer lacks and a layer above `base` has. */
function pulled(top: SimNode, base: SimNode | null, at: number): Exclude<Cluster, 'absent'> | null {
  if (top.own(at) !== 'absent') return null;
  for (const node of nodesFrom(top.backing)) {
    if (node === base || at >= node.file.clusters) return null;
    const own = node.own(at);
    if (own !== 'absent') return own;
  }
  return null;
}

/** What a commit brings down, zero clusters as real zeros (QEMU 7.2). */
function committed(top: SimNode, base: SimNode | null, at: number) {
  for (const node of nodesFrom(top)) {
    if (node === base) return null;
    const own = node.own(at);
    if (own !== 'absent') return own === 'zero' ? 0 : own;
  }
  return null;
}

const no = (code: number, message: string): Result<never, No> => err({ code, message });
const NOT_RUNNING = no(55, 'domain is not running');
