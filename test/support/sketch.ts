import type { XmlDisk } from '#adapters/libvirt/domain-xml.ts';

/** `vda file:c qcow2 #2 < file:v raw #1 |`: top first, `|` is libvirt's "nothing below". */
export function sketch(disk: XmlDisk): string {
  const layers = disk.layers.map(({ source, format, index, encryption }) => {
    const name =
      'path' in source ? tail(source.path) : 'name' in source ? short(source.name) : source.type;
    const marks = [index === null ? null : `#${index}`, encryption?.format ?? null];
    return [`${source.kind}:${name}`, format ?? '-', ...marks].filter(Boolean).join(' ');
  });
  const mirror = disk.mirror && `mirror=${disk.mirror.job}/${disk.mirror.ready}`;
  const flags = [disk.readonly ? 'ro' : null, disk.shareable ? 'shared' : null, mirror];
  const end = disk.terminated ? '|' : null;
  return [disk.target, layers.join(' < '), end, ...flags].filter(Boolean).join(' ');
}

/** The volume is v, its snapshots by the last digit of their id. */
const tail = (path: string): string =>
  (path.split('/').at(-1) ?? '')
    .replace(/^volume-6c6ad3a0-0a3d-4d53-9c5f-0f6b8a5f0/, '')
    .replace(SNAPSHOT, 's');

const short = (name: string): string =>
  name.replace('volume-6c6ad3a0-0a3d-4d53-9c5f-0f6b8a5f0a01', 'v').replace(SNAPSHOT, 's');
const SNAPSHOT = /5a000000-0000-4000-8000-00000000000/;
