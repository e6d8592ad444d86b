import type { OperationId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { Verdict } from '#domain/settling.ts';
import type { Trouble } from './assisted-snapshots.ts';
import type { Operation } from './journal.ts';

/** What an operator may do to an operation. Null: there is none of that id. */
export interface Operate {
  /** Puts an end to one that has not begun: it fails, and Cinder hears so. */
  abort(id: OperationId): Promise<Result<Operation, Trouble> | null>;
  /**
   * Says what became of one whose outcome is unknown. What was seen may not contradict it, and
   * Cinder hears of it. A pull that is done is flushed first: it is then open once more.
   */
  settle(id: OperationId, as: Verdict): Promise<Result<Operation, Trouble> | null>;
  /** Waits for its end, so long at most; not at all for one that is not there. */
  ended(id: OperationId, withinMs: number): Promise<void>;
}
