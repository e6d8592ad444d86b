import type { ListedSnapshot } from '#domain/diagnosis.ts';
import type { Fault } from '#domain/failure.ts';
import type { FileName, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { SnapshotView } from '#domain/sight.ts';
import type { Update } from '#domain/status.ts';

/** A server that has a volume attached. */
export interface Attachment {
  readonly id: string;
  readonly server: ServerId;
  /** The name of its compute host; Cinder says it to admins only. */
  readonly host?: string;
}

/**
 * Cinder, as a client with the right to update snapshots sees it. Null means that Cinder answered
 * and does not have it. test/contract/volumes.ts is the law.
 */
export interface Volumes {
  snapshot(id: SnapshotId): Promise<Result<SnapshotView | null, Fault>>;
  /** Every snapshot of a volume, whoever owns it; none for an unknown volume. */
  snapshots(volume: VolumeId): Promise<Result<readonly ListedSnapshot[], Fault>>;
  /** The attachments of a volume that are in effect, or null for an unknown volume. */
  attachments(volume: VolumeId): Promise<Result<readonly Attachment[] | null, Fault>>;
  /** The file that the attachment's connection_info names as in use, or null when not given. */
  activeFile(attachment: string): Promise<Result<FileName | null, Fault>>;
  /**
   * Tells Cinder, in the most telling dialect that it accepts. `obsolete`: Cinder no longer has
   * the snapshot, or it is no longer in the status that the update is about.
   */
  update(snapshot: SnapshotId, update: Update): Promise<Result<'accepted' | 'obsolete', Fault>>;
}
