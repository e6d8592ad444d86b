import type { SnapshotId } from '#domain/ids.ts';
import type { Dialect, StatusBody } from '#domain/status.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud } from '#sim/cloud.ts';
import type { VolumesLab } from './volumes.ts';

/** A simulated Cinder for the laws of volumes, whatever client speaks to it. */
export function cinderLab(knows: Dialect): {
  readonly cloud: SimCloud;
  readonly lab: Omit<VolumesLab, 'volumes' | typeof Symbol.asyncDispose>;
} {
  const cloud = new SimCloud({ clock: new SimClock(), knows });
  const { cinder, volume, server, attachment, clock, disk } = cloud;
  const row = (id: SnapshotId) => {
    const found = cinder.snapshots.get(id);
    if (found === undefined) throw new Error(`no snapshot ${id}`);
    return found;
  };
  return {
    cloud,
    lab: {
      volume,
      server,
      attachment,
      knows,
      active: disk.xml.file,
      async snapshot(status, progress = '0%') {
        const id = clock.uuid() as SnapshotId;
        cinder.snapshots.set(id, { id, volume, status, progress, fileFormat: {} });
        return id;
      },
      async remove(id) {
        cinder.snapshots.delete(id);
      },
      async detach() {
        for (const { id } of cinder.attachmentsOf(volume)) cinder.detach(id);
      },
      async attach() {
        const found = cinder.connect(volume, server);
        if (!found.ok) throw new Error(found.error);
        const { id, name } = found.value.row;
        return { attachment: id, active: name ?? disk.xml.file };
      },
      async killVolumeService() {
        cinder.service.kill();
      },
      async row(id) {
        return row(id);
      },
      async accepted() {
        return cinder.updates
          .filter((one) => one.accepted)
          .map(({ body }) => (body as Action)['os-update_snapshot_status']);
      },
    },
  };
}

interface Action {
  readonly 'os-update_snapshot_status': StatusBody;
}
