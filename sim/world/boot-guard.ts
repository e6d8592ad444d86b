import type { FileName, VolumeId } from '#domain/ids.ts';
import type { BootRefusal } from '#domain/known-chain.ts';
import type { CloudDisk } from '../cloud.ts';
import { commit } from '../qemu-img.ts';
import { judgeBoot } from './program.ts';
import type { DiskTruth } from './truth.ts';
import type { World } from './world.ts';

/** Whether it knows of the disk: of one on a network it cannot tell which files are there. */
export function isGuarded(world: World, { odd, disk }: CloudDisk): boolean {
  const file = world.cloud.share.file(disk.config.file);
  return world.guarded && !odd && file?.protocol === null;
}

/** What the hook that libvirt asks before it starts a guest (`contrib/libvirt/`) says of a disk. */
export function bootRefusal(world: World, { it }: DiskTruth, file: FileName): BootRefusal | null {
  const known = isGuarded(world, it) ? world.journal.known(it.volume) : null;
  if (known === null || world.allowed.get(it.volume) === known) return null;
  const { directory } = known;
  const { share } = world.cloud;
  return judgeBoot(known, { directory, file }, (active) => share.files.has(active));
}

/** Whether its guest is not started on what is on disk now, unless a person says so. */
export function isKeptOff(world: World, truth: DiskTruth): boolean {
  const { it, disk } = truth;
  const known = world.journal.known(it.volume);
  const allowed = known !== null && world.allowed.get(it.volume) === known;
  return allowed || bootRefusal(world, truth, disk.config.file) !== null;
}

/** Whether a merge of the disk's has ever ended otherwise than well, or with nothing changed. */
export const isInDoubt = ({ journal }: World, { it }: DiskTruth): boolean =>
  journal.all.some(({ saga }) => {
    if (saga.kind !== 'delete' || saga.at !== 'end' || saga.request.volume !== it.volume) {
      return false;
    }
    return saga.outcome === 'unknown' || (saga.outcome === 'failed' && saga.gone !== null);
  });

/** An operator's marker, which counts until the chain is changed again. */
export function allow({ allowed, journal }: World, volume: VolumeId): void {
  const known = journal.known(volume);
  if (known !== null) allowed.set(volume, known);
}

/**
 * What an operator does who is told that the guest wrote to an overlay that Cinder has given up:
 * commits it into the file below, which Cinder attaches, and removes it.
 */
export function goBack({ cloud }: World, active: FileName): boolean {
  const { share } = cloud;
  const top = share.file(active);
  if (top === null || commit(share, top, top.format) !== null) return false;
  share.files.delete(active);
  return true;
}
