/**
 * What we add to the bare libvirt calls, side by side with Nova's own driver on tiny paused guests
 * (TCG, no OS): `npm run bench`. Writes bench/results.json, the plots and the tables of
 * docs/PERFORMANCE.md.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Lab } from '../test/live/lab/lab.ts';
import type { Point, Rounds } from './axes.ts';
import type { PointResult, Results } from './results.ts';

const USAGE = `usage: npm run bench [-- OPTIONS]

  --full             every point, round and size, as without --quick
  --quick            fewer points, rounds and sizes (some 4 minutes instead of 15)
  --gate             ours beside the bare calls only; exit 1 when the ratio is above its bound
  --only PART,...    of axes, load, curves, simulator; the rest is as in bench/results.json
  --rounds N         of the point that all axes start from
  --render           draws and writes what bench/results.json has; measures nothing
`;

const FILE = join(import.meta.dirname, 'results.json');
const BASE: Point = { depth: 8, guests: 1, mib: 0 };
const PARTS = ['axes', 'load', 'curves', 'simulator'] as const;
type Part = (typeof PARTS)[number];

/** One axis at a time. */
const FULL: readonly (Partial<Point> & Rounds)[] = [
  { rounds: 12, warmUp: 2 },
  { depth: 1, rounds: 8, warmUp: 1 },
  { depth: 32, rounds: 4, warmUp: 1 },
  { depth: 128, rounds: 2, warmUp: 0, names: ['bare', 'ours', 'nova'] },
  { guests: 10, rounds: 3, warmUp: 0 },
  { guests: 50, rounds: 1, warmUp: 0 },
  { mib: 64, rounds: 4, warmUp: 0 },
  { mib: 1024, rounds: 3, warmUp: 0, names: ['bare', 'ours', 'nova'] },
];
const QUICK: typeof FULL = [
  { rounds: 5, warmUp: 1 },
  { depth: 1, rounds: 3, warmUp: 1 },
  { depth: 32, rounds: 2, warmUp: 0 },
  { guests: 10, rounds: 1, warmUp: 0 },
  { mib: 64, rounds: 2, warmUp: 0 },
];
const GATE: Rounds = { rounds: 12, warmUp: 2, names: ['bare', 'ours'] };

interface Options {
  readonly quick: boolean;
  readonly parts: ReadonlySet<Part>;
  readonly rounds: number | null;
}

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      full: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      gate: { type: 'boolean', default: false },
      render: { type: 'boolean', default: false },
      only: { type: 'string' },
      rounds: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const named = values.only?.split(',') ?? PARTS;
  const parts = new Set(PARTS.filter((part) => named.includes(part)));
  const rounds = values.rounds === undefined ? null : Number(values.rounds);
  const both = values.quick && values.full;
  const wrong = parts.size < named.length || (rounds !== null && !(rounds > 0)) || both;
  if (values.help || wrong) {
    process[wrong ? 'stderr' : 'stdout'].write(USAGE);
    return wrong ? 2 : 0;
  }
  // Before the first use of libuv's threads, as bin/chainkeeper.js does it.
  process.env.UV_THREADPOOL_SIZE ??= '32';
  const { document, tables } = await import('./document.ts');
  if (values.gate) return gate(rounds);
  if (!values.render) {
    const results = await measureAll({ quick: values.quick, parts, rounds });
    writeFileSync(FILE, `${JSON.stringify(results)}\n`);
    console.log(tables(results));
  }
  document(JSON.parse(readFileSync(FILE, 'utf8')));
  return 0;
}

async function measureAll({ quick, parts, rounds }: Options): Promise<Results> {
  const { machine } = await import('./results.ts');
  const before: Pick<Results, 'points' | 'residentMb' | 'load' | 'curves' | 'simulator'> =
    parts.size < PARTS.length && existsSync(FILE)
      ? JSON.parse(readFileSync(FILE, 'utf8'))
      : { points: [], residentMb: null, load: [], curves: [], simulator: null };
  const has = (part: Part) => parts.has(part);
  const about = { at: new Date().toISOString(), quick, machine: machine() };
  const axes = has('axes') ? await inLab((lab) => allAxes(lab, quick, rounds)) : before;
  const { load } = await import('./load.ts');
  const { curves } = await import('./curves.ts');
  const { simulator } = await import('./simulator.ts');
  const size = quick ? { guests: 10, disks: 20 } : { guests: 50, disks: 20 };
  return {
    ...about,
    points: axes.points,
    residentMb: axes.residentMb,
    load: has('load') ? await inLab((lab) => load(lab, size)) : before.load,
    curves: has('curves') ? await curves(quick) : before.curves,
    simulator: has('simulator') ? await simulator(quick ? 50 : 200) : before.simulator,
  };
}

async function allAxes(lab: Lab<null>, quick: boolean, rounds: number | null) {
  const { measure, openSides } = await import('./axes.ts');
  const { summed } = await import('./results.ts');
  await using sides = await openSides(lab);
  const points: PointResult[] = [];
  for (const [at, { rounds: usual, warmUp, names, ...axis }] of (quick ? QUICK : FULL).entries()) {
    const often = at === 0 ? (rounds ?? usual) : usual;
    const how = { rounds: often, warmUp, ...(names && { names }) };
    points.push(summed(await measure(lab, sides, { ...BASE, ...axis }, how)));
  }
  return { points, residentMb: sides.served.residentMb() };
}

async function gate(rounds: number | null): Promise<number> {
  const { measure, openBareAndOurs } = await import('./axes.ts');
  const { summed } = await import('./results.ts');
  const { BOUNDS, tooSlow } = await import('./gate.ts');
  const point = await inLab(async (lab) => {
    await using sides = await openBareAndOurs(lab);
    const how = { ...GATE, ...(rounds !== null && { rounds }) };
    return summed(await measure(lab, sides, BASE, how));
  });
  for (const { verb, ratio, more, ms } of point.rows) {
    const { median, lower, upper, n } = ratio.ours!;
    const half = `${lower.toFixed(2)}..${upper.toFixed(2)}`;
    const by = `${ms.bare!.median.toFixed(1)} ms and ${more.ours!.median.toFixed(1)} more`;
    const much = `${median.toFixed(2)} (middle half of ${n} pairs ${half})`;
    console.log(`${verb}: ${much} of at most ${BOUNDS[verb]}; ${by}`);
  }
  const slow = tooSlow(point);
  for (const one of slow) console.log(`too slow: ${one}`);
  return slow.length > 0 ? 1 : 0;
}

/** Whatever becomes of the results, by then the lab is gone. */
async function inLab<T>(work: (lab: Lab<null>) => Promise<T>): Promise<T> {
  const { openLab } = await import('../test/live/lab/lab.ts');
  await using lab = await openLab({ cinder: false });
  return await work(lab);
}

process.exitCode = await main(process.argv.slice(2));
