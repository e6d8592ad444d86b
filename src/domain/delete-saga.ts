import { agrees, changedBy, type FileFormat, filesOf, find, formatsOf, means } from './chain.ts';
import { barrier } from './delete-effects.ts';
import {
  confirm,
  describe,
  ended,
  fail,
  gaveUp,
  heard,
  leftover,
  park,
  refusal,
  withdraw,
} from './delete-end.ts';
import { explain, explainFault, type Fault } from './failure.ts';
import type { FileName } from './ids.ts';
import { mergeOffline, nextOffline, type OfflineState } from './offline-merge.ts';
import { type DeletePlan, type DeleteRequest, type LivePlan, planDelete } from './plan-delete.ts';
import { headerOf, nextRestoring, RESTARTED, restoring } from './restoring.ts';
import {
  type Effect,
  type End,
  type Event,
  type Evidence,
  end,
  go,
  isBusy,
  lookAt,
  lookWithCinder,
  type Next,
  noted,
  WATCH,
  WATCH_SOON,
} from './saga.ts';
import { type DiskView, isGone, type Job, type Sight } from './sight.ts';

/**
 * The story of a delete. `waiting`: another operation of ours has the volume. `accepted`: decided,
 * nothing done. `merging`: the hypervisor may have been asked. `flushing`: it is complete, and
 * QEMU must still have its tables on disk. `restoring`: QEMU died under the merge, and the header
 * that it rewrote is set back. `offline`: no QEMU has the disk, and qemu-img merges. `confirming`:
 * a repeated request for a merge that our journal says is done.
 */
export type DeleteSaga = { readonly kind: 'delete'; readonly request: DeleteRequest } & (
  | { readonly at: 'waiting' }
  | { readonly at: 'accepted' }
  | {
      readonly at: 'merging';
      readonly plan: LivePlan;
      /** How often the merge was asked for. */
      readonly tries: number;
      /** What the block job's last event said, or the refusal to start it. */
      readonly heard: 'nothing' | 'completed' | 'failed' | 'canceled' | Fault;
      /** How often the header has disagreed with a chain that looks finished. */
      readonly doubts: number;
      /** Whether an attempt that never answered may still come through. */
      readonly unsure?: boolean;
      /** Whether the hypervisor was asked and has not answered this process. */
      readonly asking?: boolean;
    }
  | { readonly at: 'flushing'; readonly plan: LivePlan; readonly formats: readonly FileFormat[] }
  | {
      readonly at: 'restoring';
      readonly plan: LivePlan;
      /** What became of the guest. */
      readonly why: string;
      /** Whether the guest's XML no longer overrides the headers. */
      readonly unchained: boolean;
      readonly tries: number;
    }
  | OfflineState
  | { readonly at: 'confirming'; readonly gone: FileName; readonly formats: readonly FileFormat[] }
  | (End & {
      /**
       * The file that was merged away, which a repeated request must find gone; of an attempt
       * whose QEMU died, the file that may have been.
       */
      readonly gone: FileName | null;
      /** Of an outcome that is unknown: what was under way. */
      readonly plan?: DeletePlan;
      /** QEMU died under it, and nobody has seen since that the chain is whole. */
      readonly unseen?: true;
      /** An attempt never answered, and may still come through. */
      readonly unsure?: true;
    })
);

type At<A extends DeleteSaga['at']> = Extract<DeleteSaga, { at: A }>;
type Step = Next<DeleteSaga>;

const MAX_TRIES = 3;
const MAX_DOUBTS = 30;

export function nextDelete(saga: DeleteSaga, event: Event): Step {
  switch (saga.at) {
    case 'waiting':
    case 'accepted':
      if (event.kind === 'blind') return go(saga, WATCH, noted(event.fault));
      if (event.kind !== 'saw') return go(saga, lookFirst(saga));
      return decide(saga, event.sight);
    case 'merging':
      switch (event.kind) {
        case 'blind':
          return go(saga, WATCH, noted(event.fault));
        case 'did':
          return go({ ...saga, asking: false }, WATCH, {
            kind: 'started',
            detail: describe(saga.plan),
          });
        case 'failed':
          return go(
            {
              ...saga,
              asking: false,
              heard: event.fault,
              unsure: saga.unsure || event.fault.kind === 'unknown',
            },
            look(saga),
            noted(event.fault),
          );
        case 'ended':
          // After a refusal it is the end of somebody else's job.
          if (typeof saga.heard !== 'string' && saga.heard.kind === 'rejected')
            return go(saga, look(saga));
          return go({ ...saga, heard: event.how }, look(saga), heard(event.how));
        case 'woke':
          // The process that asked is gone; what it asked may be waiting inside libvirt yet.
          if (saga.asking) return go({ ...saga, asking: false, unsure: true }, look(saga));
          return go(saga, look(saga));
        case 'saw':
          return judge(saga, event.sight);
      }
      break;
    case 'flushing':
      if (event.kind === 'did') return merged(saga, { kind: 'flushed', detail: 'tables on disk' });
      if (event.kind === 'failed' || event.kind === 'blind')
        return go(saga, WATCH, noted(event.fault));
      if (event.kind !== 'saw') return go(saga, look(saga));
      return flush(saga, event.sight);
    case 'restoring':
      return nextRestoring(saga, event);
    case 'offline':
      return nextOffline(saga, event);
    case 'confirming':
      if (event.kind === 'blind') return go(saga, WATCH, noted(event.fault));
      if (event.kind !== 'saw') return go(saga, lookAt());
      return confirm(saga, event.sight);
    case 'end':
      return end(saga, null);
  }
}

/** The files named, the overlays that stand on them, the active one: all that a plan needs. */
const lookFirst = (saga: DeleteSaga): Effect =>
  saga.request.fileToMerge === null ? lookWithCinder() : lookWithCinder(saga.request.fileToMerge);

const look = (saga: At<'merging' | 'flushing'>): Effect => lookAt(saga.plan.repointed);

/** The last look before the point of no return. */
function decide(saga: At<'waiting' | 'accepted'>, sight: Sight): Step {
  if (sight.cinder === null) return go(saga, lookFirst(saga));
  const status = sight.cinder.snapshot?.status ?? 'gone';
  if (status !== 'deleting') return withdraw(saga, `the snapshot is ${status} in Cinder`);
  const plan = planDelete(saga.request, sight);
  if (!plan.ok) return fail(saga, explain(plan.error), refusal(plan.error));
  return start(saga, plan.value, { tries: 1 });
}

function start(
  saga: DeleteSaga,
  plan: DeletePlan,
  so: Pick<At<'merging'>, 'tries' | 'unsure'>,
): Step {
  if (plan.process === null) return mergeOffline(saga, plan);
  const { target, process, merge, before } = plan;
  const { kind, request } = saga;
  return go(
    { kind, request, at: 'merging', plan, ...so, heard: 'nothing', doubts: 0, asking: true },
    { do: 'merge', target, process, merge, chain: filesOf(before) },
    { kind: 'decided', detail: describe(plan) },
  );
}

/**
 * "No job" is what libvirt says after success, failure and cancel alike, so the merge is done when
 * the live chain and the header page are the predicted ones in the same QEMU process that began
 * it, and only then. A process that died before its tables were on disk may have lost clusters
 * under a header that looks finished: that is never reported as done.
 */
function judge(saga: At<'merging'>, sight: Sight): Step {
  const view = sight.guest;
  if (view.kind === 'absent' && !isGone(view.why)) return park(saga, explain(view.why));
  if (view.kind === 'absent') return restoring(saga, sight, explain(view.why));
  if (view.process !== saga.plan.process) return died(saga, view, sight);
  if (view.job !== null) {
    // libvirt tells of the end a moment before it forgets the job.
    if (saga.heard === 'completed') return go(saga, WATCH_SOON);
    return { ...go(saga, WATCH), progress: ours(saga, view.job) ? percent(view.job) : null };
  }
  if (agrees(view.chain, saga.plan.after)) return finished(saga, view, sight);
  if (agrees(view.chain, saga.plan.before)) return unmerged(saga, sight);
  return park(saga, `the chain became one that was not predicted: ${view.chain.file} is active`);
}

function finished(saga: At<'merging'>, view: DiskView, sight: Sight): Step {
  const { kind, request, plan } = saga;
  const header = sight.headers[plan.repointed];
  const onto = find(plan.after, plan.repointed)?.on ?? null;
  const said = header?.ok ? header.value : null;
  if (
    said === null ||
    said.backingFile !== (onto?.file ?? null) ||
    (onto !== null && !means(said.backingFormat, onto.format))
  ) {
    if (saga.doubts >= MAX_DOUBTS) {
      return park(saga, `the header of ${plan.repointed} still disagrees with the live chain`);
    }
    return go({ ...saga, doubts: saga.doubts + 1 }, WATCH_SOON);
  }
  const formats = formatsOf(changedBy(plan.before, plan.merge), view.chain, plan.after);
  const next = { kind, request, at: 'flushing', plan, formats } as const;
  const evidence = { kind: 'completed', detail: `${plan.target} has the predicted chain` } as const;
  return go(next, barrier(plan), evidence);
}

/** The chain is as it was: refused, failed, cancelled, or never started. */
function unmerged(saga: At<'merging'>, sight: Sight): Step {
  const { heard: said } = saga;
  if (said === 'failed') return gaveUp(saga, 'the block job failed (disk full, or an I/O error)');
  if (said === 'canceled') return gaveUp(saga, 'the block job was cancelled');
  // The header is rewritten before the XML is, and says so when no event was heard.
  const going = said === 'nothing' || saga.unsure === true;
  if (said === 'completed' || (going && headerOf(saga.plan, sight).of === 'after')) {
    // On some versions the end outruns the XML (bz 1202719): look again, not for ever.
    if (saga.doubts >= MAX_DOUBTS)
      return park(saga, 'the job completed but the chain is unchanged');
    return go({ ...saga, doubts: saga.doubts + 1 }, WATCH_SOON);
  }
  if (said !== 'nothing' && isBusy(said))
    return go({ ...saga, heard: 'nothing', tries: saga.tries - 1 }, WATCH);
  if (said !== 'nothing' && said.kind === 'rejected') return gaveUp(saga, explainFault(said));
  if (saga.tries >= MAX_TRIES && saga.unsure)
    return park(saga, 'a merge that never answered may still come');
  if (saga.tries >= MAX_TRIES) return fail(saga, 'the merge vanished again and again');
  // Merging twice is safe (measured), but only if Cinder still wants it.
  if (sight.cinder === null) return go(saga, lookFirst(saga));
  const status = sight.cinder.snapshot?.status ?? 'gone';
  if (status !== 'deleting')
    return saga.unsure
      ? park(saga, 'a merge that never answered may still come')
      : withdraw(saga, `the snapshot is ${status} in Cinder`);
  const plan = planDelete(saga.request, sight);
  if (!plan.ok && saga.unsure) {
    // An attempt may just be coming through: nothing of it is called failed yet.
    if (saga.doubts >= MAX_DOUBTS) return park(saga, explain(plan.error));
    return go({ ...saga, doubts: saga.doubts + 1 }, WATCH_SOON);
  }
  if (!plan.ok) return fail(saga, explain(plan.error), refusal(plan.error));
  return start(saga, plan.value, { tries: saga.tries + 1, ...(saga.unsure && { unsure: true }) });
}

function flush(saga: At<'flushing'>, sight: Sight): Step {
  const view = sight.guest;
  const { plan } = saga;
  if (view.kind === 'absent') return restoring(saga, sight, explain(view.why));
  if (view.process !== plan.process) return died(saga, view, sight);
  if (!agrees(view.chain, plan.after)) return park(saga, 'the chain changed before it was flushed');
  return go(saga, barrier(plan));
}

/**
 * The QEMU process that did the work is gone before the merge was proven durable. Where another
 * one has the chain as it was, it is asked for the merge; else what is left is made whole.
 */
function died(saga: At<'merging' | 'flushing'>, view: DiskView, sight: Sight): Step {
  const { plan, kind, request } = saga;
  if (view.process === null) return restoring(saga, sight, 'the guest is shut off');
  const whole = agrees(view.chain, plan.before) && headerOf(plan, sight).of === 'before';
  if (!whole) return restoring(saga, sight, RESTARTED);
  if (view.job !== null) return go(saga, WATCH);
  const { tries, unsure = false } = saga.at === 'merging' ? saga : { tries: 1 };
  const again = { kind, request, at: 'merging', plan, tries, doubts: 0 } as const;
  return unmerged({ ...again, heard: 'nothing', ...(unsure && { unsure }) }, sight);
}

function merged(saga: At<'flushing'>, evidence: Evidence): Step {
  const { formats, plan } = saga;
  const last = ended(saga, 'merged', `${describe(plan)} is done`, formats, leftover(plan));
  return end(last, { kind: 'deleted', formats }, evidence);
}

const ours = (saga: At<'merging'>, job: Job): boolean => job.kind === saga.plan.merge.kind;

const percent = (job: Job): number => (job.total === 0 ? 0 : (100 * job.done) / job.total);
