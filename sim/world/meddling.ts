import type { SimCinder } from '../cinder.ts';
import type { SnapshotRow } from '../cinder-rows.ts';
import type { CloudDisk } from '../cloud.ts';
import type { World } from './world.ts';

type Meddles = (world: World, guests: unknown, disk: CloudDisk) => void;

/** Any member of the project may post a status; Cinder takes it as if it were ours. */
export function posting(body: (row: SnapshotRow) => object): Meddles {
  return (world, _guests, { volume }) => {
    const { cinder } = world.cloud;
    const row = somebody(world, cinder, volume);
    if (row === null) return;
    const before = `${row.status} ${row.progress}`;
    cinder.update(row.id, { 'os-update_snapshot_status': body(row) });
    if (before === `${row.status} ${row.progress}`) return;
    world.saw('a tenant changes a status');
    world.meddled.add(row.id);
    world.excuse(volume, 'drift record');
  };
}

export function resetting(status: string): Meddles {
  return (world, _guests, { volume }) => {
    const { cinder } = world.cloud;
    const row = somebody(world, cinder, volume);
    if (row === null || row.status === status) return;
    cinder.resetState(row.id, status);
    world.saw('an admin resets a status');
    world.meddled.add(row.id);
    world.excuse(volume, 'drift record');
  };
}

export function somebody(world: World, cinder: SimCinder, volume: string): SnapshotRow | null {
  const rows = [...cinder.snapshots.values()].filter((row) => row.volume === volume);
  const busy = rows.filter(({ status }) => status === 'creating' || status === 'deleting');
  const from = busy.length > 0 ? busy : rows;
  return from[world.choices.pick('whose status', Math.max(1, from.length))] ?? null;
}
