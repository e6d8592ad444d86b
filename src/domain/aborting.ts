import type { Refusal } from './failure.ts';
import { err, ok, type Result } from './result.ts';
import { type Evidence, end, type Next, type Saga } from './saga.ts';

/**
 * An operator wants an operation to come to nothing. Only while the chain is provably as it was:
 * the hypervisor is asked for a change in no state but those that are journalled before it is, and
 * a mend changes a field of an overlay that is in no chain yet.
 */
export function aborting(saga: Saga): Result<Next<Saga>, Refusal> {
  switch (saga.at) {
    case 'waiting':
    case 'accepted':
    case 'mending':
      return ok(aborted(saga));
    case 'switching':
    case 'merging':
    case 'flushing':
    case 'restoring':
    case 'offline':
    case 'committing':
    case 'pivoting':
    case 'canceling':
    // Somebody waits to hear once more of what is done already.
    case 'confirming':
      return err({ kind: 'has-begun', at: saga.at });
    case 'end':
      return err({ kind: 'has-ended', outcome: saga.outcome });
  }
}

function aborted(saga: Saga): Next<Saga> {
  const last = { at: 'end', outcome: 'failed', reason: REASON, formats: [] } as const;
  const evidence: Evidence = { kind: 'aborted', detail: `by an operator, while it was ${saga.at}` };
  const { kind } = saga;
  switch (kind) {
    case 'create':
      return end({ kind, request: saga.request, ...last }, { kind: 'create-failed' }, evidence);
    case 'delete': {
      const ended = { kind, request: saga.request, ...last, gone: null };
      return end(ended, { kind: 'delete-failed' }, evidence);
    }
    case 'undo':
      return end({ kind, request: saga.request, made: saga.made, ...last }, null, evidence);
  }
}

const REASON = 'an operator aborted it before anything was changed';
