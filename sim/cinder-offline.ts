import { type FileName, type Format, QCOW2, RAW, type VolumeId } from '#domain/ids.ts';
import type { SimCinder } from './cinder.ts';
import type { DriverWorld, RemoteFsDriver } from './cinder-driver.ts';
import { type Info, snapshotOf, without } from './cinder-info.ts';
import type { SnapshotRow, VolumeRow } from './cinder-rows.ts';
import type { Merging } from './cinder-volume.ts';
import { commit, rebase } from './qemu-img.ts';
import type { SimShare } from './share.ts';

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
 * Our driver writes `.info` first, and a note before that: whoever kills it leaves the chain whole,
 * and what is left to do to whoever comes next.
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
  if (cinder.careful) {
    cinder.merges.set(volume.id, { file: overlay, into: base, above });
    await settle();
    return finishMerge(it);
  }
  driver.tear(volume.id, { id: row.id, file: overlay, into: base, above });
  share.files.delete(overlay);
  if (file !== null) await life.step('before a rebase of its own', row.id);
  const problem = file === null ? null : rebase(share, file, base, format);
  if (problem === null) await settle();
  return problem;
}

/** Our driver: what is left of a merge, once `.info` names its file no more. */
export async function finishMerge(
  it: Pick<OfflineDelete, 'life' | 'share' | 'cinder' | 'row' | 'volume'>,
): Promise<string | null> {
  const { life, share, cinder, row, volume } = it;
  if (unfinished(cinder, volume.id)?.above) await life.step('before a rebase of its own', row.id);
  const problem = rebaseAbove(cinder, share, volume.id);
  if (problem !== null) return problem;
  if (unfinished(cinder, volume.id)) await life.step('before it removes a file', row.id);
  removeMerged(cinder, share, volume.id);
  return null;
}

/** As part of initialize_connection, which no other process of the driver outlives. */
export function finishAtOnce(cinder: SimCinder, share: SimShare, id: VolumeId): string | null {
  const problem = rebaseAbove(cinder, share, id);
  if (problem === null) removeMerged(cinder, share, id);
  return problem;
}

/** While a guest has the volume nothing is; one that `.info` still names will be done anew. */
function unfinished(cinder: SimCinder, id: VolumeId): Merging | null {
  const merge = cinder.merges.get(id);
  if (merge === undefined || cinder.attachmentsOf(id).length > 0) return null;
  if (!Object.values(cinder.info(id) ?? {}).includes(merge.file)) return merge;
  cinder.merges.delete(id);
  return null;
}

function rebaseAbove(cinder: SimCinder, share: SimShare, id: VolumeId): string | null {
  const { file, into, above = null } = unfinished(cinder, id) ?? {};
  if (above === null || share.file(above.file)?.header?.backing !== file) return null;
  return rebase(share, above.file, into as FileName, above.format);
}

function removeMerged(cinder: SimCinder, share: SimShare, id: VolumeId): void {
  const merge = unfinished(cinder, id);
  if (merge === null) return;
  share.files.delete(merge.file);
  cinder.merges.delete(id);
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
