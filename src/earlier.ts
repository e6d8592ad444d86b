import type { CreateSaga } from '#domain/create-saga.ts';
import { goneOf } from '#domain/delete-end.ts';
import type { DeleteSaga } from '#domain/delete-saga.ts';
import type { Refusal } from '#domain/failure.ts';
import type { FileName, ServerId } from '#domain/ids.ts';
import type { CreateRequest } from '#domain/plan-create.ts';
import type { DeleteRequest } from '#domain/plan-delete.ts';
import type { Saga } from '#domain/saga.ts';
import type { AssistedRequest } from '#ports/assisted-snapshots.ts';
import type { Journal, Operation } from '#ports/journal.ts';

export type Request =
  | ({ readonly kind: 'create' } & CreateRequest)
  | ({ readonly kind: 'delete' } & DeleteRequest);

/** What the journal says about a request that comes again. */
export type Earlier =
  /** `doubt`: this file may have been merged away by an attempt with other arguments. */
  | { readonly kind: 'none'; readonly doubt?: Doubt }
  | { readonly kind: 'running'; readonly operation: Operation }
  /** It is done; `confirm` makes the saga that looks once more and says so again. */
  | { readonly kind: 'done'; readonly confirm: (server: ServerId) => Saga }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** Unless the file is still in the chain, the request reckons from what our merge made untrue. */
export interface Doubt {
  readonly gone: FileName;
  readonly refusal: Refusal;
}

/**
 * A retry names the same files when Cinder never heard our answer. When it names others, Cinder
 * reckons from a state that our own merge has made untrue, and doing what it asks would destroy
 * another snapshot: the chain alone looks legal, so only the journal can tell.
 */
export async function earlier(journal: Journal, plain: AssistedRequest): Promise<Earlier> {
  const { snapshot, kind } = plain;
  const found = await journal.operations({ snapshot, kind, limit: 8 });
  const last = found.find((operation) => operation.accepted && operation.saga.kind === kind);
  if (last === undefined || last.saga.kind === 'undo') return { kind: 'none' };
  const { saga } = last;
  const same = sameArguments(plain, saga);
  const state = saga.at === 'end' ? saga.outcome : saga.at;
  const refusal: Refusal = { kind: 'other-arguments', snapshot, state };
  if (saga.at !== 'end') {
    return same ? { kind: 'running', operation: last } : { kind: 'refused', refusal };
  }
  switch (saga.outcome) {
    case 'failed':
    case 'withdrawn':
    case 'undone':
      return doubtful(journal, plain, found);
    case 'unknown':
      return {
        kind: 'refused',
        refusal: { kind: 'unsettled', snapshot, reason: saga.reason },
      };
    case 'created':
    case 'merged':
      if (!same) return { kind: 'refused', refusal };
      return { kind: 'done', confirm: (server) => confirming(saga, server) };
  }
}

/** An attempt that has, or may have, merged a file away binds those after it to its arguments. */
async function doubtful(
  journal: Journal,
  plain: AssistedRequest,
  found: readonly Operation[],
): Promise<Earlier> {
  for (const attempt of found) {
    const { saga } = attempt;
    if (saga.kind !== 'delete' || saga.at !== 'end' || saga.gone === null) continue;
    if (sameArguments(plain, saga) || (await wasMergedBy(journal, attempt, saga.gone))) continue;
    const { snapshot } = plain;
    const refusal: Refusal = { kind: 'other-arguments', snapshot, state: saga.outcome };
    return { kind: 'none', doubt: { gone: saga.gone, refusal } };
  }
  return { kind: 'none' };
}

/**
 * Whether a later operation found the file in the chain and merged it away: then the attempt
 * before it had not, and what Cinder reckons from is true. (Seed 38 of the simulated worlds: a
 * snapshot could not be deleted any more once its neighbour was.)
 */
async function wasMergedBy(journal: Journal, attempt: Operation, file: FileName) {
  const { volume } = attempt.saga.request;
  const all = await journal.operations({ volume, kind: 'delete', limit: LATER });
  const at = all.findIndex(({ id }) => id === attempt.id);
  return all
    .slice(0, Math.max(0, at))
    .some(({ saga }) => saga.at === 'end' && saga.outcome === 'merged' && goneOf(saga) === file);
}

/** How many of a volume's deletes are looked through. */
const LATER = 64;

function sameArguments(plain: AssistedRequest, saga: Saga): boolean {
  if (plain.volume !== saga.request.volume) return false;
  if (plain.kind === 'create') {
    return saga.kind === 'create' && plain.newFile === saga.request.newFile;
  }
  return (
    saga.kind === 'delete' &&
    plain.fileToMerge === saga.request.fileToMerge &&
    plain.mergeTarget === saga.request.mergeTarget
  );
}

function confirming(saga: Extract<CreateSaga | DeleteSaga, { at: 'end' }>, server: ServerId): Saga {
  if (saga.kind === 'create') {
    const { made } = saga;
    const request = { ...saga.request, server };
    return { kind: 'create', request, at: 'confirming', ...(made && { made }) };
  }
  const request = { ...saga.request, server };
  const { gone, formats } = saga;
  // A merge that is done always names what it merged away; see delete-saga.ts, `merged`.
  return gone === null
    ? { kind: 'delete', request, at: 'accepted' }
    : { kind: 'delete', request, at: 'confirming', gone, formats };
}
