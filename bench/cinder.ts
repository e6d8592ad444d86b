import type { FileName, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';

/** An attached volume, as the stand-ins for Cinder know it. */
export interface Attached {
  readonly id: VolumeId;
  readonly server: ServerId;
  readonly active: () => FileName;
}

export type Working = 'creating' | 'deleting';

/** A snapshot that is being worked on, and whoever waits for its last word. */
export interface Awaited {
  readonly volume: Attached;
  status: string;
  progress: string;
  readonly told: (at: number) => void;
  readonly failed: (error: Error) => void;
}

/** The snapshots of some attached volumes; each is forgotten with its last word. */
export class Snapshots {
  readonly #volumes = new Map<VolumeId, Attached>();
  readonly #awaited = new Map<SnapshotId, Awaited>();

  /** Resolves to the moment at which the last word about this snapshot is accepted. */
  expect(id: SnapshotId, volume: Attached, status: Working): Promise<number> {
    this.#volumes.set(volume.id, volume);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#awaited.set(id, { volume, status, progress: '0%', told: resolve, failed: reject });
    return promise;
  }

  find(id: SnapshotId): Awaited | undefined {
    return this.#awaited.get(id);
  }

  volume(id: VolumeId): Attached | undefined {
    return this.#volumes.get(id);
  }

  /** Nobody asks for it any more, or what is asked is answered as over. */
  forget(id: SnapshotId): void {
    this.#awaited.delete(id);
  }
}
