import type { OperationId, SnapshotId, VolumeId } from './ids.ts';

/** An operator asks too late, or too early, for what may be done to an operation. */
export type OperatorRefusal =
  | { readonly kind: 'has-begun'; readonly at: string }
  | { readonly kind: 'has-ended'; readonly outcome: string }
  | { readonly kind: 'not-ended'; readonly at: string }
  | { readonly kind: 'at-work'; readonly volume: VolumeId }
  | { readonly kind: 'unknown-snapshot'; readonly snapshot: SnapshotId }
  | { readonly kind: 'waits'; readonly operation: OperationId; readonly what: string }
  | { readonly kind: 'contradicted'; readonly as: string; readonly seen: string };

/** One sentence: what was seen, and what to do about it. */
export function explainToOperator(refusal: OperatorRefusal): string {
  switch (refusal.kind) {
    case 'has-begun':
      return (
        `The operation is ${refusal.at}, so the chain may be changed by it already: look at ` +
        "'chainkeeper ops show' until it has ended."
      );
    case 'has-ended':
      return (
        `The operation has ended (${refusal.outcome}): 'chainkeeper ops abort' is for one that ` +
        "has not begun, and 'chainkeeper ops settle' for one that has ended as unknown."
      );
    case 'not-ended':
      return (
        `The operation is ${refusal.at}: it can be settled only once it has ended with an ` +
        'unknown outcome.'
      );
    case 'at-work':
      return (
        `Another operation is at work on volume ${refusal.volume}: look at 'chainkeeper ops list ` +
        "--state open' until it has ended, and settle this one then."
      );
    case 'unknown-snapshot':
      return (
        `Cinder knows no snapshot ${refusal.snapshot}, so that a request would be answered and ` +
        'nothing done: check the id.'
      );
    case 'waits':
      return (
        `Operation ${refusal.operation} (${refusal.what}) is at work on this volume: a request ` +
        'would wait for it and be decided then, so ask again when it has ended.'
      );
    case 'contradicted':
      return (
        `It cannot be settled as ${refusal.as} (${refusal.seen}): see 'chainkeeper chain show' ` +
        'and what it says to do.'
      );
  }
}
