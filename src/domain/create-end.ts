import type { CreateSaga } from './create-saga.ts';
import { explain, type Refusal } from './failure.ts';
import { type End, type Evidence, end, type Next } from './saga.ts';
import type { Made } from './undo-saga.ts';

/** The ways in which a create ends. */
type Step = Next<CreateSaga>;

export const refuse = (saga: CreateSaga, why: Refusal): Step =>
  fail(saga, explain(why), { kind: 'refused', detail: why.kind });

export const fail = (saga: CreateSaga, reason: string, ...evidence: Evidence[]): Step =>
  end(ended(saga, 'failed', reason), { kind: 'create-failed' }, ...evidence);

/** Nothing was done and Cinder no longer wants it: it has nothing to hear. */
export const withdraw = (saga: CreateSaga, reason: string): Step =>
  end(ended(saga, 'withdrawn', reason), null);

export function park(saga: CreateSaga, reason: string): Step {
  const last = ended(saga, 'unknown', reason);
  if (saga.at !== 'switching') return end(last, null);
  const { inode } = saga.plan;
  return end({ ...last, maybe: madeBy(saga.plan), ...(inode !== undefined && { inode }) }, null);
}

export function ended(
  saga: CreateSaga,
  outcome: End['outcome'],
  reason: string,
  formats: End['formats'] = [],
  made?: Made,
): Extract<CreateSaga, { at: 'end' }> {
  const { kind, request } = saga;
  const end = { kind, request, at: 'end', outcome, reason, formats } as const;
  return made === undefined ? end : { ...end, made: madeBy(made) };
}

const madeBy = ({ before, after, directory }: Made): Made => ({
  ...{ before, after },
  ...(directory !== undefined && { directory }),
});
