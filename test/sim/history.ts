import fc from 'fast-check';
import type { Merge } from '#domain/chain.ts';
import { type FileName, type Format, QCOW2, RAW, type VolumeId } from '#domain/ids.ts';
import { SimDisk } from '#sim/disk.ts';
import { SimJob } from '#sim/job.ts';
import { SimNode } from '#sim/node.ts';
import { SimShare } from '#sim/share.ts';

export const CLUSTERS = 6;

/** One thing a guest does: fills a cluster, or clears it. */
export type Act = readonly [cluster: number, byte: number | 'zero'];

/** What the guest did before, between and after its snapshots. */
export interface History {
  readonly format: Format;
  readonly epochs: readonly (readonly Act[])[];
}

export const act: fc.Arbitrary<Act> = fc.tuple(
  fc.nat(CLUSTERS - 1),
  fc.oneof(fc.integer({ min: 1, max: 255 }), fc.constant('zero' as const)),
);

export const history: fc.Arbitrary<History> = fc.record({
  format: fc.constantFrom(RAW, QCOW2, 'vpc' as Format),
  epochs: fc.array(fc.array(act, { maxLength: 8 }), { minLength: 1, maxLength: 6 }),
});

/** The names of the layers that a history leaves, the base first. */
export const filesOf = ({ epochs }: History): readonly FileName[] =>
  epochs.map((_, at) => (at === 0 ? 'base' : `overlay-${at}`) as FileName);

/** Lives a history again, on a share of its own. */
export function replay(past: History): SimDisk {
  const share = new SimShare();
  const [base, ...overlays] = filesOf(past) as [FileName, ...FileName[]];
  share.create(base, { format: past.format, clusters: CLUSTERS });
  const disk = new SimDisk(share, 'volume' as VolumeId, 'vda', base, past.format);
  disk.start();
  perform(disk, past.epochs[0] ?? []);
  for (const [at, name] of overlays.entries()) {
    const { file, format } = disk.chain();
    const backing = { backing: file, backingFormat: format };
    const made = share.create(name, { clusters: CLUSTERS, ...backing });
    disk.attach(new SimNode(share, made, QCOW2, null));
    perform(disk, past.epochs[at + 1] ?? []);
  }
  return disk;
}

export function perform(disk: SimDisk, acts: readonly Act[]): void {
  for (const [at, what] of acts) {
    if (what === 'zero') disk.writeZeroes(at);
    else disk.write(at, what);
  }
}

/** Every merge there can be of such a chain: what is finite is walked. */
export function everyMerge(past: History): readonly Merge[] {
  const files = filesOf(past);
  const below = files.slice(0, -1);
  const pulls = [null, ...below].map((onto) => ({ kind: 'pull', onto }) as const);
  const commits = below.slice(1).map((top, at) => {
    return { kind: 'commit', top, into: below[at] as FileName } as const;
  });
  return [...pulls, ...commits];
}

/** Begins a merge of a running disk; throws what libvirt would refuse. */
export function begin(disk: SimDisk, merge: Merge): SimJob {
  const job = SimJob.merge(disk, merge);
  if (!job.ok) throw new Error(job.error.message);
  return job.value;
}

export function finish(job: SimJob): void {
  while (job.phase !== 'over') job.step(1);
}
