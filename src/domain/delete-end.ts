import type { FileFormat } from './chain.ts';
import type { DeleteSaga } from './delete-saga.ts';
import type { Refusal } from './failure.ts';
import type { FileName } from './ids.ts';
import type { DeletePlan } from './plan-delete.ts';
import { type End, type Evidence, end, type Next } from './saga.ts';

/** The ways in which a delete ends without a merge, and the words for what it was about. */
type Step = Next<DeleteSaga>;

export const refusal = (why: Refusal): Evidence => ({ kind: 'refused', detail: why.kind });

export const fail = (saga: DeleteSaga, reason: string, ...evidence: Evidence[]): Step =>
  end(ended(saga, 'failed', reason), { kind: 'delete-failed' }, ...evidence);

/** Nothing was done and Cinder no longer wants it: it has nothing to hear. */
export const withdraw = (saga: DeleteSaga, reason: string): Step =>
  end(ended(saga, 'withdrawn', reason), null);

export const park = (saga: DeleteSaga, reason: string): Step =>
  end(ended(saga, 'unknown', reason), null);

export function ended(
  saga: DeleteSaga,
  outcome: End['outcome'],
  reason: string,
  formats: readonly FileFormat[] = [],
  gone: FileName | null = null,
): DeleteSaga {
  return { kind: 'delete', request: saga.request, at: 'end', outcome, reason, formats, gone };
}

/** The file that a merge leaves behind for Cinder to remove. */
export function leftover(plan: Pick<DeletePlan, 'merge' | 'before'>): FileName {
  return plan.merge.kind === 'commit' ? plan.merge.top : (plan.before.on?.file ?? plan.before.file);
}

export function describe(plan: Pick<DeletePlan, 'merge' | 'before'>): string {
  const { merge, before } = plan;
  if (merge.kind === 'commit') return `commit ${merge.top} into ${merge.into}`;
  return `pull ${leftover(plan)} into ${before.file}`;
}
