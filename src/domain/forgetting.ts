import type { Saga } from './saga.ts';

/**
 * Whether nothing rests on an operation any more, once Cinder has heard of its end: not one whose
 * outcome a person has yet to find out, and not a merge that was never proven, which binds every
 * later request to its arguments and whose file is the only safe copy (diagnosis-past.ts).
 */
export function isForgettable(saga: Saga): boolean {
  if (saga.at !== 'end' || saga.outcome === 'unknown') return false;
  return saga.kind !== 'delete' || saga.outcome !== 'failed' || saga.gone === null;
}
