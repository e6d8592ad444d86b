import type { FileName, Format, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';

/** The assisted snapshots API, as Cinder calls it; an error is what the answer said. */
/** The compute host of every guest, as Cinder has it. */
export const HOST = 'host';

export interface Assist {
  create(request: {
    readonly volume: VolumeId;
    readonly snapshot: SnapshotId;
    readonly newFile: FileName;
  }): Promise<Result<null, string>>;
  delete(request: {
    readonly volume: VolumeId;
    readonly snapshot: SnapshotId;
    readonly fileToMerge: FileName | null;
    readonly mergeTarget: FileName | null;
  }): Promise<Result<null, string>>;
}

export interface VolumeRow {
  readonly id: VolumeId;
  /** The base's name: `volume-<id>`. */
  readonly name: FileName;
  readonly clusters: number;
  /** Its overlays are made with the same key. */
  readonly encrypted?: boolean;
  /** admin_metadata['format']: what Cinder believes the volume is, and tells Nova to open it as. */
  format: Format;
  /** admin_metadata['base_format']: what it is again once no snapshot is left (since 2026.1). */
  baseFormat?: Format;
}

export interface AttachmentRow {
  readonly id: string;
  readonly volume: VolumeId;
  readonly server: ServerId;
  status: string;
  /** connection_info: the file in use by all that Cinder knows. */
  name: FileName | null;
}

export interface SnapshotRow {
  readonly id: SnapshotId;
  readonly volume: VolumeId;
  status: string;
  progress: string;
  fileFormat: Readonly<Record<string, string>>;
}

/** An update that Cinder received, whatever it made of it. */
export interface Received {
  readonly at: number;
  readonly snapshot: SnapshotId;
  readonly body: unknown;
  readonly accepted: boolean;
}

/** How a request of a user ended; `problem` is what Cinder's log says. */
export interface Ended {
  readonly snapshot: SnapshotId;
  readonly status: string;
  readonly problem: string | null;
}

/**
 * The volume as a request found it: loaded before the wait for the volume's lock, so that a
 * volume attached or detached meanwhile is still taken for what it was (nfs.py, create_snapshot:
 * the lock's name is made of `snapshot.volume`).
 */
export interface FoundVolume {
  readonly volume: VolumeRow;
  /** volume.volume_attachment[0], when attach_status is `attached`. */
  readonly attachment: AttachmentRow | null;
}
