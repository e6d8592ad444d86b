import type { FileName, Format, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { Dialect } from '#domain/status.ts';
import type { Clock } from '#ports/clock.ts';
import { RemoteFsDriver } from './cinder-driver.ts';
import { judgeBody } from './cinder-status.ts';
import type { SimShare } from './share.ts';

/** The assisted snapshots API, as Cinder calls it; an error is what the answer said. */
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
  /** admin_metadata['format']: what Cinder believes the volume is. */
  format: Format;
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

export interface SimCinderOptions {
  readonly clock: Clock;
  readonly share: SimShare;
  readonly assist: Assist;
  /** How much of the Nova spec this Cinder has; a released one has nothing: `stock`. */
  readonly knows?: Dialect;
}

/** How a request of a user ended; `problem` is what Cinder's log says. */
export interface Ended {
  readonly snapshot: SnapshotId;
  readonly status: string;
  readonly problem: string | null;
}

/** Cinder's rows, its API, and its manager; what it does to files is in cinder-driver.ts. */
export class SimCinder {
  readonly volumes = new Map<VolumeId, VolumeRow>();
  readonly attachments = new Map<string, AttachmentRow>();
  readonly snapshots = new Map<SnapshotId, SnapshotRow>();
  readonly updates: Received[] = [];
  readonly knows: Dialect;
  readonly driver: RemoteFsDriver;
  readonly #clock: Clock;
  /** One operation per volume at a time, for as long as it takes. */
  readonly #locks = new Map<VolumeId, Promise<unknown>>();

  constructor({ clock, share, assist, knows = 'stock' }: SimCinderOptions) {
    this.#clock = clock;
    this.knows = knows;
    this.driver = new RemoteFsDriver({ cinder: this, clock, share, assist });
  }

  attach(volume: VolumeRow, server: ServerId): AttachmentRow {
    const id = this.#clock.uuid();
    this.volumes.set(volume.id, volume);
    const { name } = volume;
    const row: AttachmentRow = { id, volume: volume.id, server, status: 'attached', name };
    this.attachments.set(id, row);
    return row;
  }

  attachmentsOf(volume: VolumeId): readonly AttachmentRow[] {
    return [...this.attachments.values()].filter(
      (row) => row.volume === volume && row.status === 'attached',
    );
  }

  /** A user asks for a snapshot; resolves when Cinder is done with it, one way or the other. */
  async createSnapshot(volume: VolumeId, id = this.#clock.uuid() as SnapshotId): Promise<Ended> {
    const row = { id, volume, status: 'creating', progress: '0%', fileFormat: {} };
    this.snapshots.set(id, row);
    const problem = await this.#locked(volume, () => this.driver.create(row));
    if (problem === null) Object.assign(row, { status: 'available', progress: '100%' });
    else row.status = 'error';
    return { snapshot: id, status: row.status, problem };
  }

  /** A user deletes it. Nothing but the status changes before the driver begins. */
  async deleteSnapshot(id: SnapshotId): Promise<Ended> {
    const row = this.snapshots.get(id);
    if (row === undefined) return { snapshot: id, status: 'deleted', problem: 'not found' };
    if (!['available', 'error', 'error_deleting'].includes(row.status)) {
      const problem = 'Snapshot status must be available or error';
      return { snapshot: id, status: row.status, problem };
    }
    row.status = 'deleting';
    const problem = await this.#locked(row.volume, () => this.driver.delete(row));
    if (problem === null) this.snapshots.delete(id);
    else row.status = 'error_deleting';
    return { snapshot: id, status: problem === null ? 'deleted' : row.status, problem };
  }

  /** os-reset_status: the status and nothing else, so a progress of 90% stays. */
  resetState(id: SnapshotId, status: string): void {
    const row = this.snapshots.get(id);
    if (row) row.status = status;
  }

  /** POST snapshots/{id}/action; `body` as it came. */
  update(id: SnapshotId, body: unknown): { readonly status: number; readonly message: string } {
    const row = this.snapshots.get(id);
    const verdict = row && judgeBody(body, row, this.knows);
    const accepted = verdict?.status === 202;
    const copy = structuredClone(body);
    this.updates.push({ at: this.#clock.now(), snapshot: id, body: copy, accepted });
    if (row === undefined) return { status: 404, message: `Snapshot ${id} could not be found.` };
    if (verdict?.status === 202) Object.assign(row, verdict.row);
    return verdict?.status === 400 ? verdict : { status: 202, message: '' };
  }

  #locked<T>(volume: VolumeId, work: () => Promise<T>): Promise<T> {
    const before = this.#locks.get(volume) ?? Promise.resolve();
    const mine = before.then(work);
    const settled = mine.then(
      () => {},
      () => {},
    );
    this.#locks.set(volume, settled);
    return mine;
  }
}
