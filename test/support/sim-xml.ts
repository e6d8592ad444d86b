import type { XmlDisk, XmlDomain, XmlLayer, XmlSource } from '#adapters/libvirt/domain-xml.ts';
import type { SimDisk } from '#sim/disk.ts';
import type { SimGuest } from '#sim/guest.ts';

/**
 * What libvirt would print of a simulated guest: live, and of one that is shut off what it is
 * configured as, which has no numbers and never says that there is nothing below.
 */
export const xmlOf = (guest: SimGuest): XmlDomain => ({
  name: guest.name,
  uuid: guest.server,
  id: guest.process === null ? null : 1,
  disks: guest.disks.map((disk) => diskOf(disk, disk.top !== null)),
  agent: guest.agent?.state ?? 'none',
});

/** `disk` as in the live XML, or as in the inactive one. */
export function diskOf(disk: SimDisk, live: boolean): XmlDisk {
  const layers: XmlLayer[] = [];
  for (let at = live ? disk.xml : disk.config; ; at = at.on) {
    const { file, format } = at;
    const node = live ? disk.node(file) : null;
    const protocol = (node?.file ?? disk.share.file(file))?.protocol ?? null;
    const source: XmlSource =
      protocol === null ? { kind: 'file', path: disk.path(file) } : networkOf(protocol, file);
    const key = { format: disk.cipher, engine: 'qemu', secret: disk.secret };
    const encryption = disk.keys.has(file) ? key : null;
    layers.push({ source, format, index: node?.index ?? null, encryption });
    if (at.on === null) break;
  }
  return {
    target: disk.target,
    serial: disk.volume,
    device: 'disk',
    readonly: false,
    shareable: false,
    layers,
    terminated: live && isFollowed(layers.at(-1)?.source ?? null),
    mirror: null,
  };
}

/** libvirt looks behind no network disk but those that it has a storage driver for. */
const isFollowed = (source: XmlSource | null): boolean =>
  source?.kind === 'file' || (source?.kind === 'network' && source.protocol === 'gluster');

function networkOf(protocol: string, file: string): XmlSource {
  if (protocol !== 'gluster') return { kind: 'network', protocol, name: file, hosts: [] };
  const host = { transport: 'tcp', name: 'gluster-1', port: 24007, socket: null };
  return { kind: 'network', protocol, name: `volumes/${file}`, hosts: [host] };
}
