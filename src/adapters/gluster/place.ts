import { fileName } from '#domain/ids.ts';

/**
 * A folder of a GlusterFS volume, as Cinder's GlusterFS driver and Nova named one: by one server,
 * over TCP (nova/virt/libvirt/volume/glusterfs.py). Those of more than one, or over another
 * transport, have no place here, because nothing has shown that the rest holds for them.
 */
export interface GlusterPlace {
  readonly host: string;
  readonly port: number;
  readonly volume: string;
  /** Inside the volume, without a slash at either end; empty is the top. */
  readonly folder: string;
}

const PORT = 24007;

/** Where the named image lies, from libvirt's `name` and `<host>`; null for what is none. */
export function placeOf(name: string, host: string, port: number | null): GlusterPlace | null {
  // libvirt 9.0 finds what lies below a start's topmost file at `volume/./file` (measured).
  const [volume = '', ...rest] = name.split('/').filter((part) => part !== '.');
  const folders = rest.slice(0, -1);
  const plain = rest.length > 0 && [volume, ...folders].every((part) => fileName(part) !== null);
  if (!plain || !HOST.test(host)) return null;
  return { host, port: port ?? PORT, volume, folder: folders.join('/') };
}

/** The same as QEMU writes it, which to the domain is the name of a folder. */
export function urlOf({ host, port, volume, folder }: GlusterPlace): string {
  const server = host.includes(':') ? `[${host}]` : host;
  return [`gluster://${server}:${port}`, volume, folder].filter(Boolean).join('/');
}

/** What `urlOf` wrote, or null for a folder of this host. */
export function placeAt(directory: string): GlusterPlace | null {
  const [, six, four, port, name] =
    /^gluster:\/\/(?:\[([^\]/]+)\]|([^:/[\]]+)):(\d{1,5})\/(.+)$/.exec(directory) ?? [];
  const host = six ?? four;
  return host === undefined ? null : placeOf(`${name}/x`, host, Number(port));
}

/** What libvirt calls the image. */
export const nameIn = ({ volume, folder }: GlusterPlace, file: string): string =>
  [volume, folder, file].filter(Boolean).join('/');

/** A name or an address, and nothing that an option of QEMU's would end at. */
const HOST = /^[A-Za-z0-9][A-Za-z0-9.-]{0,253}$|^[0-9A-Fa-f:.]{2,45}$/;
