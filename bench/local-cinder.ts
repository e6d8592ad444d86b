import type { Fault } from '#domain/failure.ts';
import type { FileName, SnapshotId, VolumeId } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import type { SnapshotView } from '#domain/sight.ts';
import type { Update } from '#domain/status.ts';
import type { Attachment, Volumes } from '#ports/volumes.ts';
import { Snapshots } from './cinder.ts';

/** A Cinder that takes no time: attached volumes, and the snapshots being worked on. */
export class LocalCinder implements Volumes {
  readonly snapshotsOf = new Snapshots();

  async snapshot(id: SnapshotId): Promise<Result<SnapshotView | null, Fault>> {
    const it = this.snapshotsOf.find(id);
    return ok(it ? { volume: it.volume.id, status: it.status, progress: it.progress } : null);
  }

  async snapshots(): Promise<Result<readonly [], Fault>> {
    return ok([]);
  }

  async attachments(id: VolumeId): Promise<Result<readonly Attachment[] | null, Fault>> {
    const volume = this.snapshotsOf.volume(id);
    return ok(volume ? [{ id: volume.id, server: volume.server }] : null);
  }

  /** An attachment has the number of its volume here. */
  async activeFile(id: string): Promise<Result<FileName | null, Fault>> {
    return ok(this.snapshotsOf.volume(id as VolumeId)?.active() ?? null);
  }

  async update(id: SnapshotId, update: Update): Promise<Result<'accepted' | 'obsolete', Fault>> {
    const it = this.snapshotsOf.find(id);
    if (it === undefined) return ok('obsolete');
    if (update.kind === 'deleting') return ok('accepted');
    if (update.kind === 'created' || update.kind === 'deleted') it.told(performance.now());
    else it.failed(new Error(update.kind));
    // It stays as it is: whoever looks after a create would find it given up otherwise.
    if (update.kind !== 'created') this.snapshotsOf.forget(id);
    else it.status = 'available';
    return ok('accepted');
  }
}
