import type { OperationId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Answer, AssistedRequest } from '#ports/assisted-snapshots.ts';
import type { Operation } from '#ports/journal.ts';
import type { CinderStep } from '../cinder-life.ts';
import type { CloudDisk } from '../cloud.ts';
import type { MissingGuard } from './laws.ts';

/** A call that the program makes to one of its ports. */
export interface SeenCall {
  readonly port: 'libvirt' | 'cinder' | 'images' | 'journal';
  readonly method: string;
  readonly args: readonly unknown[];
}

/** The operation that a call turns into an accepted one, or null. */
export function acceptedBy({ port, method, args }: SeenCall): OperationId | null {
  if (port !== 'journal') return null;
  if (method === 'accept') return args[0] as OperationId;
  const operation = method === 'ask' ? (args[0] as Operation) : null;
  return operation?.accepted ? operation.id : null;
}

/** A request to the program, as it arrives. */
export type Asked = AssistedRequest & Arrival;

interface Arrival {
  readonly requestId: string;
  readonly at: number;
}

/** Looks on, and says so when a law is broken. */
export interface Watcher {
  /** The program makes a call. */
  calling?(call: SeenCall): void;
  /** The call reaches the world: nothing of it has happened yet. */
  reaching?(call: SeenCall): void;
  /** All that the call does has happened. */
  reached?(call: SeenCall, answer: unknown): void;
  /** The program has the answer. */
  back?(call: SeenCall, answer: unknown): void;
  asked?(request: Asked): void;
  answered?(request: Asked, answer: Answer): void;
  /** The process is gone, and whoever waited for its answer sees the connection break. */
  ended?(): void;
  /** cinder-volume is about to take a step. */
  cinder?(step: CinderStep, snapshot: SnapshotId): void;
  detached?(disk: CloudDisk): void;
  /** Before Cinder says what the volume is, and once the server has it. */
  attaching?(disk: CloudDisk): void;
  attached?(disk: CloudDisk, problem: string | null): void;
  /** Everything that one moment brought about has come to rest. */
  moment?(): void;
  /** The faults are over, and nothing moves any more. */
  rest?(): void;
}

/** A law that was broken; with a guard that is not there, that was to be expected. */
export interface Broken {
  readonly law: number;
  readonly words: string;
  readonly at: number;
  readonly volume: VolumeId | null;
  readonly guard: MissingGuard | null;
}
