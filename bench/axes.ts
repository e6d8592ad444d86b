import { join } from 'node:path';
import type { Lab } from '../test/live/lab/lab.ts';
import { startNova } from '../test/live/nova/nova.ts';
import { Bare } from './bare.ts';
import { Rig, type Sample, SIDES, type Side, type SideName } from './cycle.ts';
import { HttpCinder } from './http-cinder.ts';
import { LocalCinder } from './local-cinder.ts';
import { Ours } from './ours.ts';
import type { Phases } from './phases.ts';
import { Remote } from './remote.ts';
import { Served } from './served.ts';
import { noteCalls, Trace } from './trace.ts';

export interface Point {
  /** Layers of the chain before the first operation. */
  readonly depth: number;
  /** Guests that are worked on at the same time. */
  readonly guests: number;
  /** In each layer. */
  readonly mib: number;
}

export interface Measured extends Point {
  readonly rounds: number;
  readonly samples: readonly (Sample & { readonly round: number; readonly guest: number })[];
  /** By side: operations in a second, all guests together. */
  readonly rates: Readonly<Partial<Record<SideName, number>>>;
  /** Of the service's processor time, for one operation of the side `http`. */
  readonly cpuMs: number | null;
}

export interface Some extends AsyncDisposable {
  readonly of: Readonly<Partial<Record<SideName, Side>>>;
  readonly served: Served | null;
}

export interface Sides extends Some {
  readonly served: Served;
}

const MIB = 1024 * 1024;
/** What Cinder would find in a layer that hardly anybody wrote to. */
const LITTLE = 65_536;
/** Nova looks at Cinder and at its copy of the attachment once it is done. */
const NOVA_RESTS_MS = 60;
const OURS_RESTS_MS = 15;

/** All that are measured side by side, on one machine and one libvirtd. */
export async function openSides(lab: Lab<null>): Promise<Sides> {
  await using parts = new AsyncDisposableStack();
  const { of: own } = parts.use(await openBareAndOurs(lab));
  const cinder = parts.use(await HttpCinder.open());
  const served = parts.use(await Served.start(join(lab.dir, 'served'), cinder.endpoint));
  const where = { dir: lab.dir, libvirt: lab.libvirt, cinder };
  const nova = parts.use(await startNova(where));
  const beside = parts.use(await startNova(where, served.socket));
  const phases = parts.use(served.phases());
  const remote = (name: Remote['name'], url: string, restMs: number, own: Phases | null) =>
    parts.use(new Remote(name, url, cinder, restMs, own));
  const of = {
    ...own,
    http: remote('http', served.url, OURS_RESTS_MS, phases),
    nova: remote('nova', nova.url, NOVA_RESTS_MS, null),
    'nova+ours': remote('nova+ours', beside.url, NOVA_RESTS_MS, phases),
  };
  const all = parts.move();
  return { of, served, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

export async function openBareAndOurs(lab: Lab<null>): Promise<Some> {
  await using parts = new AsyncDisposableStack();
  const trace = new Trace();
  noteCalls(trace);
  const folder = join(lab.dir, 'in-process');
  const ours = parts.use(await Ours.start(folder, new LocalCinder(), trace));
  const bare = parts.use(new Bare(ours.hypervisor));
  const all = parts.move();
  return { of: { bare, ours }, served: null, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** In each round every side has its turn on the same guests, and another one begins. */
export async function measure(
  lab: Lab<null>,
  sides: Some,
  point: Point,
  { rounds, warmUp, names = SIDES }: Rounds,
): Promise<Measured> {
  const { depth, guests, mib } = point;
  await using open = new AsyncDisposableStack();
  const bytes = mib === 0 ? LITTLE : mib * MIB;
  const rigs: Rig[] = [];
  for (let at = 0; at < guests; at++) rigs.push(open.use(await Rig.open(lab, { depth, bytes })));
  const samples: Measured['samples'][number][] = [];
  let cpuMs = 0;
  const busy: Partial<Record<SideName, { count: number; ms: number }>> = {};
  for (let round = -warmUp; round < rounds; round++) {
    for (const at of names.keys()) {
      const name = names[(at + round + warmUp) % names.length]!;
      const side = sides.of[name];
      if (side === undefined) throw new Error(`nobody is ${name}`);
      const cpu = name === 'http' ? (sides.served?.cpuMs() ?? 0) : 0;
      const began = performance.now();
      const taken = await Promise.all(rigs.map((rig) => rig.cycle(side)));
      if (round < 0) continue;
      const sum = busy[name] ?? { count: 0, ms: 0 };
      sum.count += taken.flat().length;
      sum.ms += performance.now() - began;
      if (name === 'http') cpuMs += (sides.served?.cpuMs() ?? 0) - cpu;
      busy[name] = sum;
      for (const [guest, all] of taken.entries()) {
        samples.push(...all.map((sample) => ({ ...sample, round, guest })));
      }
    }
    tell(`depth ${depth}, ${guests} guests, ${mib} MiB: round ${Math.max(0, round + 1)}/${rounds}`);
  }
  const rates = Object.fromEntries(
    Object.entries(busy).map(([name, { count, ms }]) => [name, (1000 * count) / ms]),
  );
  return { ...point, rounds, samples, rates, cpuMs: busy.http ? cpuMs / busy.http.count : null };
}

export interface Rounds {
  readonly rounds: number;
  readonly warmUp: number;
  readonly names?: readonly SideName[];
}

/** On a terminal, in the one line that the next word replaces. */
export function tell(what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${what}`);
  else process.stderr.write(`${what}\n`);
}
