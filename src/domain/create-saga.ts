import { agrees, find, formatsOf } from './chain.ts';
import { look, lookAll, mendWith, switchTo, thawOf } from './create-effects.ts';
import { ended, fail, park, refuse, withdraw } from './create-end.ts';
import { heal, isSame, liesIn } from './create-header.ts';
import { shows } from './create-shows.ts';
import { explain, explainFault, type Fault } from './failure.ts';
import { QCOW2 } from './ids.ts';
import { type CreatePlan, type CreateRequest, type Limits, planCreate } from './plan-create.ts';
import {
  ASKED,
  DROPPED,
  type Freeze,
  fallsBack,
  freezes,
  mayBeFrozen,
  OVER,
  quiesced,
  THAWING,
  type Thawing,
  thaw,
  unquiesced,
  untried,
} from './quiesce.ts';
import {
  type End,
  type Event,
  type Evidence,
  end,
  go,
  isBusy,
  type Next,
  noted,
  WATCH,
} from './saga.ts';
import { type DiskView, isGone, type Sight } from './sight.ts';
import type { Made } from './undo-saga.ts';

/**
 * The story of a create. `waiting`: another operation of ours has the volume. `accepted`: decided,
 * nothing done. `mending`: the overlay is told the true format of its backing file. `switching`:
 * the hypervisor may have been asked. `confirming`: a repeat, for an overlay that is in use.
 */
export type CreateSaga = { readonly kind: 'create'; readonly request: CreateRequest } & (
  | { readonly at: 'waiting'; readonly limits: Limits }
  | { readonly at: 'accepted'; readonly limits: Limits }
  | { readonly at: 'confirming'; readonly made?: Made }
  | { readonly at: 'mending'; readonly limits: Limits; readonly plan: CreatePlan }
  | {
      readonly at: 'switching';
      readonly limits: Limits;
      readonly plan: CreatePlan;
      /** Why the last attempt was refused, or null while nobody has said no. */
      readonly refused: Fault | null;
      /** Whether an earlier attempt may still be under way inside the hypervisor. */
      readonly pending: boolean;
      /** It was asked for again after such an attempt, which may thus come through at any time. */
      readonly twice?: boolean;
      /** Some attempt was not simply refused: the guest may have written to the overlay. */
      readonly begun?: boolean;
      /** Whether the hypervisor was asked and has not answered this process. */
      readonly asking?: boolean;
      /** It said yes, and the next look showed nothing new: it is asked again after a pause. */
      readonly idle?: boolean;
      /** How often a header that lies was to be healed. */
      readonly heals?: number;
      /** Left out while no freeze of the guest's file systems was asked for. */
      readonly freeze?: Freeze;
    }
  | (End & {
      /** What the switch made of the chain, if it may have to be undone. */
      readonly made?: Made;
      /** While the outcome is unknown: the overlay as it was checked, and what it may have made. */
      readonly inode?: string;
      readonly maybe?: Made;
    })
);

type At<A extends CreateSaga['at']> = Extract<CreateSaga, { at: A }>;
type Step = Next<CreateSaga>;

export function nextCreate(saga: CreateSaga, event: Event): Step {
  switch (saga.at) {
    case 'waiting':
    case 'accepted':
      if (event.kind === 'blind') return go(saga, WATCH, noted(event.fault));
      if (event.kind !== 'saw') return go(saga, look(saga));
      return decide(saga, event.sight, false);
    case 'mending':
      if (event.kind === 'failed') return fail(saga, explainFault(event.fault));
      if (event.kind === 'blind') return go(saga, WATCH, noted(event.fault));
      // Mending twice is mending once; after a restart nobody knows whether it was done.
      if (event.kind === 'woke') return go(saga, mendWith(saga.request, saga.plan));
      if (event.kind !== 'saw') return go(saga, look(saga));
      return decide(saga, event.sight, true);
    case 'switching':
      if (saga.freeze?.at === 'thawing') return thawed(saga, saga.freeze, event);
      if (event.kind === 'failed') return heed(saga, event.fault);
      if (event.kind === 'woke' && saga.asking) return answered({ ...saga, pending: true });
      if (event.kind === 'did') return answered({ ...saga, idle: true });
      if (event.kind === 'blind') return go(saga, WATCH, noted(event.fault));
      if (event.kind !== 'saw') return go(saga, look(saga));
      return judge(saga, event.sight);
    case 'confirming':
      if (event.kind === 'blind') return go(saga, WATCH, noted(event.fault));
      if (event.kind !== 'saw') return go(saga, look(saga));
      return confirm(saga, event.sight);
    case 'end':
      return end(saga, null);
  }
}

/** The last look before the point of no return. */
function decide(saga: At<'waiting' | 'accepted' | 'mending'>, sight: Sight, mended: boolean): Step {
  if (sight.cinder === null) return go(saga, look(saga));
  const status = sight.cinder.snapshot?.status ?? 'gone';
  if (status !== 'creating') return withdraw(saga, `the snapshot is ${status} in Cinder`);
  if (sight.late) return fail(saga, 'Cinder stopped waiting before the overlay was switched to');
  const plan = planCreate(saga.request, sight, saga.limits);
  if (!plan.ok) return refuse(saga, plan.error);
  const { mend, target, before } = plan.value;
  const view = sight.guest as DiskView;
  const { kind, request, limits } = saga;
  if (mend !== null) {
    if (mended) return fail(saga, 'the overlay still names another format after it was mended');
    return go(
      { kind, request, limits, at: 'mending', plan: plan.value },
      mendWith(request, plan.value),
      { kind: 'decided', detail: `mend ${request.newFile}: ${mend.backing} is ${mend.format}` },
    );
  }
  const quiesce = freezes(limits.quiesce, view);
  return go(
    {
      ...{ kind, request, limits, at: 'switching', plan: plan.value, ...FIRST_TRY },
      ...(quiesce && { freeze: ASKED }),
    },
    switchTo(request, plan.value, quiesce),
    ...(mended ? [{ kind: 'mended', detail: request.newFile } as const] : []),
    { kind: 'decided', detail: `switch ${target} from ${before.file} to ${request.newFile}` },
    ...untried(limits.quiesce, view),
  );
}

const FIRST_TRY = { refused: null, pending: false, asking: true } as const;

/** The hypervisor refused or broke off; an error does not mean that nothing happened. */
function heed(saga: At<'switching'>, said: Fault): Step {
  const refused = said.kind === 'rejected' ? said : null;
  const pending = saga.pending || said.kind === 'unknown';
  return answered({ ...saga, refused, pending }, said);
}

/** The hypervisor is no longer asking for us; whoever may be frozen is thawed before all else. */
function answered(saga: At<'switching'>, said: Fault | null = null): Step {
  const evidence = said ? [noted(said)] : [];
  const begun = saga.begun || said === null || said.kind === 'unknown';
  const { freeze, ...rest } = { ...saga, asking: false, ...(begun && { begun }) };
  if (freeze?.at !== 'asked')
    return go({ ...rest, ...(freeze && { freeze }) }, look(saga), ...evidence);
  if (said !== null && !mayBeFrozen(said)) {
    return go({ ...rest, freeze: OVER }, look(saga), ...evidence);
  }
  return go({ ...rest, freeze: THAWING }, thawOf(saga.plan), ...evidence);
}

function thawed(saga: At<'switching'>, thawing: Thawing, event: Event): Step {
  const { freeze, next, evidence } = thaw(thawing, event);
  const effect = { thaw: thawOf(saga.plan), wait: WATCH, look: look(saga) }[next];
  return go(freeze === thawing ? saga : { ...saga, freeze }, effect, ...evidence);
}

function judge(saga: At<'switching'>, sight: Sight): Step {
  if (sight.cinder === null) return go(saga, look(saga));
  const view = sight.guest;
  const { plan, request } = saga;
  const status = sight.cinder.snapshot?.status ?? 'gone';
  if (view.kind === 'absent' && !isGone(view.why)) return park(saga, explain(view.why));
  if (status !== 'creating' && view.kind === 'absent' && saga.refused !== null && !saga.pending) {
    return withdraw(saga, `the snapshot is ${status} in Cinder`);
  }
  const said = `${request.newFile} is in use, and the snapshot is ${status} in Cinder`;
  if (status !== 'creating') {
    if (view.kind === 'absent') return park(saga, said);
    // What Cinder gives up is undone in a story of its own, for as long as it takes.
    if (agrees(view.chain, plan.after)) {
      const made = undoable(saga);
      return made ? end(ended(saga, 'withdrawn', said, [], made), null) : park(saga, said);
    }
  }
  if (view.kind === 'absent') {
    // Whether or not the switch came first: the overlay, proven to stand on the file that was
    // active, reads as the guest left its disk in both cases. Without it, writes could be lost.
    return created(saga, null, { kind: 'switched', detail: 'the guest is gone; overlay is whole' });
  }
  if (shows(view, plan.after, plan.process)) return verify(saga, view, sight);
  if (shows(view, plan.before, plan.process)) return unswitched(saga, view, sight);
  if (find(view.chain, request.newFile) === null) {
    if (saga.pending) return park(saga, 'an attempt that never answered may still come through');
    return fail(saga, `the chain became another one: ${view.chain.file} is active`);
  }
  return park(saga, `${request.newFile} is in a chain that was not predicted`);
}

/** The overlay is active. Its header is read once more: nobody swapped it meanwhile. */
function verify(saga: At<'switching'>, view: DiskView, sight: Sight): Step {
  const { plan, request } = saga;
  const header = sight.headers[request.newFile];
  if (header === undefined) return park(saga, 'its header was not read');
  const lies = liesIn(header, plan);
  if (lies.length > 0) return view.unasked ? go(saga, lookAll(saga)) : heal(saga, lies, view);
  if (!isSame(plan, header.ok ? header.value : {})) return park(saga, 'another file has its name');
  return created(
    saga,
    view,
    { kind: 'switched', detail: `${view.target} is on ${view.chain.file}` },
    ...(saga.heals === undefined ? [] : [{ kind: 'mended', detail: request.newFile } as const]),
    ...quiesced(saga.freeze, saga.pending),
  );
}

/** The old file is still active: refused for good, or to be asked again. */
function unswitched(saga: At<'switching'>, view: DiskView, sight: Sight): Step {
  const { request, refused, pending } = saga;
  const status = sight.cinder?.snapshot?.status ?? 'gone';
  if (view.job !== null && status === 'creating' && !sight.late) return go(saga, WATCH);
  if (status !== 'creating' && !pending)
    return withdraw(saga, `the snapshot is ${status} in Cinder`);
  const giveUp = (why: string): Step =>
    pending
      ? park(saga, `an attempt that never answered may still come through (${why})`)
      : fail(saga, why);
  const { quiesce: mode } = saga.limits;
  const without = fallsBack(mode, saga.freeze, refused, pending);
  if (refused !== null && !isBusy(refused) && !without) return giveUp(explainFault(refused));
  if (sight.late) return giveUp('Cinder stopped waiting before the overlay was switched to');
  const plan = planCreate(request, sight, saga.limits);
  // An encrypted volume's guest is asked once it runs again: its QEMU died in the first attempt.
  if (!plan.ok && pending && plan.error.kind === 'encrypted-and-off') return go(saga, WATCH);
  if (!plan.ok) return giveUp(explain(plan.error));
  if (status !== 'creating') return giveUp(status);
  // No image lock keeps a QEMU from opening a remote overlay twice: it is waited for.
  if (pending && view.source.kind === 'remote') return go(saga, WATCH);
  if (plan.value.mend !== null) return giveUp('the overlay names another format than before');
  // It was switched to, and is out of use again: what was written to it would come back.
  if (saga.begun && !isSame(saga.plan, plan.value)) return giveUp('another file has its name');
  if (saga.begun && plan.value.bytes !== saga.plan.bytes) return giveUp('it was written to');
  // Else it is safe: no QEMU opens the same overlay a second time (write lock, measured).
  const again = { ...saga, plan: plan.value, asking: true, ...(pending && { twice: true }) };
  if (without) {
    const why = refused === null ? 'the attempt never answered' : explainFault(refused);
    const last = { ...again, refused: null, idle: false, freeze: DROPPED };
    return go(last, switchTo(request, plan.value, false), unquiesced(why));
  }
  if (refused !== null || saga.idle) return go({ ...saga, refused: null, idle: false }, WATCH);
  const quiesce = freezes(mode, view, saga.freeze);
  return go(
    { ...again, ...(quiesce && { freeze: ASKED }) },
    switchTo(request, plan.value, quiesce),
  );
}

function confirm(saga: At<'confirming'>, sight: Sight): Step {
  const view = sight.guest;
  const { request } = saga;
  if (view.kind === 'absent' && !isGone(view.why)) return park(saga, explain(view.why));
  if (sight.cinder === null) return go(saga, look(saga));
  const status = sight.cinder.snapshot?.status ?? 'gone';
  if (status !== 'creating') return withdraw(saga, `the snapshot is ${status} in Cinder`);
  const layer = view.kind === 'absent' ? null : find(view.chain, request.newFile);
  if (view.kind === 'disk' && layer === null) {
    return fail(saga, `${request.newFile} is no longer in the chain`);
  }
  // Of a guest that is gone the journal is the witness: the overlay was made as qcow2.
  const format = layer?.format ?? null;
  const provenance = format === null ? 'assumed' : 'reported';
  const formats = [{ file: request.newFile, format: format ?? QCOW2, provenance } as const];
  const last = ended(saga, 'created', 'it was already the active layer', formats, saga.made);
  const detail = `${request.newFile} ${layer === null ? 'was' : 'is'} in use`;
  return end(last, { kind: 'created', formats }, { kind: 'already', detail });
}

/** Not where an attempt may still come: it would put the overlay on top again, as it was then. */
const undoable = ({ twice, plan }: At<'switching'>): CreatePlan | undefined =>
  twice ? undefined : plan;

function created(saga: At<'switching'>, view: DiskView | null, ...evidence: Evidence[]): Step {
  const { request, plan } = saga;
  const formats = formatsOf(
    [request.newFile],
    view?.chain ?? { ...plan.after, format: null },
    plan.after,
  );
  const reason = `${request.newFile} is the active layer`;
  const last = ended(saga, 'created', reason, formats, undoable(saga));
  return end(last, { kind: 'created', formats }, ...evidence);
}
