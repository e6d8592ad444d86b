import type { SeenLayer } from '#domain/chain.ts';
import type { LayerKey } from '#domain/encryption.ts';
import type { FileName } from '#domain/ids.ts';
import type { DiskView } from '#domain/sight.ts';
import type { SimDisk } from './disk.ts';
import type { SimGuest } from './guest.ts';

/** What is seen of a guest's disk in its XML. Before 1.2.4 that named the active format alone. */
export function seen(guest: SimGuest, disk: SimDisk, oldLibvirt: boolean): DiskView {
  const { target, xml } = disk;
  const job = disk.job?.info() ?? null;
  return {
    kind: 'disk',
    server: guest.server,
    target,
    process: guest.process,
    saved: guest.saved,
    ...place(disk),
    keys: keysOf(disk, xml),
    chain: shown(xml, oldLibvirt, true),
    size: job === null ? disk.bytes : null,
    job,
    agent: guest.agent?.state ?? 'none',
  };
}

/** Where the layers are; one that is reached over a network lies in no folder. */
function place(disk: SimDisk): Pick<DiskView, 'source' | 'stray'> {
  const { xml } = disk;
  const { directory } = disk.share;
  const top = protocolOf(disk, xml.file);
  let remote = top;
  let stray: DiskView['stray'] = null;
  for (let at = xml.on; at !== null; at = at.on) {
    const protocol = protocolOf(disk, at.file);
    remote ??= protocol;
    if (stray !== null || (protocol === null) === (top === null)) continue;
    stray = { file: at.file, directory: protocol === null ? directory : 'no local folder' };
  }
  if (remote === null) return { source: { kind: 'files', directory }, stray };
  return { source: { kind: 'other', type: `network (${remote})` }, stray };
}

/** A file that somebody removed is still what QEMU has open. */
function protocolOf(disk: SimDisk, name: FileName): string | null {
  const file = disk.share.file(name) ?? disk.node(name)?.file;
  return file?.protocol ?? null;
}

function keysOf(disk: SimDisk, { file, on }: SeenLayer): readonly LayerKey[] {
  const below = on === null ? [] : keysOf(disk, on);
  if (!disk.keys.has(file)) return below;
  return [{ file, format: disk.cipher, engine: 'qemu', secret: disk.secret }, ...below];
}

function shown(layer: SeenLayer, old: boolean, active: boolean): SeenLayer {
  const { file, format, on } = layer;
  return { file, format: old && !active ? null : format, on: on && shown(on, old, false) };
}
