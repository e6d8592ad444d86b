import type { FileFormat, Layer, Merge } from '#domain/chain.ts';
import type { Finding, ListedSnapshot } from '#domain/diagnosis.ts';
import type { FileName, Format, OperationId, ServerId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { DiskView, HeaderView, Job } from '#domain/sight.ts';
import type { AssistedCreate, AssistedDelete, Trouble } from './assisted-snapshots.ts';
import type { Change, EvidenceRow, Notice, Operation } from './journal.ts';

/** What people ask. Nothing here changes anything. */
export interface Inspect {
  /** A volume's chain by three witnesses; `ref` is a volume id or `DOMAIN:DISK`. */
  chain(ref: string): Promise<Result<ChainReport, Trouble>>;
  /** What is wrong with each volume of the guests on this host. */
  diagnoses(): Promise<Result<readonly Diagnosis[], Trouble>>;
  formats(volume: VolumeId): Promise<readonly FileFormat[]>;
  planCreate(request: AssistedCreate): Promise<Result<PlanReport, Trouble>>;
  planDelete(request: AssistedDelete): Promise<Result<PlanReport, Trouble>>;
  operations(state: 'open' | 'ended' | 'all', limit: number): Promise<readonly Operation[]>;
  operation(id: OperationId): Promise<OperationReport | null>;
  /**
   * What has changed since the change of this number, a few at a time; null: every operation that
   * is open, and the number from which to go on.
   */
  changes(after: number | null): Promise<Changes>;
  /** How far the block job on a volume is, when one was seen lately. */
  progress(volume: VolumeId): Progress | null;
}

export interface Changes {
  readonly last: number;
  readonly operations: readonly Change[];
}

/**
 * In the unit of libvirt's block jobs, which with QEMU is bytes of the disk: what is not allocated
 * counts too, and is done at once, so that a job may end before its time. A rate is a second's.
 */
export interface Progress {
  readonly job: Job['kind'];
  readonly done: number;
  readonly total: number;
  /** Null until it was seen for long enough. */
  readonly rate: number | null;
  readonly secondsLeft: number | null;
}

export interface ChainReport {
  readonly volume: VolumeId;
  readonly guest: DiskView;
  /** By file: what the header page of each overlay says. */
  readonly headers: Readonly<Record<string, HeaderView>>;
  /** The file that Cinder believes is in use; null when it cannot or does not say. */
  readonly cinder: string | null;
  /** The volume's snapshots in Cinder; null when it cannot or does not say. */
  readonly snapshots: readonly ListedSnapshot[] | null;
  /** What is wrong, the worst first. */
  readonly findings: readonly Finding[];
}

export interface Diagnosis {
  readonly volume: VolumeId;
  readonly server: ServerId;
  /** The name that libvirt has for the server. */
  readonly guest: string;
  readonly target: string;
  readonly report: Result<ChainReport, Trouble>;
}

export interface PlanReport {
  readonly action: string;
  readonly before: Layer;
  readonly after: Layer;
  readonly fileFormat: readonly FileFormat[];
  /** Set when the new overlay's header must be mended first. */
  readonly mend: string | null;
  /** On which disk of which guest. */
  readonly by: {
    readonly server: ServerId;
    readonly target: string;
    /** A folder of the host, or the URL of a place that only QEMU reaches. */
    readonly directory: string;
    readonly running: boolean;
    readonly encrypted: boolean;
    readonly size: number;
  };
  /** Null: it is a create. */
  readonly merge: Merge | null;
  readonly mends: { readonly backing: FileName; readonly format: Format } | null;
}

export interface OperationReport {
  readonly operation: Operation;
  readonly evidence: readonly EvidenceRow[];
  readonly notices: readonly Notice[];
}
