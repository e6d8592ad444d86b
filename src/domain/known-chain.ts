import { filesOf, find, type Layer } from './chain.ts';
import type { CreateSaga } from './create-saga.ts';
import { goneOf, leftover } from './delete-end.ts';
import type { DeleteSaga } from './delete-saga.ts';
import type { FileName, OperationId } from './ids.ts';
import type { Saga } from './saga.ts';
import type { Made, UndoSaga } from './undo-saga.ts';

/**
 * What the journal knows of a volume's chain, for whoever starts a guest on it: the boot guard
 * (`contrib/libvirt/`), which has no libvirt to ask.
 */
export interface KnownChain {
  readonly directory: string;
  /** The active file first, then what it stands on. */
  readonly files: readonly FileName[];
  readonly held: Held;
  /** The QEMU that had the chain then; null while the guest was off. */
  readonly process: string | null;
  /** Merges that have ended so that nobody can tell what a start would read: each holds it. */
  readonly doubts?: readonly Doubt[];
}

/** A merge that may yet come through, or may have, with its clusters in QEMU's memory only. */
export interface Doubt {
  readonly operation: OperationId;
  /** The QEMU that was asked for it. */
  readonly process: string;
  /** The file that it merges away. While the headers name that, they say what was before it. */
  readonly gone: FileName;
}

/** An operation's step, from one saga to the next. */
export interface Step {
  readonly operation: OperationId;
  readonly before: Saga;
  readonly now: Saga;
}

/**
 * What no guest is started on until the operation that is at work has seen what there is. `below`:
 * the active file may be an overlay that the guest was just switched to, or the one below it.
 * `all`: a merge may have rewritten a header while what it merged was in QEMU's memory only.
 */
export type Held = 'nothing' | 'below' | 'all';

/** What a step teaches about the chain; null when that is nothing. */
export function knownBy(before: Saga, now: Saga): KnownChain | null {
  switch (now.kind) {
    case 'create':
      return byCreate(before, now);
    case 'delete':
      return byDelete(before, now);
    case 'undo':
      return byUndo(before, now);
  }
}

/**
 * What is known after a step that taught `known`, when `last` was known. A chain stays held, with
 * whatever has come on top, while there is a doubt that nothing has ended: an operation that ends
 * well on the volume says nothing of a merge that was asked for before it.
 */
export function keeping(last: KnownChain | null, known: KnownChain, step: Step): KnownChain {
  const { doubts: older = [], ...before } = last ?? { held: 'nothing' };
  const others = older.filter(({ operation }) => operation !== step.operation);
  const own = known.held === 'all' ? doubtOf(step) : null;
  const doubts = [...others.filter((one) => !isOver(one, known, step)), ...(own ? [own] : [])];
  if (doubts.length > 0) return { ...known, held: 'all', doubts };
  // As an earlier version wrote it, which did not say whose the doubt is.
  const isOlder = before.held === 'all' && older.length === 0 && known.process === null;
  return isOlder ? { ...known, held: 'all' } : known;
}

/** What a merge leaves behind that ends while its chain is held. */
function doubtOf({ operation, before, now }: Step): Doubt | null {
  if (now.at !== 'end' || before.kind !== 'delete' || !('plan' in before)) return null;
  const { plan } = before;
  if (plan === undefined || plan.process === null) return null;
  return { operation, process: plan.process, gone: leftover(plan) };
}

/**
 * Whether a step of another operation shows that the merge has come to an end, or to nothing:
 * - another QEMU has the disk. The job died with the one before, and what is on disk is what the
 *   guest has by now. (A call that libvirtd has yet to begin may come through in this one: what is
 *   open in docs/HAZARDS.md.)
 * - the guest is off, and the headers, which qemu-img's work was decided on, name the file still.
 * - the file was merged away since, and flushed, by an operation that found it in the live chain
 *   and in the headers: whatever comes after that finds no such file, and is refused.
 * What a person settles says nothing of any other merge.
 */
function isOver({ process, gone }: Doubt, known: KnownChain, { before, now }: Step): boolean {
  if (before.at === 'end') return false;
  if (known.process !== null && known.process !== process) return true;
  if (now.at === 'end' && now.outcome === 'merged' && goneOf(now) === gone) return true;
  return before.at === 'offline' && find(before.plan.before, gone) !== null;
}

/**
 * What is known once a person has settled an operation that may have ended long ago: a later one
 * can have put an overlay on top of what it knew, and that one is the active file.
 */
export function settled(before: KnownChain | null, now: KnownChain): KnownChain {
  const [active] = before?.files ?? [];
  const isLater = active !== undefined && !now.files.includes(active);
  return before !== null && isLater ? { ...now, files: before.files } : now;
}

function byCreate(before: Saga, now: CreateSaga): KnownChain | null {
  if (now.at === 'switching') {
    const { plan, asking, pending, begun } = now;
    if (!asking && !pending && !begun) return known(plan, plan.before);
    return known(plan, plan.after, 'below');
  }
  if (now.at !== 'end') return null;
  const made = before.at === 'switching' ? before.plan : maybeOf(before);
  if (made === undefined) return null;
  return known(made, isInUse(now) ? made.after : made.before);
}

/** Whether the guest may write to the overlay, which may have to be undone. */
const isInUse = (now: Extract<CreateSaga, { at: 'end' }>): boolean =>
  now.outcome === 'created' || now.outcome === 'unknown' || now.made !== undefined;

/** What a create made of the chain that a person has settled. */
const maybeOf = (saga: Saga): Made | undefined =>
  saga.kind === 'create' && saga.at === 'end' ? saga.maybe : undefined;

/**
 * A merge never changes which file is active. One whose outcome is unknown, or of which an attempt
 * may still come through, holds the chain when it has ended: its QEMU may yet be killed with the
 * clusters of a rewritten header in its memory only.
 */
function byDelete(before: Saga, now: DeleteSaga): KnownChain | null {
  switch (now.at) {
    case 'merging':
    case 'flushing':
    case 'restoring':
      return known(now.plan, now.plan.before, 'all');
    // QEMU's image locks keep a guest from what qemu-img has open.
    case 'offline':
      return known(now.plan, now.plan.before);
    case 'end': {
      const plan = 'plan' in before && before.kind === 'delete' ? before.plan : undefined;
      if (plan === undefined) return null;
      const unknown = now.outcome === 'unknown' || now.unsure === true;
      if (now.unseen || (unknown && plan.process !== null)) return known(plan, plan.before, 'all');
      return known(plan, now.outcome === 'merged' ? plan.after : plan.before);
    }
    case 'waiting':
    case 'accepted':
    case 'confirming':
      return null;
  }
}

function byUndo(before: Saga, { made, ...now }: UndoSaga): KnownChain | null {
  if (now.at !== 'end' || now.outcome !== 'undone') return null;
  const process = 'process' in before ? before.process : null;
  return known({ ...made, process }, made.before);
}

/** Where it was; an older journal does not always say in which folder. */
interface Where {
  readonly directory?: string;
  readonly process?: string | null;
}

function known(
  { directory, process = null }: Where,
  chain: Layer,
  held: Held = 'nothing',
): KnownChain | null {
  return directory === undefined ? null : { directory, files: filesOf(chain), held, process };
}

/** Why a guest may not be started on a file. */
export type BootRefusal =
  /** What the guest wrote to the active file would be lost. */
  { readonly kind: 'below'; readonly active: FileName } | { readonly kind: 'held' };

/**
 * What the boot guard says of a disk in this file; null lets it start. Only what is known to be
 * wrong is refused: a file that is not in the known chain is none of ours to judge, and an active
 * file that is gone was merged away since by whoever had the volume.
 */
export function judgeBoot(
  { directory, files, held }: KnownChain,
  disk: { readonly directory: string; readonly file: FileName },
  exists: (file: FileName) => boolean,
): BootRefusal | null {
  const [active, ...below] = files;
  if (active === undefined || disk.directory !== directory) return null;
  const isBelow = below.includes(disk.file) && exists(active);
  if (held === 'all' && files.includes(disk.file)) return { kind: 'held' };
  if (held === 'below' && isBelow) return { kind: 'held' };
  return isBelow ? { kind: 'below', active } : null;
}
