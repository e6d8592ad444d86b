import { basename, dirname, resolve } from 'node:path';
import type { SeenLayer } from '#domain/chain.ts';
import type { LayerKey } from '#domain/encryption.ts';
import { type FileName, type Format, fileName, type ServerId, type VolumeId } from '#domain/ids.ts';
import type { DiskView, GuestView, Job } from '#domain/sight.ts';
import { placeOf, urlOf } from '../gluster/place.ts';
import type { XmlDisk, XmlDomain, XmlLayer, XmlSource } from './domain-xml.ts';
import type { JobInfo } from './guest-calls.ts';

/** The disk of a volume in a domain: by serial, which survives every operation (measured). */
export function diskOf(
  domain: XmlDomain,
  volume: VolumeId,
): XmlDisk | Extract<GuestView, { kind: 'absent' }> {
  const server = domain.uuid as ServerId;
  const [only, ...others] = domain.disks.filter((disk) => disk.serial === volume);
  if (only === undefined || only.layers.length === 0) {
    return { kind: 'absent', why: { kind: 'disk-not-found', server, volume } };
  }
  if (others.length === 0) return only;
  const targets = [only, ...others].map((disk) => disk.target);
  return { kind: 'absent', why: { kind: 'ambiguous-disk', server, volume, targets } };
}

/** What is not in the XML; `unasked` as in `DiskView`. */
export interface Facts {
  readonly process: string | null;
  readonly saved: boolean;
  readonly size: number | null;
  readonly job: JobInfo | null;
  readonly unasked?: true;
}

/** What libvirt shows of a disk, in the domain's words. */
export function viewOf(domain: XmlDomain, disk: XmlDisk, facts: Facts): DiskView {
  const names = namesOf(disk);
  const directories = disk.layers.map((layer) => directoryOf(layer.source));
  const home = directories[0] ?? null;
  const astray = directories.findIndex((directory) => directory !== home);
  const odd = oddSource(disk, names, facts.process !== null);
  return {
    kind: 'disk',
    server: domain.uuid as ServerId,
    target: disk.target,
    process: facts.process,
    saved: facts.saved,
    source:
      odd === null && home !== null
        ? { kind: disk.layers[0]?.source.kind === 'network' ? 'remote' : 'files', directory: home }
        : { kind: 'other', type: odd ?? 'unknown' },
    stray:
      astray < 0
        ? null
        : { file: names[astray] as FileName, directory: directories[astray] ?? 'no local folder' },
    keys: keysOf(disk.layers, names),
    chain: linked(disk.layers, names),
    size: facts.size,
    job: jobOf(disk, facts.job),
    ...(facts.unasked && { unasked: true }),
    agent: domain.agent,
  };
}

/** Whether its layers have these names, the active one first. */
export const hasChain = (disk: XmlDisk, names: readonly FileName[]): boolean =>
  namesOf(disk).join('/') === names.join('/');

/** The names of its layers, the active one first. */
export const namesOf = ({ layers }: XmlDisk) => layers.map((layer) => nameOf(layer.source));

/** Why a disk's files cannot be handled as files by name, or null. */
function oddSource(disk: XmlDisk, names: readonly string[], running: boolean): string | null {
  const [active] = disk.layers;
  for (const [at, { source }] of disk.layers.entries()) {
    if (source.kind === 'network') {
      const odd = oddNetwork(source);
      // A file of this host can stand on a network disk, which Cinder never makes.
      if (odd !== null || active?.source.kind !== 'network') return odd ?? networkOf(source);
    }
    if (source.kind === 'other') return source.type;
    if (source.kind === 'block') return 'block device';
    if (fileName(names[at] ?? '') === null) return 'file with an unusual name';
  }
  if (active?.source.kind !== 'network' || disk.terminated || !running) return null;
  return `${networkOf(active.source)} whose chain libvirt does not follow to its end`;
}

type Network = Extract<XmlSource, { kind: 'network' }>;

const networkOf = ({ protocol }: Network): string => `network (${protocol})`;

function oddNetwork(source: Network): string | null {
  if (source.protocol !== 'gluster') return networkOf(source);
  const [host, ...others] = source.hosts;
  if (others.length > 0) return `${networkOf(source)} with several servers`;
  if (host?.transport !== 'tcp') return `${networkOf(source)} over ${host?.transport ?? 'nothing'}`;
  return remoteOf(source) === null ? `${networkOf(source)} with an unusual name` : null;
}

function remoteOf({ protocol, name, hosts: [host] }: Network): string | null {
  if (protocol !== 'gluster' || host?.name == null) return null;
  const place = placeOf(name, host.name, host.port);
  return place && urlOf(place);
}

function keysOf(layers: readonly XmlLayer[], names: readonly string[]): readonly LayerKey[] {
  return layers.flatMap(({ encryption }, at) =>
    encryption === null ? [] : [{ file: names[at] as FileName, ...encryption }],
  );
}

function linked(layers: readonly XmlLayer[], names: readonly string[]): SeenLayer {
  let below: SeenLayer | null = null;
  for (const [at, layer] of [...layers.entries()].reverse()) {
    below = { file: names[at] as FileName, format: layer.format as Format | null, on: below };
  }
  return below ?? { file: '' as FileName, format: null, on: null };
}

/** The last part of a path, or of a network volume's name (gluster: `volume/folder/file`). */
export function nameOf(source: XmlSource): string {
  switch (source.kind) {
    case 'file':
    case 'block':
      return basename(source.path);
    case 'network':
      return source.name.split('/').at(-1) ?? '';
    case 'other':
      return source.type;
  }
}

function directoryOf(source: XmlSource): string | null {
  if (source.kind === 'network') return remoteOf(source);
  return source.kind === 'other' ? null : dirname(source.path);
}

// virDomainBlockJobType.
const JOB_KINDS: readonly Job['kind'][] = ['other', 'pull', 'copy', 'commit', 'active-commit'];

/** A mirror without a job is an active commit or copy between its pivot and its end (measured). */
function jobOf(disk: XmlDisk, info: JobInfo | null): Job | null {
  const { mirror } = disk;
  if (info !== null) {
    const job = { kind: JOB_KINDS[info.type] ?? 'other', done: info.cur, total: info.end };
    if (job.kind !== 'active-commit' || mirror === null) return job;
    const into = nameOf(mirror.source) as FileName;
    return { ...job, mirror: { into, ready: mirror.ready === 'yes' } };
  }
  if (mirror === null) return null;
  const kind = mirror.job === 'copy' ? 'copy' : 'active-commit';
  return { kind, done: 0, total: 0 };
}

/**
 * A disk whose files lie where the operator has not allowed volumes counts as no file at all; one
 * on a network lies in no folder of this host.
 */
export function within(view: DiskView, directories: readonly string[]): DiskView {
  const { source } = view;
  if (source.kind === 'other' || directories.length === 0) return view;
  const inside = (folder: string) => `${source.directory}/`.startsWith(`${resolve(folder)}/`);
  if (directories.some(inside)) return view;
  const type = `file outside [libvirt] volume_directories (${source.directory})`;
  return { ...view, source: { kind: 'other', type } };
}

export const NO_SOURCE = { kind: 'other', type: 'none' } as const;

/** A layer by its index, which is exact; by its path where an old libvirt gives none. */
export function locate(disk: XmlDisk, file: FileName): string {
  const layer = disk.layers.find(({ source }) => nameOf(source) === file);
  if (layer?.index != null) return `${disk.target}[${layer.index}]`;
  return layer !== undefined && 'path' in layer.source ? layer.source.path : file;
}
