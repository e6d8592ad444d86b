import type { FileName, Format, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Dialect } from '#domain/status.ts';
import type { Clock } from '#ports/clock.ts';
import { type Info, readInfo } from './cinder-info.ts';
import { finishAtOnce } from './cinder-offline.ts';
import type {
  Assist,
  AttachmentRow,
  Ended,
  FoundVolume,
  Received,
  SnapshotRow,
  VolumeRow,
} from './cinder-rows.ts';
import { judgeBody, schemaProblem } from './cinder-status.ts';
import { type Merging, VolumeService } from './cinder-volume.ts';
import { inspect } from './qemu-img.ts';
import type { SimShare } from './share.ts';

export interface SimCinderOptions {
  readonly clock: Clock;
  readonly share: SimShare;
  readonly assist: Assist;
  /** How much of the Nova spec this Cinder has; a released one has nothing: `stock`. */
  readonly knows?: Dialect;
}

/**
 * Cinder's rows and its API. What its volume service does is in cinder-volume.ts and what that
 * does to files in cinder-driver.ts; this part is up as long as Cinder answers at all.
 */
export class SimCinder {
  readonly volumes = new Map<VolumeId, VolumeRow>();
  readonly attachments = new Map<string, AttachmentRow>();
  readonly snapshots = new Map<SnapshotId, SnapshotRow>();
  readonly updates: Received[] = [];
  /** The text of each volume's `.info` file. A volume without one has its base in use. */
  readonly infoFiles = new Map<VolumeId, string>();
  /** Formats by file, for a Cinder that stores what is reported: it probes no file it knows. */
  readonly formats: Map<FileName, Format> | null;
  /**
   * contrib/cinder's volume driver: `.info` is replaced in one step, and what is merged away goes
   * after that. It comes with the filter, which takes formats and keeps stock's statuses.
   */
  readonly careful: boolean;
  /** What that driver notes on the share of a merge of its own, until it is over. */
  readonly merges = new Map<VolumeId, Merging>();
  readonly knows: Dialect;
  readonly service: VolumeService;
  readonly #clock: Clock;
  readonly #share: SimShare;
  /** Who looks at a row whenever its status changes. */
  readonly #watching = new Map<SnapshotId, () => void>();

  constructor({ clock, share, assist, knows = 'stock' }: SimCinderOptions) {
    this.#clock = clock;
    this.#share = share;
    this.knows = knows;
    this.formats = knows === 'spec' || knows === 'format' ? new Map() : null;
    this.careful = knows === 'format';
    this.service = new VolumeService({ cinder: this, clock, share, assist });
  }

  /** A volume that Cinder made, attached to a server. */
  attach(volume: VolumeRow, server: ServerId): AttachmentRow {
    this.volumes.set(volume.id, volume);
    if (!this.formats?.has(volume.name)) this.formats?.set(volume.name, volume.format);
    return this.#attached(volume, server, this.activeFile(volume.id) ?? volume.name);
  }

  /**
   * Attaches a volume again: the file that `.info` says is in use, opened as what the database
   * says it is (nfs.py, initialize_connection); or why not.
   */
  connect(id: VolumeId, server: ServerId): Result<{ row: AttachmentRow; format: Format }, string> {
    const volume = this.volumes.get(id);
    if (volume === undefined) return err('no such volume');
    const problem = finishAtOnce(this, this.#share, id);
    if (problem !== null) return err(problem);
    const info = readInfo(this.infoFiles.get(id));
    if (!info.ok) return info;
    const file = info.value?.active ?? volume.name;
    const format = this.formats?.get(file) ?? volume.format;
    const found = inspect(this.#share, file, volume.name, format);
    if (!found.ok) return found;
    return ok({ row: this.#attached(volume, server, file), format });
  }

  /** The volume is `available` from now on; what cinder-volume is at does not notice. */
  detach(attachment: string): void {
    const row = this.attachments.get(attachment);
    if (row) row.status = 'detached';
  }

  attachmentsOf(volume: VolumeId): readonly AttachmentRow[] {
    return [...this.attachments.values()].filter(
      (row) => row.volume === volume && row.status === 'attached',
    );
  }

  info(volume: VolumeId): Info | null {
    const info = readInfo(this.infoFiles.get(volume));
    return info.ok ? info.value : null;
  }

  /** The file in use by `.info`; null when that cannot be read. */
  activeFile(volume: VolumeId): FileName | null {
    const info = readInfo(this.infoFiles.get(volume));
    return info.ok ? (info.value?.active ?? this.volumes.get(volume)?.name ?? null) : null;
  }

  /** A user asks for a snapshot; resolves when Cinder is done with it, one way or the other. */
  createSnapshot(volume: VolumeId, id = this.#clock.uuid() as SnapshotId): Promise<Ended> {
    const row = { id, volume, status: 'creating', progress: '0%', fileFormat: {} };
    this.snapshots.set(id, row);
    const found = this.#found(volume);
    return this.#ended(id, found && this.service.create(row, found));
  }

  /** A user deletes it. Nothing but the status changes before the driver begins. */
  async deleteSnapshot(id: SnapshotId): Promise<Ended> {
    const row = this.snapshots.get(id);
    if (row === undefined) return { snapshot: id, status: 'deleted', problem: 'not found' };
    // volume/api.py, delete_snapshot: not `error_deleting`, of which an admin has to take care.
    if (row.status === 'available' || row.status === 'error') return this.forceDelete(id);
    const problem = 'Snapshot status must be available or error';
    return { snapshot: id, status: row.status, problem };
  }

  /** os-force_delete: whatever its status; a request that goes on does not end by it. */
  async forceDelete(id: SnapshotId): Promise<Ended> {
    const row = this.snapshots.get(id);
    if (row === undefined) return { snapshot: id, status: 'deleted', problem: 'not found' };
    this.#set(row, { status: 'deleting' });
    const found = this.#found(row.volume);
    return this.#ended(id, found && this.service.delete(row, found));
  }

  /** A user backs the volume up: by way of a snapshot that Cinder takes and deletes itself. */
  backup(volume: VolumeId, id = this.#clock.uuid() as SnapshotId): Promise<Ended> {
    const row = { id, volume, status: 'creating', progress: '0%', fileFormat: {} };
    const found = this.#found(volume);
    return this.#ended(id, found && this.service.backup(row, found));
  }

  /** os-reset_status: the status and nothing else, so a progress of 90% stays. */
  resetState(id: SnapshotId, status: string): void {
    const row = this.snapshots.get(id);
    if (!row) return;
    this.service.forget(id);
    this.#set(row, { status });
  }

  /** POST snapshots/{id}/action; `body` as it came. */
  update(id: SnapshotId, body: unknown): { readonly status: number; readonly message: string } {
    const row = this.snapshots.get(id);
    const verdict = row && judgeBody(body, row, this.knows);
    const accepted = verdict?.status === 202;
    const copy = body === undefined ? body : JSON.parse(JSON.stringify(body));
    this.updates.push({ at: this.#clock.now(), snapshot: id, body: copy, accepted });
    if (row === undefined) {
      const problem = schemaProblem(body, this.knows);
      if (problem !== null) return { status: 400, message: problem };
      return { status: 404, message: `Snapshot ${id} could not be found.` };
    }
    if (verdict?.status === 202) this.#set(row, verdict.row);
    return verdict?.status === 400 ? verdict : { status: 202, message: '' };
  }

  /** Resolves when the row's status is changed from outside. */
  changed(id: SnapshotId): Promise<void> {
    return new Promise((resolve) => this.#watching.set(id, resolve));
  }

  #set(row: SnapshotRow, change: Partial<SnapshotRow>): void {
    Object.assign(row, change);
    this.#watching.get(row.id)?.();
    this.#watching.delete(row.id);
  }

  #attached({ id: volume }: VolumeRow, server: ServerId, name: FileName): AttachmentRow {
    const id = this.#clock.uuid();
    const row: AttachmentRow = { id, volume, server, status: 'attached', name };
    this.attachments.set(id, row);
    return row;
  }

  #found(id: VolumeId): FoundVolume | null {
    const volume = this.volumes.get(id);
    return volume ? { volume, attachment: this.attachmentsOf(id)[0] ?? null } : null;
  }

  async #ended(snapshot: SnapshotId, work: Promise<string | null> | null): Promise<Ended> {
    const problem = work === null ? 'no such volume' : await work;
    return { snapshot, status: this.snapshots.get(snapshot)?.status ?? 'deleted', problem };
  }
}
