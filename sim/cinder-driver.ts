import { type FileName, type Format, QCOW2, type SnapshotId, type VolumeId } from '#domain/ids.ts';
import { err, type Result } from '#domain/result.ts';
import type { Clock } from '#ports/clock.ts';
import type { SimCinder } from './cinder.ts';
import { type Info, infoText, readInfo, snapshotOf, without } from './cinder-info.ts';
import type { CinderLife } from './cinder-life.ts';
import { deleteOffline, finishMerge } from './cinder-offline.ts';
import type { Assist, FoundVolume, SnapshotRow, VolumeRow } from './cinder-rows.ts';
import type { Gone, Torn } from './cinder-volume.ts';
import { awaitCreated, awaitDeleted } from './cinder-waits.ts';
import { type Inspected, inspect } from './qemu-img.ts';
import type { SimShare } from './share.ts';

export interface DriverWorld {
  readonly cinder: SimCinder;
  readonly clock: Clock;
  readonly share: SimShare;
  readonly assist: Assist;
  readonly life: CinderLife;
  readonly hung: SnapshotId[];
  readonly torn: Map<VolumeId, Torn>;
}

/**
 * cinder/volume/drivers/remotefs.py (at ab09bc39db), effect by effect in its order. Its methods
 * answer what went wrong, or null; what they leave behind then is what Cinder leaves behind.
 */
export class RemoteFsDriver {
  readonly #world: DriverWorld;

  constructor(world: DriverWorld) {
    this.#world = world;
  }

  /** _create_snapshot. */
  async create(row: SnapshotRow, { volume, attachment }: FoundVolume): Promise<string | null> {
    const read = this.#read(volume);
    if (!read.ok) return read.error;
    const info = read.value ?? { active: volume.name };
    const newFile = `${volume.name}.${row.id}` as FileName;
    const made = this.#prepare(volume, newFile, info.active);
    if (made !== null) return made;
    const problem = attachment === null ? null : await this.#createOnline(row, newFile);
    if (problem !== null) return problem;
    const { life } = this.#world;
    if (attachment !== null) {
      this.#learn(volume, row);
      // _create_snapshot's tail: the attachment, then admin_metadata, then `.info`.
      attachment.name = newFile;
    }
    if (Object.keys(info).length === 1) volume.baseFormat ??= volume.format;
    volume.format = QCOW2;
    await life.step('before it writes .info', row.id);
    await this.write(row, { ...info, [row.id]: newFile, active: newFile });
    return null;
  }

  /** _delete_snapshot. */
  async delete(row: SnapshotRow, { volume, attachment }: FoundVolume): Promise<string | null> {
    const unfinished = await finishMerge({ ...this.#world, row, volume });
    if (unfinished !== null) return unfinished;
    const read = this.#read(volume);
    if (!read.ok) return read.error;
    const info = read.value ?? { active: volume.name };
    const overlay = info[row.id];
    // A snapshot that .info does not know was never made: its row may go.
    if (overlay === undefined) return null;
    const top = this.inspect(overlay, volume);
    if (!top.ok) return top.error;
    const base = top.value.backing;
    if (base === null) return this.#deleteStale(row, info, overlay);
    const under = this.inspect(base, volume);
    if (!under.ok) return under.error;
    if (attachment === null) {
      const layers = { overlay, base, format: under.value.format };
      return deleteOffline({ ...this.#world, driver: this, row, volume, info, layers });
    }
    const layers = { overlay, base, below: under.value.backing };
    return this.#deleteOnline(row, volume, info, layers);
  }

  /** Without a format, unless this Cinder has been told: then it never looks. */
  inspect(file: FileName, volume: VolumeRow): Result<Inspected, string> {
    const { share, cinder } = this.#world;
    return inspect(share, file, volume.name, cinder.formats?.get(file) ?? null);
  }

  /**
   * _write_info_file: in place, so that whoever dies in between leaves an empty or half a file;
   * with our driver beside it, and renamed.
   */
  async write({ id, volume }: SnapshotRow, info: Info): Promise<void> {
    const { cinder, life, torn } = this.#world;
    const whole = infoText(info);
    // json.dump writes what it has in pieces; which of them are on disk is up to the share.
    const half = id.charCodeAt(0) % 2 === 0 ? whole.slice(0, whole.length / 2) : '';
    const gone = torn.get(volume)?.gone ?? [];
    if (!cinder.careful) {
      cinder.infoFiles.set(volume, half);
      torn.set(volume, { gone, info });
    }
    await life.step('while it writes .info', id);
    cinder.infoFiles.set(volume, whole);
    const left = gone.filter((one) => one.id !== id);
    if (left.length === 0) torn.delete(volume);
    else torn.set(volume, { gone: left });
  }

  /** A file is about to go, and `.info` will name it until it is written. */
  tear(volume: VolumeId, gone: Gone): void {
    const { torn } = this.#world;
    torn.set(volume, { gone: [...(torn.get(volume)?.gone ?? []), gone] });
  }

  /** _do_create_snapshot: the backing file's format is what `qemu-img info` makes of it. */
  #prepare(volume: VolumeRow, name: FileName, backing: FileName): string | null {
    const { share, cinder } = this.#world;
    const found = this.inspect(backing, volume);
    if (!found.ok) return found.error;
    const backingFormat = found.value.format;
    const { clusters, encrypted: luks = false } = volume;
    const protocol = share.file(backing)?.protocol ?? null;
    share.create(name, { clusters, backing, backingFormat, luks, protocol });
    cinder.formats?.set(name, QCOW2);
    return null;
  }

  /** _create_snapshot_online. */
  async #createOnline(row: SnapshotRow, newFile: FileName): Promise<string | null> {
    const { assist, life } = this.#world;
    await life.step('before it asks', row.id);
    const request = { volume: row.volume, snapshot: row.id, newFile };
    const asked = await life.see(assist.create(request));
    if (!asked.ok) return asked.error;
    await life.step('after it was answered', row.id);
    return life.see(awaitCreated(this.#world, row));
  }

  /** _delete_snapshot_online: a pull into the active file, or a commit into the file below. */
  async #deleteOnline(
    row: SnapshotRow,
    volume: VolumeRow,
    info: Info,
    { overlay, base, below }: OnlineLayers,
  ): Promise<string | null> {
    const { assist, life, share, cinder } = this.#world;
    const pull = overlay === info.active;
    const baseId = snapshotOf(info, base);
    const rest = without(info, row.id);
    const after = pull && baseId !== null ? { ...rest, [baseId]: overlay } : rest;
    // Written down before it is a fact, and not taken back when it fails; our driver waits.
    const pullsAll = pull && baseId === null;
    if (pullsAll && !cinder.careful) volume.baseFormat = volume.format;
    await life.step('before it asks', row.id);
    const fileToMerge = pull ? (baseId === null ? null : below) : overlay;
    const mergeTarget = pull ? null : base;
    const request = { volume: volume.id, snapshot: row.id, fileToMerge, mergeTarget };
    const asked = await life.see(assist.delete(request));
    if (!asked.ok) return asked.error;
    await life.step('after it was answered', row.id);
    const problem = await life.see(awaitDeleted(this.#world, row));
    if (problem !== null) return problem;
    this.#learn(volume, row);
    await life.step('before it writes .info', row.id);
    if (pullsAll) volume.baseFormat = QCOW2;
    await this.write(row, after);
    await life.step('before it removes a file', row.id);
    share.files.delete(pull ? base : overlay);
    return null;
  }

  /** _delete_stale_snapshot: here the file goes first. */
  async #deleteStale(row: SnapshotRow, info: Info, file: FileName): Promise<null> {
    if (file === info.active) return null;
    const after = without(info, row.id);
    this.tear(row.volume, { id: row.id, file, into: info.active, above: null });
    this.#world.share.files.delete(file);
    await this.#world.life.step('before it writes .info', row.id);
    await this.write(row, after);
    return null;
  }

  /** What the spec wants stored: the formats that were reported, of files of this volume. */
  #learn(volume: VolumeRow, { fileFormat }: SnapshotRow): void {
    for (const [file, format] of Object.entries(fileFormat)) {
      if (file !== volume.name && !file.startsWith(`${volume.name}.`)) continue;
      this.#world.cinder.formats?.set(file as FileName, format as Format);
    }
  }

  #read(volume: VolumeRow): Result<Info | null, string> {
    const read = readInfo(this.#world.cinder.infoFiles.get(volume.id));
    return read.ok ? read : err(read.error);
  }
}

interface OnlineLayers {
  readonly overlay: FileName;
  readonly base: FileName;
  readonly below: FileName | null;
}
