import type { SeenLayer } from '#domain/chain.ts';
import type { FileName } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import type { SimDisk } from './disk.ts';
import { nodesFrom, type SimNode } from './node.ts';
import { relative } from './opening.ts';
import { type No, no } from './refusals.ts';
import { withoutJob } from './switching.ts';

/** virDomainBlockCommit. A null top is the active layer, a null base the lowest one. */
export interface CommitCall {
  readonly top: FileName | null;
  readonly base: FileName | null;
  readonly relative?: boolean;
  readonly shallow?: boolean;
  readonly active?: boolean;
}

/** virDomainBlockRebase, as a pull. A null base is a pull of everything. */
export interface PullCall {
  readonly base: FileName | null;
  readonly relative?: boolean;
}

/** What a job works on. `parent` gets a new header: for a pull it is the active layer itself. */
export interface Ground {
  readonly top: SimNode;
  readonly base: SimNode | null;
  /** Null for an active commit, after which nothing stands on the base. */
  readonly parent: SimNode | null;
  /** The backing name that the parent's header will have. */
  readonly name: string | null;
}

/** What a pull works on, or why libvirt does not begin it, in its order. */
export function pulling(disk: SimDisk, { base: onto, relative }: PullCall): Result<Ground, No> {
  const { top, target } = disk;
  if (onto === null && relative) return no('pull of everything kept relative', target);
  if (top === null) return no('guest shut off', target);
  const free = withoutJob(disk);
  if (!free.ok) return free;
  const base = onto === null ? null : under(top, onto);
  if (base === undefined) return notBeneath(disk, top.file.name, onto);
  if (top.backing === null || base === null) return ok({ top, base, parent: top, name: null });
  const name = relative
    ? relativeName(disk, top.backing, base)
    : ok<string>(disk.path(base.file.name));
  return name.ok ? ok({ top, base, parent: top, name: name.value }) : name;
}

/** What a commit works on, or why libvirt does not begin it, in its order. */
export function committing(disk: SimDisk, call: CommitCall): Result<Ground, No> {
  const { top: active, target, xml } = disk;
  // Also of a guest that is shut off the files are looked for first: in what it is configured as.
  const named = find(xml, call.top ?? xml.file);
  if (named === null) return no('top not in the chain', target, disk.path(call.top ?? ''));
  if (call.base !== null && find(named.on, call.base) === null) {
    return notBeneath(disk, named.file, call.base);
  }
  if (call.base === null && !call.shallow && named.on === null) {
    return no('nothing below the top', target);
  }
  if (active === null) return no('guest shut off', target);
  const free = withoutJob(disk);
  if (!free.ok) return free;
  if (named === xml && !call.active) return no('top is active', target);
  if (named !== xml && call.active) return no('top is not active', target, disk.path(named.file));
  const top = disk.node(named.file);
  const lowest = call.shallow ? top?.backing : [...nodesFrom(active)].at(-1);
  const base = call.base === null ? lowest : disk.node(call.base);
  if (base === null) return no('nothing below the top', target);
  // libvirt's XML lags behind QEMU while another job ends.
  if (!top || !base) return no('top not in the chain', target, disk.path(named.file));
  if (call.shallow && base !== top.backing) {
    const [above, below] = [disk.path(top.file.name), disk.path(base.file.name)];
    return no('base not right below the top', target, above, below, disk.path(xml.file));
  }
  return onBase(disk, call, top, base);
}

function onBase(disk: SimDisk, call: CommitCall, top: SimNode, base: SimNode): Result<Ground, No> {
  const { share, target } = disk;
  const path = disk.path(base.file.name);
  if (share.file(base.file.name) !== base.file) return no('base unlinked', target, path);
  const parent = [...nodesFrom(disk.top)].find((node) => node.backing === top) ?? null;
  const relative = parent !== null && call.relative === true;
  const name = relative ? relativeName(disk, top, base) : ok<string>(path);
  if (!name.ok) return name;
  if (base.file.access !== 'free') return no('base may not be written', target, path);
  return ok({ top, base, parent, name: parent === null ? null : name.value });
}

/** A smaller base grows to the top's size; what its backing file may have there is hidden. */
export function grow(base: SimNode, clusters: number): void {
  const { file, backing } = base;
  const from = file.clusters;
  if (from >= clusters) return;
  file.clusters = clusters;
  if (file.header !== null) file.header = { ...file.header, clusters };
  if (backing === null || backing.file.clusters <= from) return;
  for (let at = from; at < clusters; at++) base.write(at, 'zero');
}

const under = (top: SimNode, file: FileName): SimNode | undefined =>
  [...nodesFrom(top.backing)].find((node) => node.file.name === file);

/**
 * libvirt joins the names that it found in the headers from `top`'s own down to the base's, and
 * trusts them: a header that named another file passes that name on.
 */
function relativeName(disk: SimDisk, top: SimNode, base: SimNode): Result<string, No> {
  learnNames(disk.top);
  for (let at: SimNode | null = top; at !== null; at = at.backing) {
    if (at.relativeName === null) return no('names not relative', disk.target);
    if (at === base) return ok(at.relativeName);
  }
  return no('names not relative', disk.target);
}

/**
 * What libvirt does before it keeps names relative: from the active layer down it reads headers,
 * as they are now, until it comes to a layer whose name it knows already
 * (qemuBlockUpdateRelativeBacking; measured).
 */
function learnNames(active: SimNode | null): void {
  for (const { file, backing } of nodesFrom(active)) {
    if (backing === null || backing.relativeName !== null) return;
    backing.relativeName = relative(file.header?.backing);
  }
}

const notBeneath = (disk: SimDisk, top: string, file: string | null) =>
  no('base not below the top', disk.target, disk.path(top), disk.path(file ?? ''));

const find = (chain: SeenLayer | null, file: string): SeenLayer | null =>
  chain === null || chain.file === file ? chain : find(chain.on, file);
