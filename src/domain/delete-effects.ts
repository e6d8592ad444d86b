import { find } from './chain.ts';
import type { LivePlan } from './plan-delete.ts';
import type { Effect } from './saga.ts';

/**
 * What a merge has written is put on disk: a pull's tables are in QEMU's memory until somebody
 * flushes them. A commit's base is reopened read-only when it ends, which flushes it, unless it was
 * open for writing before, as QEMU 7.2 leaves it when an active commit into it is cancelled.
 */
export function barrier({ merge, target, process, after }: LivePlan): Effect {
  const flush = { do: 'flush', target, process } as const;
  const base = merge.kind === 'commit' ? find(after, merge.into) : null;
  if (base === null) return flush;
  return { ...flush, into: { file: base.file, format: base.format } };
}
