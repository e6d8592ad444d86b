import { type FileFormat, find } from './chain.ts';
import type { DeleteSaga } from './delete-saga.ts';
import type { Refusal } from './failure.ts';
import type { FileName } from './ids.ts';
import type { DeletePlan } from './plan-delete.ts';
import { type End, type Evidence, end, type Next, type Saga } from './saga.ts';
import type { Sight } from './sight.ts';

/** The ways in which a delete ends without a merge, and the words for what it was about. */
type Step = Next<DeleteSaga>;
type DeleteEnd = Extract<DeleteSaga, { at: 'end' }>;

export const refusal = (why: Refusal): Evidence => ({ kind: 'refused', detail: why.kind });

export const heard = (how: string): Evidence => ({
  kind: 'started',
  detail: `the block job ${how}`,
});

export const fail = (saga: DeleteSaga, reason: string, ...evidence: Evidence[]): Step =>
  end(ended(saga, 'failed', reason), { kind: 'delete-failed' }, ...evidence);

/**
 * The merge came to nothing. While an attempt that never answered may still come through, the file
 * may yet be merged away: a retry is bound to the same arguments.
 */
export function gaveUp(saga: Extract<DeleteSaga, { at: 'merging' }>, reason: string): Step {
  if (!saga.unsure) return fail(saga, reason);
  const last = ended(saga, 'failed', reason, [], leftover(saga.plan));
  return end({ ...last, unsure: true }, { kind: 'delete-failed' });
}

/** Nothing was done and Cinder no longer wants it: it has nothing to hear. */
export const withdraw = (saga: DeleteSaga, reason: string): Step =>
  end(ended(saga, 'withdrawn', reason), null);

export const park = (saga: DeleteSaga, reason: string): Step => end(parked(saga, reason), null);

/** What was planned is kept for whoever finds out how it ended. */
export function parked(saga: DeleteSaga, reason: string): DeleteEnd {
  const last = ended(saga, 'unknown', reason);
  switch (saga.at) {
    case 'merging':
    case 'flushing':
    case 'restoring':
    case 'offline':
      return { ...last, plan: saga.plan };
    case 'confirming':
      return { ...last, gone: saga.gone, formats: saga.formats };
    case 'waiting':
    case 'accepted':
    case 'end':
      return last;
  }
}

export function confirm(saga: Extract<DeleteSaga, { at: 'confirming' }>, sight: Sight): Step {
  const view = sight.guest;
  if (view.kind === 'disk' && find(view.chain, saga.gone) !== null) {
    return fail(saga, `${saga.gone} is in the chain again`);
  }
  const { formats } = saga;
  return end(
    ended(saga, 'merged', 'it was merged before', formats, saga.gone),
    { kind: 'deleted', formats },
    {
      kind: 'already',
      detail: `${saga.gone} is no longer in the chain`,
    },
  );
}

export function ended(
  saga: DeleteSaga,
  outcome: End['outcome'],
  reason: string,
  formats: readonly FileFormat[] = [],
  gone: FileName | null = null,
): DeleteEnd {
  return { kind: 'delete', request: saga.request, at: 'end', outcome, reason, formats, gone };
}

/** The file that a delete has, or may have, merged away; null of whatever else. */
export const goneOf = (saga: Saga): FileName | null => ('gone' in saga ? saga.gone : null);

/** The file that a merge leaves behind for Cinder to remove. */
export function leftover(plan: Pick<DeletePlan, 'merge' | 'before'>): FileName {
  return plan.merge.kind === 'commit' ? plan.merge.top : (plan.before.on?.file ?? plan.before.file);
}

export function describe(plan: Pick<DeletePlan, 'merge' | 'before'>): string {
  const { merge, before } = plan;
  if (merge.kind === 'commit') return `commit ${merge.top} into ${merge.into}`;
  return `pull ${leftover(plan)} into ${before.file}`;
}
