import { afterMerge, find, type Layer, layersOf, type Merge, repointedBy } from './chain.ts';
import { coldChain } from './cold-chain.ts';
import type { VolumeKey } from './encryption.ts';
import type { Refusal } from './failure.ts';
import type { FileName } from './ids.ts';
import { usableDisk } from './plan-create.ts';
import { err, ok, type Result } from './result.ts';
import type { Subject } from './saga.ts';
import type { Sight } from './sight.ts';

/**
 * What Cinder asks (its `delete_info`): with a target, commit the file into it; without, pull all
 * above `fileToMerge` into the active file, or everything when that is null too
 * (cinder/volume/drivers/remotefs.py:1984-2012).
 */
export interface DeleteRequest extends Subject {
  readonly fileToMerge: FileName | null;
  readonly mergeTarget: FileName | null;
}

/** What will be done, all of it checked: by the QEMU that has the disk, or while none has. */
export type DeletePlan = LivePlan | OfflinePlan;

export interface LivePlan extends MergePlan {
  readonly process: string;
}

/** The guest is shut off. */
export interface OfflinePlan extends MergePlan {
  readonly process: null;
}

export interface MergePlan {
  readonly target: string;
  readonly directory: string;
  readonly merge: Merge;
  readonly before: Layer;
  readonly after: Layer;
  /** The overlay whose header the merge rewrites, with what it must name afterwards. */
  readonly repointed: FileName;
  readonly size: number;
  /** What opens the volume's files, when it is encrypted. */
  readonly key: VolumeKey | null;
}

/** Decides a delete on what was seen. Pure: `plan delete` prints exactly this. */
export function planDelete(request: DeleteRequest, sight: Sight): Result<DeletePlan, Refusal> {
  const disk = usableDisk(sight);
  if (!disk.ok) return disk;
  const { view, directory, size, key } = disk.value;
  const { target, process, server } = view;
  // qemu-img would need the passphrase, which is libvirt's.
  if (key !== null && process === null) return err({ kind: 'encrypted-and-off', target, server });
  const chain = process === null ? coldChain(view, sight) : ok(disk.value.before);
  if (!chain.ok) return chain;
  const before = chain.value;
  const merge = mergeFor(request, before);
  if (!merge.ok) return merge;
  const after = afterMerge(before, merge.value);
  if (!after.ok) return after;
  const stale = staleness(request, merge.value, before);
  if (stale !== null) return err(stale);
  const repointed = repointedBy(before, merge.value);
  if (repointed === null) return err({ kind: 'top-is-active', top: before.file });
  const problem = headerProblem(repointed, merge.value, sight, size);
  if (problem !== null) return err(problem);
  const plan = {
    target,
    directory,
    merge: merge.value,
    before,
    after: after.value,
    repointed: repointed.file,
    size,
    key,
  };
  return ok(process === null ? { ...plan, process } : { ...plan, process });
}

/**
 * Cinder names the overlay that it makes for a snapshot after it, and deletes the snapshot by
 * committing that file, or by pulling into it when the guest writes to it. A request that comes
 * late, or twice, can fit the chain as it has become meanwhile and would merge away what another
 * snapshot has frozen (seed 49320). When a snapshot has got another file, through the delete of a
 * neighbour, its own is in no chain any more.
 */
function staleness({ snapshot }: DeleteRequest, merge: Merge, active: Layer): Refusal | null {
  const own = layersOf(active).find(({ file }) => file.endsWith(`.${snapshot}`))?.file;
  const meant = merge.kind === 'commit' ? merge.top : active.file;
  return own === undefined || own === meant ? null : { kind: 'other-snapshot', own, file: meant };
}

/** The merge that is asked for; a delete merges exactly one layer away. */
export function mergeFor(request: DeleteRequest, active: Layer): Result<Merge, Refusal> {
  const { fileToMerge, mergeTarget } = request;
  if (mergeTarget !== null) {
    if (fileToMerge === null) return err({ kind: 'bad-request', problem: NO_FILE_TO_MERGE });
    return ok({ kind: 'commit', top: fileToMerge, into: mergeTarget });
  }
  const layers = layersOf(active);
  const onto = fileToMerge === null ? layers.length : layers.findIndex(named(fileToMerge));
  if (onto < 0) {
    const chain = layers.map((layer) => layer.file);
    return err({ kind: 'not-in-chain', file: fileToMerge ?? active.file, chain });
  }
  const between = onto - 1;
  if (between !== 1) {
    if (fileToMerge === active.file) return err({ kind: 'top-is-active', top: fileToMerge });
    return err({ kind: 'not-one-layer', active: active.file, onto: fileToMerge, between });
  }
  return ok({ kind: 'pull', onto: fileToMerge });
}

/**
 * libvirt keeps names relative only when each name on the way already is, and it trusts the names
 * in the headers: one that differs from the live chain would be written on (measured). And a
 * layer of another virtual size changes what the guest reads when it is merged.
 */
function headerProblem(repointed: Layer, merge: Merge, sight: Sight, size: number): Refusal | null {
  for (const { file, on } of links(repointed, merge)) {
    const header = sight.headers[file];
    if (header === undefined || !header.ok) {
      const says = header === undefined ? 'nothing readable' : `nothing (${header.error.says})`;
      return { kind: 'header-disagrees', file, says, live: on.file };
    }
    if (header.value.backingFile !== on.file) {
      const says = header.value.backingFile ?? 'nothing';
      return { kind: 'header-disagrees', file, says, live: on.file };
    }
    if (header.value.size !== size) {
      return { kind: 'size-differs', file, size: header.value.size, disk: size };
    }
  }
  return null;
}

type Link = Layer & { readonly on: Layer };

/** The overlays from the repointed one down to the lowest one that the merge touches. */
function links(repointed: Layer, merge: Merge): readonly Link[] {
  const floor = merge.kind === 'pull' ? merge.onto : merge.into;
  const stays = find(repointed, floor);
  const below = new Set(stays && layersOf(stays).map(({ file }) => file));
  const isLink = (layer: Layer): layer is Link => layer.on !== null;
  return layersOf(repointed)
    .filter(isLink)
    .filter((layer) => !below.has(layer.file));
}

const named = (file: FileName) => (layer: Layer) => layer.file === file;

const NO_FILE_TO_MERGE =
  'delete_info names a merge_target_file but no file_to_merge: name the file to commit.';
