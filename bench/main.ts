/**
 * What we add to the bare libvirt calls, side by side on one tiny paused guest (TCG, no OS):
 * `npm run bench [-- --rounds N]`. Prints tables and writes bench/results.json.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openLab } from '../test/live/lab/lab.ts';
import { Bare } from './bare.ts';
import { Bench, type Sample } from './cycle.ts';
import { LocalCinder } from './local-cinder.ts';
import { Ours } from './ours.ts';
import { report } from './report.ts';
import { noteCalls, Trace } from './trace.ts';

/** Connections open, code compiled, and the volume as every later round finds it. */
const WARM_UP = 3;

/** Whatever becomes of the report, by then the lab is gone. */
async function measure(rounds: number): Promise<Sample[]> {
  await using lab = await openLab({ cinder: false });
  const trace = new Trace();
  noteCalls(trace);
  const bench = await Bench.open(lab);
  const cinder = new LocalCinder(bench.volume, bench.server, () => bench.active);
  const ours = lab.keep(await Ours.start(join(lab.dir, 'chainkeeper'), cinder, trace));
  const bare = lab.keep(new Bare(bench.server, ours.hypervisor, trace));
  const samples: Sample[] = [];
  for (let round = -WARM_UP; round < rounds; round++) {
    for (const side of [bare, ours]) {
      const taken = await bench.cycle(side);
      if (round >= 0) samples.push(...taken.map((sample) => ({ ...sample, round })));
    }
    if (process.stderr.isTTY) process.stderr.write(`\rround ${Math.max(0, round + 1)}/${rounds} `);
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return samples;
}

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '20' } } });
const rounds = Number(values.rounds);
if (Number.isInteger(rounds) && rounds > 0) {
  const samples = await measure(rounds);
  report(samples, rounds, join(import.meta.dirname, 'results.json'));
} else {
  process.stderr.write('--rounds is a whole number above 0\n');
  process.exitCode = 2;
}
