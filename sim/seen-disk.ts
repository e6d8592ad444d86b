import type { SeenLayer } from '#domain/chain.ts';
import type { LayerKey } from '#domain/encryption.ts';
import type { FileName } from '#domain/ids.ts';
import type { DiskView, Job } from '#domain/sight.ts';
import type { LookOrder } from '#ports/hypervisor.ts';
import { namesOf, type SimDisk } from './disk.ts';
import type { SimGuest } from './guest.ts';
import { CLUSTER_BYTES, GLUSTER } from './share.ts';

/** What is seen of a guest's disk in its XML. Before 1.2.4 that named the active format alone. */
export function seen(guest: SimGuest, disk: SimDisk, oldLibvirt: boolean): DiskView {
  const { target, xml } = disk;
  const job = inBytes(disk.job?.info() ?? null);
  const remote = protocolOf(disk, xml.file) !== null;
  return {
    kind: 'disk',
    server: guest.server,
    target,
    process: guest.process,
    saved: guest.saved,
    ...place(disk),
    keys: keysOf(disk, xml),
    chain: shown(xml, oldLibvirt, true),
    // libvirt would have to open the file for it, which takes longer than anybody waits.
    size: job !== null || (guest.process === null && remote) ? null : disk.bytes,
    job,
    agent: guest.agent?.state ?? 'none',
  };
}

/** Whether the XML alone says what was wanted. */
export const isSettled = ({ process, chain, job }: DiskView, { settled }: LookOrder): boolean =>
  process === settled?.process &&
  job?.mirror === undefined &&
  namesOf(chain).join('/') === settled?.chain.join('/');

/** Where the layers are: all in one folder, of the host or over a network. */
function place(disk: SimDisk): Pick<DiskView, 'source' | 'stray'> {
  const { share } = disk;
  const protocols: (string | null)[] = [];
  let stray: DiskView['stray'] = null;
  for (let at: SeenLayer | null = disk.xml; at !== null; at = at.on) {
    const protocol = protocolOf(disk, at.file);
    protocols.push(protocol);
    const directory = share.home(protocol);
    if (stray !== null || directory === share.home(protocols[0] ?? null)) continue;
    stray = { file: at.file, directory: directory ?? 'no local folder' };
  }
  const [top = null] = protocols;
  // A local file can stand on a remote one, and then it is neither.
  const odd = protocols.find((one) => one !== null && (one !== GLUSTER || top !== GLUSTER));
  if (odd != null) return { source: { kind: 'other', type: `network (${odd})` }, stray };
  const kind = top === null ? 'files' : 'remote';
  return { source: { kind, directory: share.home(top) ?? '' }, stray };
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

/** As libvirt tells it of QEMU; 0 of 1 and 1 of 1 are its words for what has no numbers. */
function inBytes(job: Job | null): Job | null {
  if (job === null || job.total === 1) return job;
  return { ...job, done: job.done * CLUSTER_BYTES, total: job.total * CLUSTER_BYTES };
}
