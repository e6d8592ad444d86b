import { join } from 'node:path';
import type { VolumeKey } from '#domain/encryption.ts';
import { type GlusterPlace, nameIn, placeAt } from '../gluster/place.ts';
import type { XmlDomain } from './domain-xml.ts';

export interface RemoteFile {
  readonly place: GlusterPlace;
  readonly file: string;
}

/** Where a file of a folder is: its path, or what libvirt must be told of it. */
export function fileIn(directory: string, file: string): string | RemoteFile {
  const place = placeAt(directory);
  return place === null ? join(directory, file) : { place, file };
}

/**
 * The `<domainsnapshot>` that puts the qcow2 file at `path` on top of the disk `target`, with the
 * key that opens it. Every other disk is named with `snapshot='no'`: libvirt snapshots an
 * unmentioned writable disk too.
 */
export function snapshotXml(
  domain: XmlDomain,
  target: string,
  path: string | RemoteFile,
  key: VolumeKey | null = null,
): string {
  const local = typeof path === 'string';
  const type = local ? 'file' : 'network';
  const source = local ? sourceXml(path, key) : remoteXml(path);
  const others = domain.disks
    .filter((disk) => disk.target !== target)
    .map((disk) => `    <disk name='${escaped(disk.target)}' snapshot='no'/>\n`);
  return `<domainsnapshot>
  <disks>
    <disk name='${escaped(target)}' snapshot='external' type='${type}'>
      <driver type='qcow2'/>
      ${source}
    </disk>
${others.join('')}  </disks>
</domainsnapshot>
`;
}

/**
 * Without the key QEMU opens no encrypted file (`Parameter 'encrypt.key-secret' is required for
 * cipher`). The engine is said where libvirt says it of the other layers: of an <encryption>
 * without one 9.0 makes a configuration from which no guest starts any more (measured:
 * `Unexpected enum value 0 for virStorageEncryptionEngine`).
 */
function sourceXml(path: string, key: VolumeKey | null): string {
  if (key === null) return `<source file='${escaped(path)}'/>`;
  return `<source file='${escaped(path)}'>
        ${encryptionXml(key)}
      </source>`;
}

/** As Nova wrote it (_volume_snapshot_create in its libvirt driver). */
function remoteXml({ place, file }: RemoteFile): string {
  const { host, port } = place;
  return `<source protocol='gluster' name='${escaped(nameIn(place, file))}'>
        <host name='${escaped(host)}' port='${port}'/>
      </source>`;
}

export function encryptionXml({ secret, engine }: VolumeKey): string {
  const by = engine === null ? '' : ` engine='${escaped(engine)}'`;
  const named = `<secret type='passphrase' uuid='${escaped(secret)}'/>`;
  return `<encryption format='luks'${by}>${named}</encryption>`;
}

const ESCAPES: Readonly<Record<string, string>> = { '<': '&lt;', '>': '&gt;', '&': '&amp;' };

/** Quotes and control characters as numbers: a raw newline in an attribute reads as a space. */
export const escaped = (value: string): string =>
  value.replace(/[<>&'"\t\n\r]/g, (it) => ESCAPES[it] ?? `&#${it.charCodeAt(0)};`);
