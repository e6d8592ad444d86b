import type { FileName } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import type { SimDisk } from './disk.ts';
import { nodesFrom, type SimNode } from './node.ts';
import { type No, no } from './refusal.ts';

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

/** What a pull works on, or why libvirt does not begin it. */
export function pulling(disk: SimDisk, { base: onto, relative }: PullCall): Result<Ground, No> {
  const { top } = disk;
  if (top === null) return NOT_RUNNING;
  if (onto === null && relative) {
    return no(8, 'flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base');
  }
  const base = onto === null ? null : under(top, onto);
  if (base === undefined) return notBeneath(disk, top, onto);
  if (top.backing === null || base === null) return ok({ top, base, parent: top, name: null });
  const name = relative ? relativeName(top.backing, base) : ok(absoluteName(disk, base));
  return name.ok ? ok({ top, base, parent: top, name: name.value }) : name;
}

/** What a commit works on, or why libvirt does not begin it. */
export function committing(disk: SimDisk, call: CommitCall): Result<Ground, No> {
  const { top: active } = disk;
  if (active === null) return NOT_RUNNING;
  const top = call.top === null ? active : disk.node(call.top);
  if (top === null) return no(8, `could not find image '${call.top}' in chain`);
  if (top === active && !call.active) {
    return no(8, `commit of '${disk.target}' active layer requires active flag`);
  }
  if (top !== active && call.active) {
    return no(8, `active commit requested but '${call.top}' is not active`);
  }
  const lowest = [...nodesFrom(top.backing)].at(-1);
  const base = call.base === null ? lowest : under(top, call.base);
  if (base === undefined) return notBeneath(disk, top, call.base);
  if (call.shallow && base !== top.backing) {
    return no(8, `base '${base.file.name}' is not immediately below '${top.file.name}'`);
  }
  if (disk.share.file(base.file.name) !== base.file) {
    return no(38, `unable to stat: ${base.file.name}: No such file or directory`);
  }
  const parent = [...nodesFrom(active)].find((node) => node.backing === top) ?? null;
  if (parent === null) return ok({ top, base, parent, name: null });
  const name = call.relative ? relativeName(top, base) : ok(absoluteName(disk, base));
  return name.ok ? ok({ top, base, parent, name: name.value }) : name;
}

/** A base that is smaller grows to the top's size; what its own backing file has there is hidden. */
export function grow(base: SimNode, clusters: number): void {
  const { file, backing } = base;
  const from = file.clusters;
  if (from >= clusters) return;
  file.clusters = clusters;
  if (file.header !== null) file.header = { ...file.header, clusters };
  for (let at = from; at < clusters; at++) {
    if (backing !== null && at < backing.file.clusters) base.write(at, 'zero');
  }
}

const under = (top: SimNode, file: FileName): SimNode | undefined =>
  [...nodesFrom(top.backing)].find((node) => node.file.name === file);

/**
 * libvirt joins the names that it found in the headers from `top`'s own down to the base's, and
 * trusts them: a header that named another file passes that name on.
 */
function relativeName(top: SimNode, base: SimNode): Result<string, No> {
  for (let at: SimNode | null = top; at !== null; at = at.backing) {
    if (at.relativeName === null) return no(55, "can't keep relative backing relationship");
    if (at === base) return ok(at.relativeName);
  }
  return no(1, 'failed to resolve relative backing name: base image is not in backing chain');
}

const absoluteName = ({ share }: SimDisk, { file }: SimNode): string =>
  `${share.directory}/${file.name}`;

const notBeneath = ({ target }: SimDisk, top: SimNode, file: string | null) =>
  no(8, `could not find image '${file}' beneath '${top.file.name}' in chain for '${target}'`);

const NOT_RUNNING = no(55, 'domain is not running');
