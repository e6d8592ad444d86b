import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release } from 'node:os';
import type { Measured, Point } from './axes.ts';
import type { Curve } from './curve.ts';
import { type Sample, SIDES, type SideName, VERBS, type Verb } from './cycle.ts';
import type { Wave } from './load.ts';
import type { SimulatorSpeed } from './simulator.ts';
import { median, type Summary, summarize } from './statistics.ts';

type Of<T> = Readonly<Partial<Record<SideName, T>>>;
type Numbers = Readonly<Record<string, number>>;

/** One kind of operation at one point of an axis. */
export interface Row {
  readonly verb: Verb;
  readonly ms: Of<Summary>;
  /** Over bare, and more than bare in ms: of the two of one round, on the same guest. */
  readonly ratio: Of<Summary>;
  readonly more: Of<Summary>;
  /** What Cinder took of it. */
  readonly cinderMs: Of<number>;
  readonly phases: Of<Numbers>;
  /** How often and how long. */
  readonly calls: Readonly<Record<string, { readonly times: number; readonly ms: number }>>;
}

export interface PointResult extends Point {
  readonly rounds: number;
  readonly rates: Of<number>;
  readonly rows: readonly Row[];
  /** Of the service's processor time, for one operation. */
  readonly cpuMs: number | null;
}

export interface Results {
  readonly at: string;
  readonly quick: boolean;
  readonly machine: Readonly<Record<string, string>>;
  readonly points: readonly PointResult[];
  readonly residentMb: number | null;
  readonly load: readonly Wave[];
  readonly curves: readonly Curve[];
  readonly simulator: SimulatorSpeed | null;
}

export function summed({ samples, cpuMs, ...point }: Measured): PointResult {
  const rows = VERBS.filter((verb) => samples.some((one) => one.verb === verb)).map((verb) =>
    rowOf(
      verb,
      samples.filter((one) => one.verb === verb),
    ),
  );
  return { ...point, cpuMs, rows };
}

type Taken = Measured['samples'][number];

function rowOf(verb: Verb, samples: readonly Taken[]): Row {
  const bySide = new Map(SIDES.map((side) => [side, samples.filter((one) => one.side === side)]));
  const present = SIDES.filter((side) => bySide.get(side)!.length > 0);
  const each = <T>(value: (mine: readonly Taken[], side: SideName) => T): Of<T> =>
    Object.fromEntries(present.map((side) => [side, value(bySide.get(side)!, side)]));
  const bare = new Map(bySide.get('bare')!.map((one) => [placeOf(one), one.ms]));
  const pairs = (mine: readonly Taken[]) =>
    mine.flatMap((one) => {
      const theirs = bare.get(placeOf(one));
      return theirs === undefined ? [] : [[one.ms, theirs] as const];
    });
  return {
    verb,
    ms: each((mine) => summarize(mine.map(({ ms }) => ms))),
    ratio: each((mine) => summarize(pairs(mine).map(([ms, theirs]) => ms / theirs))),
    more: each((mine) => summarize(pairs(mine).map(([ms, theirs]) => ms - theirs))),
    cinderMs: each((mine) => median(mine.map(({ cinderMs = 0 }) => cinderMs))),
    phases: each((mine) => mediansOf(mine.map(({ phases }) => phases))),
    calls: callsOf(bySide.get('ours')!),
  };
}

const placeOf = ({ round, guest, nth }: Taken): string => `${round} ${guest} ${nth}`;

function mediansOf(all: readonly Numbers[]): Numbers {
  const names = [...new Set(all.flatMap((one) => Object.keys(one)))];
  return Object.fromEntries(names.map((name) => [name, median(all.map((one) => one[name] ?? 0))]));
}

function callsOf(mine: readonly Sample[]): Row['calls'] {
  const names = [...new Set(mine.flatMap(({ calls }) => Object.keys(calls)))];
  return Object.fromEntries(
    names.map((name) => {
      const all = mine.flatMap(({ calls }) => calls[name] ?? []);
      return [name, { times: all.length / mine.length, ms: median(all) }];
    }),
  );
}

export const machine = (): Results['machine'] => ({
  cpu: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
  kernel: release(),
  node: process.version,
  libvirt: versionOf('libvirtd'),
  qemu: versionOf('qemu-system-x86_64'),
  'load average at the start': loadavg()
    .map((it) => it.toFixed(1))
    .join(' '),
});

const versionOf = (program: string): string =>
  execFileSync(program, ['--version'], { encoding: 'utf8' }).split('\n')[0] ?? '';
