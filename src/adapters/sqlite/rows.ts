import type { OperationId, SnapshotId } from '#domain/ids.ts';
import type { KnownChain } from '#domain/known-chain.ts';
import type { Notice, Operation } from '#ports/journal.ts';

export function operationOf(row: Record<string, unknown>): Operation {
  return {
    id: row.id as OperationId,
    saga: JSON.parse(String(row.saga)),
    accepted: row.accepted === 1,
    requestId: String(row.request_id),
    globalRequestId: row.global_request_id as string | null,
    askedAt: Number(row.asked_at),
    updatedAt: Number(row.updated_at),
    ...(row.trace !== null && { trace: JSON.parse(String(row.trace)) }),
  };
}

export function noticeOf(row: Record<string, unknown>): Notice {
  return {
    seq: Number(row.seq),
    operation: row.operation as OperationId,
    snapshot: row.snapshot as SnapshotId,
    update: JSON.parse(String(row.body)),
    state: row.state as Notice['state'],
    ...(row.took_ms !== null && { tookMs: Number(row.took_ms) }),
  };
}

export const chainOf = (row: Record<string, unknown>): KnownChain => ({
  directory: String(row.directory),
  files: JSON.parse(String(row.files)),
  held: row.held as KnownChain['held'],
  process: row.process as string | null,
  ...(row.doubts !== null && { doubts: JSON.parse(String(row.doubts)) }),
});

/**
 * What may be forgotten, but for what the saga itself says. The newest of a volume stays, and
 * whoever has the last number of a table: SQLite would give it out again.
 */
export const FORGETTABLE = `
  SELECT id, saga FROM operation AS one
  WHERE at = 'end' AND accepted = 1 AND updated_at < ?
    AND NOT EXISTS (SELECT 1 FROM notice WHERE operation = one.id AND state = 'pending')
    AND EXISTS (SELECT 1 FROM operation
      WHERE volume = one.volume AND seq > one.seq AND accepted = 1)
    AND id IS NOT (SELECT operation FROM evidence ORDER BY seq DESC LIMIT 1)
    AND id IS NOT (SELECT operation FROM notice ORDER BY seq DESC LIMIT 1)
  ORDER BY seq`;

export const CHANGED = `
  SELECT change.seq AS change_seq, operation.* FROM change
  JOIN operation ON operation.id = change.operation
  WHERE change.seq > ? ORDER BY change.seq LIMIT ?`;
