import { QCOW2, RAW } from '#domain/ids.ts';
import type { CloudDisk, SimCloud } from './cloud.ts';

/** Their virtual sizes in clusters, so that some merges take a while. */
const GUESTS = [
  { kinds: [RAW, QCOW2], clusters: 640 },
  { kinds: [RAW], clusters: 320 },
  { kinds: [RAW, RAW, QCOW2], clusters: 160 },
] as const;
/** So many snapshots of a volume are kept at most; a base and so many overlays are in its chain. */
const MOST = 6;

/**
 * An ordinary day of a small host: more guests, and people who take and delete snapshots of their
 * volumes, for ever. One volume has drifted: Cinder names a file as in use that the guest has left.
 */
export async function everyday(cloud: SimCloud, over: () => boolean): Promise<void> {
  for (const { kinds, clusters } of GUESTS) cloud.addGuest(kinds, clusters);
  const [first, , ...others] = cloud.disks;
  const drifting = others.pop();
  const used = [first, ...others].filter((disk) => disk !== undefined);
  await Promise.all([
    ...used.map((disk) => user(cloud, disk, over)),
    drifting && drift(cloud, drifting),
  ]);
}

async function user(cloud: SimCloud, { disk, volume }: CloudDisk, over: () => boolean) {
  const { cinder, clock } = cloud;
  const clusters = cinder.volumes.get(volume)?.clusters ?? 1;
  for (let byte = 1; !over(); byte = (byte % 250) + 1) {
    await clock.sleep(1000 + 9000 * clock.random());
    for (let times = 0; times < 8; times++) {
      disk.write(Math.floor(clock.random() * clusters), byte);
    }
    const taken = [...cinder.snapshots.values()].filter((row) => row.volume === volume);
    const one = taken[Math.floor(clock.random() * taken.length)];
    const create = taken.length < 2 || (taken.length < MOST && clock.random() < 0.5);
    if (create) await cinder.createSnapshot(volume);
    else if (one !== undefined) await cinder.deleteSnapshot(one.id);
  }
}

/** As when cinder-volume dies after a snapshot is taken, before it has written down so. */
async function drift({ cinder }: SimCloud, { volume, attachment }: CloudDisk): Promise<void> {
  const row = cinder.attachments.get(attachment);
  const before = row?.name ?? null;
  await cinder.createSnapshot(volume);
  if (row !== undefined) row.name = before;
}
