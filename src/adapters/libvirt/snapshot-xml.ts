import type { VolumeKey } from '#domain/encryption.ts';
import type { XmlDomain } from './domain-xml.ts';

/**
 * The `<domainsnapshot>` that puts the qcow2 file at `path` on top of the disk `target`, with the
 * key that opens it. Every other disk is named with `snapshot='no'`: libvirt snapshots an
 * unmentioned writable disk too.
 */
export function snapshotXml(
  domain: XmlDomain,
  target: string,
  path: string,
  key: VolumeKey | null = null,
): string {
  const others = domain.disks
    .filter((disk) => disk.target !== target)
    .map((disk) => `    <disk name='${escaped(disk.target)}' snapshot='no'/>\n`);
  return `<domainsnapshot>
  <disks>
    <disk name='${escaped(target)}' snapshot='external' type='file'>
      <driver type='qcow2'/>
      ${sourceXml(path, key)}
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

export function encryptionXml({ secret, engine }: VolumeKey): string {
  const by = engine === null ? '' : ` engine='${escaped(engine)}'`;
  const named = `<secret type='passphrase' uuid='${escaped(secret)}'/>`;
  return `<encryption format='luks'${by}>${named}</encryption>`;
}

const ESCAPES: Readonly<Record<string, string>> = { '<': '&lt;', '>': '&gt;', '&': '&amp;' };

/** Quotes and control characters as numbers: a raw newline in an attribute reads as a space. */
export const escaped = (value: string): string =>
  value.replace(/[<>&'"\t\n\r]/g, (it) => ESCAPES[it] ?? `&#${it.charCodeAt(0)};`);
