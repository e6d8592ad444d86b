import { type FileFormat, filesOf, type Layer, type Merge } from './chain.ts';
import type { CreateSaga } from './create-saga.ts';
import type { DeleteSaga } from './delete-saga.ts';
import type { VolumeKey } from './encryption.ts';
import { explainFault, type Fault } from './failure.ts';
import type { FileName, Format, ServerId, SnapshotId, VolumeId } from './ids.ts';
import type { Sight } from './sight.ts';
import type { Update } from './status.ts';
import type { UndoSaga } from './undo-saga.ts';

/** One accepted request, as data: the state it is `at`, with what belongs to that state. */
export type Saga = CreateSaga | DeleteSaga | UndoSaga;

/** What every request names. */
export interface Subject {
  readonly volume: VolumeId;
  readonly snapshot: SnapshotId;
  readonly server: ServerId;
}

/** A chain of encrypted layers, as the XML of a guest that is off has to name it. */
export interface KeyedChain {
  readonly directory: string;
  readonly chain: Layer;
  readonly key: VolumeKey;
}

/**
 * What wakes a saga. `woke` says nothing but "look again" (a restart, a timer, a lifecycle
 * event); the outcome of a step and of a block job are hints too: what a look shows decides.
 */
export type Event =
  | { readonly kind: 'woke' }
  | { readonly kind: 'saw'; readonly sight: Sight }
  | { readonly kind: 'blind'; readonly fault: Fault }
  | { readonly kind: 'did' }
  | { readonly kind: 'failed'; readonly fault: Fault }
  | { readonly kind: 'ended'; readonly how: 'completed' | 'failed' | 'canceled' };

/** What a saga wants done next. Each may be performed twice: a crash can come in between. */
export type Effect =
  /** `headers`: of these files, of the overlays that stand on them, and of the active one. */
  | {
      readonly do: 'look';
      readonly headers: readonly FileName[];
      readonly cinder: boolean;
      readonly settled?: Settled;
    }
  /** `soon`: what is waited for is due, so the wait for an event is a short one. */
  | { readonly do: 'watch'; readonly soon: boolean }
  | {
      readonly do: 'mend';
      readonly overlay: FileName;
      readonly backing: FileName;
      readonly format: Format;
      readonly directory: string;
    }
  | {
      readonly do: 'snapshot';
      readonly target: string;
      readonly process: string | null;
      readonly directory: string;
      readonly file: FileName;
      readonly active: FileName;
      /** Whether the guest's file systems are to be frozen meanwhile. */
      readonly quiesce?: boolean;
      readonly key?: VolumeKey | null;
    }
  /** Of the whole guest: also when the disk is no longer there. */
  | { readonly do: 'thaw'; readonly process: string | null }
  | {
      readonly do: 'merge';
      readonly target: string;
      readonly process: string;
      readonly merge: Merge;
      /** The chain that must be there: no other one is merged. */
      readonly chain: readonly FileName[];
    }
  /** Begins to commit the active file of this chain into the one right below. */
  | ({ readonly do: 'commit-active' } & ActiveCommit)
  /** Ends that when it is ready: the guest writes to the file below, */
  | ({ readonly do: 'pivot' } & ActiveCommit)
  /** or goes on writing to the active one. */
  | ({ readonly do: 'cancel' } & ActiveCommit)
  /** Of a shut-off guest: its XML no longer says what is below the active file. */
  | { readonly do: 'unchain'; readonly target: string; readonly instead?: KeyedChain }
  /** Of files that no QEMU has open: see the port `Images`. */
  | {
      readonly do: 'copy';
      readonly directory: string;
      readonly chain: Layer;
      readonly merge: Merge;
    }
  | { readonly do: 'sync'; readonly directory: string; readonly file: FileName }
  /** `into`: what a commit went into. */
  | {
      readonly do: 'flush';
      readonly target: string;
      readonly process: string;
      readonly into?: { readonly file: FileName; readonly format: Format };
    };

/** A chain, the active file first, that says in that QEMU that what was begun is over. */
export interface Settled {
  readonly process: string;
  readonly chain: readonly FileName[];
}

interface ActiveCommit {
  readonly target: string;
  readonly process: string;
  readonly chain: readonly FileName[];
}

/** How an operation ended. `unknown` needs a person: we contradict what we see. */
export type Outcome = 'created' | 'merged' | 'undone' | 'failed' | 'withdrawn' | 'unknown';

/** A fact that the operation rests on, journalled in the same transaction as the new state. */
export interface Evidence {
  readonly kind:
    | 'decided'
    | 'mended'
    | 'switched'
    | 'started'
    | 'completed'
    | 'merged'
    | 'flushed'
    | 'restored'
    | 'refused'
    | 'fault'
    | 'already'
    | 'quiesced'
    | 'not-quiesced'
    | 'left-frozen'
    /** An operator put an end to it, or said how it ended. */
    | 'aborted'
    | 'settled';
  readonly detail: string;
}

/** The end of a saga. `formats` is what Cinder was told of the files that changed. */
export interface End {
  readonly at: 'end';
  readonly outcome: Outcome;
  readonly reason: string;
  readonly formats: readonly FileFormat[];
}

/** One step: the new state, what it rests on, what Cinder must hear, and what to do now. */
export interface Next<S extends Saga> {
  readonly saga: S;
  readonly evidence: readonly Evidence[];
  readonly tell: Update | null;
  /** Live progress in percent: worth saying, not worth keeping. */
  readonly progress: number | null;
  /** Null only at the end. */
  readonly effect: Effect | null;
}

/** Goes to `saga` and does `effect`. */
export function go<S extends Saga>(saga: S, effect: Effect, ...evidence: Evidence[]): Next<S> {
  return { saga, evidence, tell: null, progress: null, effect };
}

/** Ends, and says so to Cinder unless it has nothing to hear. */
export function end<S extends Saga>(
  saga: S,
  tell: Update | null,
  ...evidence: Evidence[]
): Next<S> {
  return { saga, evidence, tell, progress: null, effect: null };
}

/** A fault as evidence. */
export const noted = (it: Fault): Evidence => ({ kind: 'fault', detail: explainFault(it) });

export const WATCH: Effect = { do: 'watch', soon: false };
export const WATCH_SOON: Effect = { do: 'watch', soon: true };
export const lookAt = (...headers: readonly FileName[]) =>
  ({ do: 'look', headers, cinder: false }) as const satisfies Effect;
export const lookWithCinder = (...headers: readonly FileName[]) =>
  ({ do: 'look', headers, cinder: true }) as const satisfies Effect;
/** The same look, over sooner where what was planned shows; of a guest that is off nothing does. */
export const until = (look: Effect & { do: 'look' }, { process, after }: Planned): Effect =>
  process === null ? look : { ...look, settled: { process, chain: filesOf(after) } };

interface Planned {
  readonly process: string | null;
  readonly after: Layer;
}

/** Whether the hypervisor's no is only "not now": busy, or the state change lock was not free. */
export function isBusy(fault: Fault): boolean {
  // VIR_ERR_BLOCK_COPY_ACTIVE, VIR_ERR_OPERATION_UNSUPPORTED ("already in active block job")
  // and VIR_ERR_OPERATION_TIMEOUT; measured on libvirt 9.0.
  return (
    fault.kind === 'rejected' &&
    fault.who === 'libvirt' &&
    (fault.code === 83 || fault.code === 84 || fault.code === 68)
  );
}
