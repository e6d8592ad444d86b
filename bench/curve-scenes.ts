import { diskOf, viewOf } from '#adapters/libvirt/disk-view.ts';
import { parseDomain } from '#adapters/libvirt/domain-xml.ts';
import type { FileName, OperationId, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import type { DiskView, HeaderView, Sight } from '#domain/sight.ts';
import type { Operation } from '#ports/journal.ts';

/** What the curves are drawn of: guests as libvirt writes them, and operations on their volumes. */
const FOLDER = '/var/lib/nova/mnt/0123456789abcdef0123456789abcdef';
export const SERVER = '11111111-1111-4111-8111-111111111111' as ServerId;
export const VOLUME = '22222222-2222-4222-8222-222222222222' as VolumeId;
export const SNAPSHOT = '33333333-3333-4333-8333-333333333333' as SnapshotId;
const SIZE = 2 ** 30;
export const named = (layer: number): FileName =>
  (layer === 0 ? `volume-${VOLUME}` : `volume-${VOLUME}.${layer}`) as FileName;

/** As libvirt writes it; the first disk is the volume's. */
export function domainXml(layers: number, disks: number): string {
  const below = (layer: number): string =>
    layer < 0
      ? '<backingStore/>'
      : `<backingStore type='file' index='${layer + 1}'>
        <format type='${layer === 0 ? 'raw' : 'qcow2'}'/>
        <source file='${FOLDER}/${named(layer)}'/>
        ${below(layer - 1)}
      </backingStore>`;
  const disk = (at: number) => `    <disk type='file' device='disk'>
      <driver name='qemu' type='${layers === 1 ? 'raw' : 'qcow2'}' cache='none'/>
      <source file='${FOLDER}/${named(layers - 1)}' index='${layers}'/>
      ${below(layers - 2)}
      <target dev='vd${String.fromCharCode(97 + (at % 26))}${at}' bus='virtio'/>
      <serial>${at === 0 ? VOLUME : `other-${at}`}</serial>
      <alias name='virtio-disk${at}'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x04' function='0x0'/>
    </disk>`;
  return `<domain type='qemu' id='1'>
  <name>instance-00000001</name>
  <uuid>${SERVER}</uuid>
  <devices>
${Array.from({ length: disks }, (_, at) => disk(at)).join('\n')}
  </devices>
</domain>`;
}

export function view(xml: string): DiskView {
  const domain = parseDomain(xml);
  if (!domain.ok) throw new Error(domain.error);
  const disk = diskOf(domain.value, VOLUME);
  if ('kind' in disk) throw new Error('no disk');
  return viewOf(domain.value, disk, { process: 'one', saved: false, size: SIZE, job: null });
}

export function header(backingFile: FileName | null, backingFormat: string | null): HeaderView {
  const plain = { dataFile: false, dirty: false, corrupt: false, bitmaps: false, snapshots: 0 };
  return ok({
    ...{ version: 3, clusterBits: 16, size: SIZE, headerLength: 112, fileBytes: 196_624 },
    ...{ encryption: 'none', backingFile, backingFormat, ...plain },
  } as never);
}

export function sightOf(guest: DiskView): Sight {
  const headers: Record<string, HeaderView> = {};
  for (let layer: DiskView['chain'] | null = guest.chain; layer !== null; layer = layer.on) {
    headers[layer.file] = header(layer.on?.file ?? null, layer.on?.format ?? null);
  }
  headers.new = header(guest.chain.file, guest.chain.format);
  return { guest, headers, cinder: null, known: new Map(), late: false };
}

export const idOf = (at: number) => `op-${at}` as OperationId;
export const ofNumber = (at: number) => ({
  volume: `volume-${at >> 2}` as VolumeId,
  snapshot: `snapshot-${at >> 1}` as SnapshotId,
  server: SERVER,
});

export const requestOf = (at: number) => ({
  ...ofNumber(at),
  fileToMerge: named(0),
  mergeTarget: null,
});

export const operationOf = (at: number, saga: Operation['saga']): Operation => ({
  ...{ id: idOf(at), saga, accepted: true, requestId: `req-${at}`, globalRequestId: null },
  ...{ askedAt: at, updatedAt: at },
});
