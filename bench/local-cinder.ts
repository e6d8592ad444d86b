import type { Fault } from '#domain/failure.ts';
import type { FileName, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import type { SnapshotView } from '#domain/sight.ts';
import type { Update } from '#domain/status.ts';
import type { Attachment, Volumes } from '#ports/volumes.ts';

/** A Cinder that takes no time: one attached volume, and the snapshot being worked on. */
export class LocalCinder implements Volumes {
  readonly #volume: VolumeId;
  readonly #server: ServerId;
  readonly #active: () => FileName;
  readonly #snapshots = new Map<SnapshotId, SnapshotView['status']>();
  #told: (at: number) => void = () => {};
  #failed: (error: Error) => void = () => {};

  constructor(volume: VolumeId, server: ServerId, active: () => FileName) {
    this.#volume = volume;
    this.#server = server;
    this.#active = active;
  }

  /** Resolves to the moment at which the last word about this snapshot arrives. */
  expect(snapshot: SnapshotId, status: 'creating' | 'deleting'): Promise<number> {
    this.#snapshots.clear();
    this.#snapshots.set(snapshot, status);
    return new Promise((resolve, reject) => {
      this.#told = resolve;
      this.#failed = reject;
    });
  }

  async snapshot(id: SnapshotId): Promise<Result<SnapshotView | null, Fault>> {
    const status = this.#snapshots.get(id);
    return ok(status === undefined ? null : { volume: this.#volume, status, progress: null });
  }

  async snapshots(): Promise<Result<readonly [], Fault>> {
    return ok([]);
  }

  async attachments(): Promise<Result<readonly Attachment[], Fault>> {
    return ok([{ id: 'attachment', server: this.#server }]);
  }

  async activeFile(): Promise<Result<FileName, Fault>> {
    return ok(this.#active());
  }

  async update(_: SnapshotId, { kind }: Update): Promise<Result<'accepted', Fault>> {
    if (kind === 'created' || kind === 'deleted') this.#told(performance.now());
    if (kind === 'create-failed' || kind === 'delete-failed') this.#failed(new Error(kind));
    return ok('accepted');
  }
}
