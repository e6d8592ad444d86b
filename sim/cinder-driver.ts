import { type FileName, fileName, QCOW2, type SnapshotId, type VolumeId } from '#domain/ids.ts';
import type { Clock } from '#ports/clock.ts';
import type { Assist, SimCinder, SnapshotRow, VolumeRow } from './cinder.ts';
import { forged, type SimShare } from './share.ts';

/** A volume's `.info` file: the overlay made for each snapshot, and the file in use. */
export interface Info {
  readonly active: FileName;
  readonly [snapshot: SnapshotId]: FileName;
}

export interface DriverWorld {
  readonly cinder: SimCinder;
  readonly clock: Clock;
  readonly share: SimShare;
  readonly assist: Assist;
}

const CREATE_TIMEOUT_S = 600;
const DELETE_TIMEOUT_S = 7200;

/**
 * cinder/volume/drivers/remotefs.py for a volume that is attached. Its methods answer what went
 * wrong, or null; what they leave behind then is what Cinder leaves behind.
 */
export class RemoteFsDriver {
  readonly #world: DriverWorld;
  /** The `.info` files. A volume without one has its base in use. */
  readonly info = new Map<VolumeId, Info>();
  /** Snapshots whose create loop spins for ever, its lock held (LP 1538496's class). */
  readonly hung: SnapshotId[] = [];

  constructor(world: DriverWorld) {
    this.#world = world;
  }

  /** _create_snapshot, _create_snapshot_online. */
  async create(snapshot: SnapshotRow): Promise<string | null> {
    const { cinder, share, assist } = this.#world;
    const volume = cinder.volumes.get(snapshot.volume);
    const [attachment] = cinder.attachmentsOf(snapshot.volume);
    if (volume === undefined || attachment === undefined) return 'not attached: not simulated';
    const info = this.#info(volume);
    const newFile = `${volume.name}.${snapshot.id}` as FileName;
    const backing = this.#inspect(info.active, volume);
    if (typeof backing === 'string') return backing;
    share.create(newFile, {
      clusters: volume.clusters,
      backing: info.active,
      backingFormat: backing.format,
    });
    const { id } = snapshot;
    const asked = await assist.create({ volume: volume.id, snapshot: id, newFile });
    if (!asked.ok) return asked.error;
    const problem = await this.#created(snapshot);
    if (problem !== null) return problem;
    attachment.name = newFile;
    volume.format = QCOW2;
    this.info.set(volume.id, { ...info, [id]: newFile, active: newFile });
    return null;
  }

  /** _delete_snapshot, _delete_snapshot_online. */
  async delete(snapshot: SnapshotRow): Promise<string | null> {
    const { cinder, share, assist } = this.#world;
    const volume = cinder.volumes.get(snapshot.volume);
    if (volume === undefined) return 'no such volume';
    const info = this.#info(volume);
    const overlay = info[snapshot.id];
    // A snapshot that .info does not know was never made: its row may go.
    if (overlay === undefined) return null;
    const top = this.#inspect(overlay, volume);
    if (typeof top === 'string') return top;
    if (top.backing === null) return this.#deleteStale(volume, info, snapshot.id);
    if (cinder.attachmentsOf(volume.id).length === 0) return 'not attached: not simulated';
    const base = top.backing;
    const under = this.#inspect(base, volume);
    if (typeof under === 'string') return under;
    const pull = overlay === info.active;
    const baseId = snapshotOf(info, base);
    const after: Record<string, FileName> = { ...info };
    delete after[snapshot.id];
    if (pull && baseId !== null) after[baseId] = overlay;
    const asked = await assist.delete({
      volume: volume.id,
      snapshot: snapshot.id,
      fileToMerge: pull ? (baseId === null ? null : under.backing) : overlay,
      mergeTarget: pull ? null : base,
    });
    if (!asked.ok) return asked.error;
    const problem = await this.#deleted(snapshot);
    if (problem !== null) return problem;
    if (pull) volume.format = QCOW2;
    this.info.set(volume.id, after as unknown as Info);
    share.files.delete(pull ? base : overlay);
    return null;
  }

  #info(volume: VolumeRow): Info {
    return this.info.get(volume.id) ?? { active: volume.name };
  }

  /**
   * _qemu_img_info: `qemu-img info` without a format, so a raw file's bytes are believed;
   * a backing file of another name than the volume's own is refused.
   */
  #inspect(file: FileName, volume: VolumeRow): Inspected | string {
    const { share } = this.#world;
    const found = share.file(file);
    if (found === null) return `Could not open '${file}': No such file or directory`;
    const format = share.probe(found);
    const header = format === QCOW2 ? (found.header ?? forged(found)) : null;
    if (header?.backing == null) return { format, backing: null };
    const bare = fileName(header.backing);
    const ours = bare !== null && (bare === volume.name || bare.startsWith(`${volume.name}.`));
    if (!ours) return `File ${file} has invalid backing file ${header.backing}.`;
    return { format, backing: bare };
  }

  #deleteStale(volume: VolumeRow, info: Info, id: SnapshotId): null {
    const file = info[id];
    if (file === info.active || file === undefined) return null;
    const after: Record<string, FileName> = { ...info };
    delete after[id];
    this.info.set(volume.id, after as unknown as Info);
    this.#world.share.files.delete(file);
    return null;
  }

  async #created(row: SnapshotRow): Promise<string | null> {
    const wait = new Wait(this.#world.clock);
    for (;;) {
      const { status, progress } = row;
      if (status === 'creating_compute_complete') return null;
      if (status === 'creating' && progress === '90%') return null;
      if (status === 'error') return 'Nova returned "error" status while creating snapshot.';
      if (status === 'deleting' || status === 'error_deleting') {
        return `Snapshot ${row.id} has been asked to be deleted while waiting.`;
      }
      if (status !== 'creating') {
        this.hung.push(row.id);
        return new Promise(() => {});
      }
      await wait.next();
      if (wait.seconds > CREATE_TIMEOUT_S) return 'Timed out while waiting for Nova update';
    }
  }

  async #deleted(row: SnapshotRow): Promise<string | null> {
    const wait = new Wait(this.#world.clock);
    for (;;) {
      const { status, progress } = row;
      if (status === 'deleting_compute_complete') return null;
      if (status === 'deleting' && progress === '90%') return null;
      if (status !== 'deleting') return `Unable to delete snapshot ${row.id}, status: ${status}.`;
      await wait.next();
      if (wait.seconds > DELETE_TIMEOUT_S) return 'Timed out while waiting for Nova update';
    }
  }
}

interface Inspected {
  readonly format: string;
  readonly backing: FileName | null;
}

/** Sleeps 1 s up to 10 s, 2 s up to 20, 5 s up to 60, then 10 s. */
class Wait {
  readonly #clock: Clock;
  #step = 1;
  seconds = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async next(): Promise<void> {
    await this.#clock.sleep(this.#step * 1000);
    this.seconds += this.#step;
    if (this.seconds > 60) this.#step = 10;
    else if (this.seconds > 20) this.#step = 5;
    else if (this.seconds > 10) this.#step = 2;
  }
}

function snapshotOf(info: Info, file: FileName): SnapshotId | null {
  const found = Object.entries(info).find(([key, value]) => key !== 'active' && value === file);
  return found === undefined ? null : (found[0] as SnapshotId);
}
