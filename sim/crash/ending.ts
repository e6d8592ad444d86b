import type { FileName } from '#domain/ids.ts';
import { coldFiles } from '../world/truth.ts';
import type { Teller } from './teller.ts';

/**
 * How a tale ended, in words that are the same for every telling of it: what the guest reads, what
 * the volume is made of by all three witnesses, what Cinder says, and what lies about.
 */
export function endingOf(teller: Teller, { bytes = true } = {}): string {
  const { world, truth, disk } = teller;
  const { cinder, share } = world.cloud;
  const { volume } = disk;
  const top = truth.running ? disk.disk.xml.file : disk.disk.config.file;
  const chain = coldFiles(share, top);
  const info: Readonly<Record<string, FileName>> = { ...cinder.info(volume) };
  const rows = [...cinder.snapshots.values()].filter((row) => row.volume === volume);
  const sorted = (all: readonly string[]) => all.map((one) => named(one, teller)).sort();
  const it = {
    reads: bytes ? truth.bytes : 'what it wrote',
    live: truth.running ? layersOf(disk.disk.chain()) : 'shut off',
    headers: chain.map((name) => {
      const header = share.file(name)?.header ?? null;
      return header === null ? name : `${name} on ${header.backing} (${header.format})`;
    }),
    info: sorted(Object.entries(info).map(([whose, file]) => `${whose}: ${file}`)),
    rows: sorted(rows.map(({ id, status }) => `${id} ${status}`)),
    attached: cinder.attachments.get(disk.attachment)?.name,
    format: cinder.volumes.get(volume)?.format,
    litter: litter(teller, chain),
    missing: Object.values(info).filter((name) => !share.files.has(name)),
  };
  return named(JSON.stringify(it, null, 1), teller);
}

type Chain = ReturnType<Teller['disk']['disk']['chain']>;

const layersOf = ({ file, format, on }: Chain): readonly string[] => [
  `${file} (${format})`,
  ...(on === null ? [] : layersOf(on)),
];

/** Files of the volume that are in no chain; what a failed attempt leaves is Cinder's habit. */
function litter(teller: Teller, chain: readonly FileName[]): readonly FileName[] {
  const { world, failed, disk } = teller;
  return [...world.cloud.share.files.keys()].filter(
    (name) =>
      name.startsWith(`volume-${disk.volume}`) &&
      !chain.includes(name) &&
      ![...failed].some((id) => name.endsWith(id)),
  );
}

function named(text: string, { names, disk }: Teller): string {
  let words = text.replaceAll(disk.volume, 'V');
  for (const [name, id] of names) words = words.replaceAll(id, name);
  return words;
}
