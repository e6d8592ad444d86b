import type { Fault, Refusal } from '#domain/failure.ts';
import type { FileName, OperationId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';

/** What Cinder's os-assisted-volume-snapshots calls ask of us, parsed. */
export interface AssistedSnapshots {
  /** Accepts a create, or says why not; accepted means journalled, not done. */
  create(request: AssistedCreate, caller: Caller): Promise<Answer>;
  delete(request: AssistedDelete, caller: Caller): Promise<Answer>;
}

export interface AssistedCreate {
  readonly volume: VolumeId;
  readonly snapshot: SnapshotId;
  readonly newFile: FileName;
}

export interface AssistedDelete {
  readonly volume: VolumeId;
  readonly snapshot: SnapshotId;
  readonly fileToMerge: FileName | null;
  readonly mergeTarget: FileName | null;
}

/** Either of them, by its kind. */
export type AssistedRequest =
  | ({ readonly kind: 'create' } & AssistedCreate)
  | ({ readonly kind: 'delete' } & AssistedDelete);

export interface Caller {
  /** Our own id of the request: `req-<uuid>`. */
  readonly requestId: string;
  /** Cinder's, when it sent a well-formed one. */
  readonly globalRequestId: string | null;
}

/** `operation` is null when Cinder does not know the snapshot: accepted, nothing done. */
export type Answer = Result<{ readonly operation: OperationId | null }, Trouble>;

export type Trouble =
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  | { readonly kind: 'fault'; readonly fault: Fault };
