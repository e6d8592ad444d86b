import { type FileName, type Format, QCOW2, RAW } from '#domain/ids.ts';
import type { DriverWorld, RemoteFsDriver } from './cinder-driver.ts';
import { type Info, snapshotOf, without } from './cinder-info.ts';
import type { SnapshotRow, VolumeRow } from './cinder-rows.ts';
import { commit, rebase } from './qemu-img.ts';

export interface OfflineDelete extends DriverWorld {
  readonly driver: RemoteFsDriver;
  readonly row: SnapshotRow;
  readonly volume: VolumeRow;
  readonly info: Info;
  readonly layers: OfflineLayers;
}

export interface OfflineLayers {
  readonly overlay: FileName;
  readonly base: FileName;
  /** Of the base, as `qemu-img info` found it. */
  readonly format: Format;
}

/**
 * _delete_snapshot of a volume that nobody has attached: always a commit into the file below, and
 * here a file goes before `.info` is written. Nothing names a format to qemu-img but the headers.
 * Our driver writes `.info` first: whoever kills it leaves the chain whole.
 */
export async function deleteOffline(it: OfflineDelete): Promise<string | null> {
  const { life, share, cinder, row, volume, info, layers, driver } = it;
  const { overlay, base, format } = layers;
  const active = overlay === info.active;
  const higher = active ? null : neighbour(it);
  if (higher !== null && higher.problem !== null) return higher.problem;
  const top = share.file(overlay);
  if (top === null) return `Could not open '${overlay}': No such file or directory`;
  const said = commit(share, top, QCOW2);
  if (said !== null) return said;
  await life.step('after a commit of its own', row.id);
  const rest = without(info, row.id);
  const after = active ? { ...rest, active: base } : rest;
  const file = higher?.file ?? null;
  const above = file === null ? null : { file, format };
  const settle = async () => {
    if (active && snapshotOf(info, base) === null) restoreFormat(it);
    await life.step('before it writes .info', row.id);
    await driver.write(row, after);
  };
  const rebased = async () => {
    if (file === null) return null;
    await life.step('before a rebase of its own', row.id);
    return rebase(share, file, base, format);
  };
  if (cinder.careful) {
    await settle();
    const problem = await rebased();
    if (problem === null) share.files.delete(overlay);
    return problem;
  }
  driver.tear(volume.id, { id: row.id, file: overlay, into: base, above });
  share.files.delete(overlay);
  const problem = await rebased();
  if (problem === null) await settle();
  return problem;
}

/** _get_higher_image_path: whose header names the overlay, from the active file down. */
function neighbour({ driver, volume, info, layers }: OfflineDelete) {
  for (let at: FileName | null = info.active; at !== null; ) {
    const found = driver.inspect(at, volume);
    if (!found.ok) return { file: null, problem: found.error };
    if (found.value.backing === layers.overlay) {
      const known = snapshotOf(info, at) !== null;
      return { file: at, problem: known ? null : `No snap found with ${at} as backing file.` };
    }
    at = found.value.backing;
  }
  const problem = `No file found with ${layers.overlay} as backing file.`;
  return { file: null, problem };
}

/** With the last snapshot gone the volume is what it was before the first, by what was saved. */
function restoreFormat({ cinder, share, volume, layers }: OfflineDelete): void {
  const saved = cinder.formats?.get(layers.base) ?? volume.baseFormat;
  if (saved !== undefined) {
    volume.format = saved;
    return;
  }
  const base = share.file(layers.base);
  if (base !== null && share.probe(base) === RAW) volume.format = RAW;
}
