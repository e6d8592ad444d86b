import type { FileFormat } from '#domain/chain.ts';
import type { FileName, Format, OperationId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { KnownChain } from '#domain/known-chain.ts';
import type { Evidence, Saga } from '#domain/saga.ts';
import type { Update } from '#domain/status.ts';

/**
 * What an operation waits for. `preflight`: all that is asked before the change, of Cinder too.
 * `waiting`: behind another operation of the volume. `journal`: entries, but for the last one.
 * `libvirt`: the calls that change something, or qemu-img's work while the guest is off. `event`:
 * until a block job is heard to end. `verify`: the looks after the change. `barrier`: until what a
 * merge wrote is on disk. What is left, the last entry and Cinder's yes to the last word, is with
 * that word: see `Notice`.
 */
export const PHASES = [
  ...(['preflight', 'waiting', 'journal', 'libvirt', 'event', 'verify', 'barrier'] as const),
];
export type Phase = (typeof PHASES)[number];

/** How long each phase took, in milliseconds by the monotonic clock: of processes that ran. */
export type Trace = Readonly<Partial<Record<Phase, number>>>;

/** One accepted request and how far it is. Times are wall-clock milliseconds, for people. */
export interface Operation {
  readonly id: OperationId;
  readonly saga: Saga;
  /** False while we have not yet answered: a restart drops it. */
  readonly accepted: boolean;
  /** Whoever asked: Cinder's request id and ours, for the logs of both. */
  readonly requestId: string;
  readonly globalRequestId: string | null;
  readonly askedAt: number;
  readonly updatedAt: number;
  /** As of its newest entry; none of one that an earlier version wrote. */
  readonly trace?: Trace;
}

export interface EvidenceRow extends Evidence {
  readonly seq: number;
  readonly at: number;
}

/** A status that Cinder must hear. Rows of one snapshot are sent in order of `seq`. */
export interface Notice {
  readonly seq: number;
  readonly operation: OperationId;
  readonly snapshot: SnapshotId;
  readonly update: Update;
  readonly state: 'pending' | 'accepted' | 'obsolete';
  /** From the entry that it was written with to Cinder's answer, in milliseconds. */
  readonly tookMs?: number;
}

/** An operation as it is now, by the number of its newest change: numbers only grow. */
export interface Change {
  readonly seq: number;
  readonly operation: Operation;
}

/** What one step of a saga leaves behind, all or nothing. */
export interface Entry {
  readonly saga: Saga;
  readonly evidence: readonly Evidence[];
  readonly tell: Update | null;
  /** Formats to remember for the files of this volume. */
  readonly formats: readonly FileFormat[];
  /** What it teaches of the volume's chain, if anything. */
  readonly chain: KnownChain | null;
  /** What the operation has spent its time on so far; what was written before stays without it. */
  readonly trace?: Trace;
}

/**
 * What was promised, durable before anything is done about it. A promise of this port resolves
 * once the bytes are on disk. One process at a time: opening a journal that another one has open
 * fails. test/contract/journal.ts is the law.
 */
export interface Journal extends AsyncDisposable {
  /**
   * Writes down a request before anything is changed for it: as asked, or, where nothing need be
   * changed before the answer, as accepted.
   */
  ask(operation: Operation): Promise<void>;
  /** Turns an asked operation into an accepted one; from here on it is never dropped. */
  accept(id: OperationId): Promise<void>;
  /** Forgets an asked operation that was refused. */
  drop(id: OperationId): Promise<void>;
  /** One step. Answers the notice that was written, if there was something to tell. */
  commit(id: OperationId, entry: Entry): Promise<Notice | null>;
  /** Operations that are accepted and not at their end, oldest first. */
  unfinished(): Promise<readonly Operation[]>;
  operation(id: OperationId): Promise<Operation | null>;
  /** Newest first. */
  operations(filter: OperationFilter): Promise<readonly Operation[]>;
  evidence(id: OperationId): Promise<readonly EvidenceRow[]>;
  /**
   * Accepted operations that have changed after this number, in the order of their newest change,
   * so many at most: whoever was away hears how each one is, and not of each step.
   */
  changes(after: number, limit: number): Promise<readonly Change[]>;
  /** The number of the newest change; 0 when there was none. */
  lastChange(): Promise<number>;
  notices(filter: NoticeFilter): Promise<readonly Notice[]>;
  settle(seq: number, state: 'accepted' | 'obsolete', tookMs?: number): Promise<void>;
  /** The recorded formats of a volume's files. */
  formats(volume: VolumeId): Promise<ReadonlyMap<FileName, Format>>;
  /** What the last step that taught anything of it has taught. */
  chain(volume: VolumeId): Promise<KnownChain | null>;
  /**
   * Forgets operations that nobody asks for any more, the oldest first, `limit` at most, and
   * answers how many: those that were last changed before `before`, of which Cinder has heard all,
   * and that `over` lets go. The newest of each volume stays.
   */
  prune(before: number, limit: number, over: (saga: Saga) => boolean): Promise<number>;
  /** Counts a defect met in this state of this operation, and answers how many there were. */
  defect(id: OperationId): Promise<number>;
}

export interface OperationFilter {
  readonly snapshot?: SnapshotId;
  readonly volume?: VolumeId;
  readonly kind?: Saga['kind'];
  readonly limit: number;
}

export interface NoticeFilter {
  readonly operation?: OperationId;
  readonly state?: Notice['state'];
}
