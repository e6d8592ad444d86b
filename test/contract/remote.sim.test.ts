import { type FileName, RAW, type VolumeId } from '#domain/ids.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud } from '#sim/cloud.ts';
import { SimImages } from '#sim/images.ts';
import { CLUSTER_BYTES, GLUSTER } from '#sim/share.ts';
import { remoteContract } from './remote.ts';

remoteContract('sim', async () => {
  const cloud = new SimCloud({ clock: new SimClock() });
  const { server, disks } = cloud.addGuest([{ format: RAW, protocol: GLUSTER }]);
  const [disk] = disks;
  const { hypervisor, share } = cloud;
  if (disk === undefined) throw new Error('no disk');
  return {
    hypervisor,
    images: new SimImages(share, parseHeader),
    server,
    volume: disk.volume as VolumeId,
    base: disk.xml.file,
    size: disk.bytes,
    async overlay(name, backing) {
      const clusters = disk.bytes / CLUSTER_BYTES;
      const says = { backing, backingFormat: RAW, clusters, protocol: GLUSTER };
      return share.create(name as FileName, says).name;
    },
    async stop() {
      hypervisor.end(server, 'stopped');
    },
    [Symbol.asyncDispose]: () => hypervisor[Symbol.asyncDispose](),
  };
});
