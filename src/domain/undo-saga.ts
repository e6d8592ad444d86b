import { filesOf, goesOnFrom, type Layer } from './chain.ts';
import { explain, explainFault, type Fault } from './failure.ts';
import type { FileName } from './ids.ts';
import {
  type Effect,
  type End,
  type Event,
  end,
  go,
  isBusy,
  lookAt,
  lookWithCinder,
  type Next,
  noted,
  type Subject,
  WATCH,
  WATCH_SOON,
} from './saga.ts';
import { type DiskView, isGone, type Job, type Sight } from './sight.ts';

/** A create of ours that Cinder gave up after the overlay was in use. */
export interface UndoRequest extends Subject {
  readonly newFile: FileName;
}

/** What the create made of the chain. */
export interface Made {
  readonly before: Layer;
  /** The overlay on `before`. */
  readonly after: Layer;
  /** Left out in the journal of a version that kept no chains. */
  readonly directory?: string;
}

/**
 * The story of an undo. Cinder goes on from the file below the overlay: the next start attaches
 * that one, and what the guest wrote since would be lost. So the overlay is committed into it
 * while the guest runs, and the guest is switched back. `committing`: the active commit was asked
 * for, and mirrors until it is ready. `pivoting`: the switch was asked for. `canceling`: Cinder
 * does want the overlay after all. `flushing`: the guest is back, and it is made durable.
 */
export type UndoSaga = {
  readonly kind: 'undo';
  readonly request: UndoRequest;
  readonly made: Made;
} & (
  | { readonly at: 'waiting' }
  | ({ readonly at: 'committing'; readonly tries: number } & Asked)
  | ({ readonly at: 'pivoting'; readonly tries: number } & Asked)
  | ({ readonly at: 'canceling'; readonly why: string } & Asked)
  | ({ readonly at: 'flushing' } & Where)
  | End
);

interface Where {
  readonly target: string;
  readonly process: string;
}

interface Asked extends Where {
  /** How often it has been looked at without any news. */
  readonly doubts: number;
  /** Why it was refused or broken off, if it was. */
  readonly refused: Fault | null;
}

type At<A extends UndoSaga['at']> = Extract<UndoSaga, { at: A }>;
type Step = Next<UndoSaga>;

const MAX_TRIES = 3;
const MAX_DOUBTS = 30;

export function nextUndo(saga: UndoSaga, event: Event): Step {
  if (saga.at === 'end') return end(saga, null);
  switch (event.kind) {
    case 'blind':
      return go(saga, WATCH, noted(event.fault));
    case 'saw':
      return judge(saga, event.sight);
    case 'did':
      return saga.at === 'flushing' ? undone(saga) : go(saga, look(saga));
    case 'failed':
      if (saga.at === 'waiting' || saga.at === 'flushing')
        return go(saga, WATCH, noted(event.fault));
      return go({ ...saga, refused: event.fault }, look(saga), noted(event.fault));
    case 'ended':
    case 'woke':
      return go(saga, look(saga));
  }
}

/** Before each point of no return Cinder is asked as well. */
const look = ({ at }: UndoSaga): Effect => (at === 'waiting' ? lookWithCinder() : lookAt());

function judge(saga: Exclude<UndoSaga, { at: 'end' }>, sight: Sight): Step {
  const view = sight.guest;
  if (view.kind === 'absent' && !isGone(view.why)) return park(saga, explain(view.why));
  // Whoever looks after it tries again while the guest may come back.
  if (view.kind === 'absent') return withdraw(saga, explain(view.why));
  if (view.process === null) {
    const { newFile } = saga.request;
    return withdraw(saga, `the guest is shut off, and what it wrote since is in ${newFile}`);
  }
  const here = { ...view, process: view.process };
  switch (saga.at) {
    case 'waiting':
      return decide(saga, here, sight, 1);
    case 'committing':
      return committing(saga, here, sight);
    case 'pivoting':
      return pivoting(saga, here, sight);
    case 'canceling':
      return canceling(saga, here);
    case 'flushing':
      return flush(saga, here);
  }
}

type Running = DiskView & { readonly process: string };

/** What Cinder believes now: it has `given up`, it `wants` the overlay, or nobody can tell. */
function belief(saga: UndoSaga, { cinder }: Sight): { readonly is: Belief; readonly says: string } {
  const { request, made } = saga;
  const status = cinder?.snapshot?.status ?? 'gone';
  if (!isGivenUp(status)) return { is: 'wants', says: `the snapshot is ${status} in Cinder` };
  const active = cinder?.active ?? null;
  if (active === request.newFile) {
    return { is: 'wants', says: `the snapshot is ${status}, but Cinder has ${active} in use` };
  }
  if (active === made.before.file) return { is: 'given up', says: status };
  const names = active === null ? 'names no file' : `names ${active}`;
  return { is: 'unclear', says: `the snapshot is ${status}, and its attachment ${names}` };
}

/**
 * The statuses of a create that failed, and of what becomes of it; with the old file still in the
 * attachment Cinder has not taken the overlay, and deletes nothing but its own record.
 */
export const isGivenUp = (status: string): boolean =>
  ['error', 'gone', 'deleting', 'error_deleting'].includes(status);

type Belief = 'wants' | 'given up' | 'unclear';

/** Of a guest that was off nobody knew the whole chain: what was predicted is its upper part. */
const isMade = ({ chain }: DiskView, { after }: Made): boolean => goesOnFrom(chain, after);
const isBack = ({ chain }: DiskView, { before }: Made): boolean => goesOnFrom(chain, before);

/** Only what is provably ours, still on top, and not wanted, is taken away. */
function decide(saga: UndoSaga, view: Running, sight: Sight, tries: number): Step {
  if (sight.cinder === null) return go(saga, lookWithCinder());
  const { request, made, kind } = saga;
  const { is, says } = belief(saga, sight);
  if (is === 'wants') return withdraw(saga, says);
  if (is === 'unclear') return park(saga, says);
  if (isBack(view, made)) return withdraw(saga, `${request.newFile} is not in use`);
  if (!isMade(view, made)) {
    return park(saga, `the chain became another one: ${view.chain.file} is active`);
  }
  if (tries > MAX_TRIES) return park(saga, 'the active commit vanished again and again');
  // Whoever's it is, it is left alone, and does not hold up what else is asked of the volume.
  if (view.job !== null) return withdraw(saga, `a ${view.job.kind} job is at work on the disk`);
  const { target, process } = view;
  return go(
    { kind, request, made, at: 'committing', target, process, tries, ...NEW },
    { do: 'commit-active', target, process, chain: filesOf(view.chain) },
    { kind: 'decided', detail: `commit ${request.newFile} into ${made.before.file}, and go back` },
  );
}

const NEW = { doubts: 0, refused: null } as const;

function committing(saga: At<'committing'>, view: Running, sight: Sight): Step {
  const { made, target, process } = saga;
  if (isBack(view, made) && view.job === null) return back(saga, view);
  if (view.process !== process) {
    // Its QEMU died, and the job with it, unless it came through to the next one only. All that it
    // had is still in the overlay.
    if (view.job === null || !isOurs(saga, view.job)) {
      return decide(saga, view, sight, saga.tries + 1);
    }
    return committing({ ...saga, process: view.process, doubts: 0 }, view, sight);
  }
  if (view.job === null) {
    const { refused } = saga;
    if (refused?.kind === 'rejected' && !isBusy(refused)) return park(saga, explainFault(refused));
    // As beside a pull of another disk, for as long as that takes.
    if (refused?.kind === 'rejected')
      return go({ ...saga, refused: null, tries: saga.tries - 1 }, WATCH);
    // What was asked for and never answered may still begin.
    if (refused?.kind === 'unknown' && saga.doubts < MAX_DOUBTS) return doubt(saga);
    return decide(saga, view, sight, saga.tries + 1);
  }
  // When the first attempt was refused nothing is ours; after that an earlier one may have come.
  const refused = saga.refused?.kind === 'rejected' && saga.tries === 1;
  const theirs = refused || !isOurs(saga, view.job);
  if (theirs) return withdraw(saga, `a ${view.job.kind} job is at work on the disk`);
  if (view.job.mirror?.ready !== true) return go(saga, WATCH);
  if (sight.cinder === null) return go(saga, lookWithCinder());
  const { is, says } = belief(saga, sight);
  const { kind, request } = saga;
  const asked = { kind, request, made, target, process, ...NEW } as const;
  if (is !== 'given up') {
    return go(
      { ...asked, at: 'canceling', why: says },
      { do: 'cancel', target, process, chain: filesOf(view.chain) },
      { kind: 'decided', detail: `leave ${request.newFile} in use: ${says}` },
    );
  }
  return go(
    { ...asked, at: 'pivoting', tries: 1 },
    { do: 'pivot', target, process, chain: filesOf(view.chain) },
  );
}

function pivoting(saga: At<'pivoting'>, view: Running, sight: Sight): Step {
  const { made, target, process, tries, doubts } = saga;
  if (isBack(view, made) && view.job === null) return back(saga, view);
  if (view.process !== process || view.job === null) return decide(saga, view, sight, 1);
  // While it happens there is a mirror, and nobody's job.
  if (view.job.mirror?.ready !== true) return go(saga, WATCH_SOON);
  if (doubts < MAX_DOUBTS) return doubt(saga);
  if (tries >= MAX_TRIES) {
    const why = saga.refused === null ? 'it does not happen' : explainFault(saga.refused);
    return park(saga, `the guest is not switched back: ${why}`);
  }
  const chain = filesOf(view.chain);
  return go({ ...saga, ...NEW, tries: tries + 1 }, { do: 'pivot', target, process, chain });
}

function canceling(saga: At<'canceling'>, view: Running): Step {
  const { made, why, process } = saga;
  if (view.job === null || view.process !== process) {
    if (isMade(view, made)) return withdraw(saga, why);
    return park(saga, `${why}, and ${view.chain.file} is active`);
  }
  if (saga.doubts < MAX_DOUBTS) return doubt(saga);
  return park(saga, `${why}, and the active commit does not end`);
}

/** Somebody else's job is neither pivoted nor cancelled. */
const isOurs = ({ made }: UndoSaga, { kind, mirror }: Job): boolean =>
  kind === 'active-commit' && mirror?.into === made.before.file;

const doubt = (saga: At<'committing' | 'pivoting' | 'canceling'>): Step =>
  go({ ...saga, doubts: saga.doubts + 1 }, WATCH_SOON);

/** The guest writes to the old file again. */
function back(saga: At<'committing' | 'pivoting'>, view: Running): Step {
  const { kind, request, made } = saga;
  const { target, process } = view;
  return go(
    { kind, request, made, at: 'flushing', target, process },
    { do: 'flush', target, process },
    { kind: 'switched', detail: `${target} is on ${view.chain.file} again` },
  );
}

function flush(saga: At<'flushing'>, view: Running): Step {
  const { target, process } = view;
  if (!isBack(view, saga.made)) {
    return park(saga, `the chain changed before it was flushed: ${view.chain.file} is active`);
  }
  // A mirror is flushed when it ends, so what an older QEMU had is in the file already (measured).
  return go({ ...saga, target, process }, { do: 'flush', target, process });
}

function undone(saga: At<'flushing'>): Step {
  const { newFile } = saga.request;
  const reason = `${newFile}, which Cinder gave up, is out of use: all of it is in the old file`;
  return end(ended(saga, 'undone', reason), null, { kind: 'flushed', detail: 'all on disk' });
}

const withdraw = (saga: UndoSaga, reason: string): Step =>
  end(ended(saga, 'withdrawn', reason), null);

const park = (saga: UndoSaga, reason: string): Step =>
  end(ended(saga, 'unknown', `${saga.request.newFile} is in use: ${reason}`), null);

const ended = (
  { kind, request, made }: UndoSaga,
  outcome: End['outcome'],
  reason: string,
): UndoSaga => ({
  ...{ kind, request, made, at: 'end' },
  ...{ outcome, reason, formats: [] },
});
