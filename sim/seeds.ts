import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { crashes } from './crashes.ts';
import { run } from './world/run.ts';
import { shrink } from './world/shrink.ts';
import { story } from './world/story.ts';
import { count, emptyTally, merge, missing, type Tally, unseen } from './world/tally.ts';

const USAGE = `usage: npm run sim -- --seeds N [--from S] [--jobs J]
       npm run sim -- --crashes [--jobs J]

Tells N histories of the simulated world with faults, each from one seed, and holds them against
all the laws. Exits 1 and prints the story of the first red seed. One seed again, in full:
bin/chainkeeper.js sim --seed N

With --crashes: every short tale there is, with the service killed before and after every call of
it, and again before and after every call that follows; and with QEMU killed at every moment.
`;

/** As many seeds as a thread tells before it says what it found. */
const CHUNK = 100;
/** Every so many seeds one is told twice: law 19. */
const TWICE = 50;
/** With fewer seeds a kind of history may be missing by chance. */
const ENOUGH = 1_000;

interface Range {
  readonly from: number;
  readonly to: number;
}

async function main(argv: readonly string[]): Promise<number> {
  const options = {
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string', default: '1' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    crashes: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  } as const;
  const { values } = parseArgs({ args: [...argv], options });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const [seeds, from, jobs] = [values.seeds, values.from, values.jobs].map(Number) as [
    number,
    number,
    number,
  ];
  if (![seeds, from, jobs].every((it) => Number.isSafeInteger(it) && it > 0)) {
    throw new Error('--seeds, --from and --jobs take whole numbers above 0');
  }
  if (values.crashes) return crashes(jobs);
  const began = performance.now();
  const tally = await told({ from, to: from + seeds }, jobs);
  report(tally, (performance.now() - began) / 1000);
  const [first] = tally.red.sort(([one], [other]) => one - other);
  if (first !== undefined) return red(first);
  const never = seeds >= ENOUGH ? missing(tally) : [];
  for (const what of never) process.stdout.write(`never happened: ${what}\n`);
  return never.length > 0 ? 1 : 0;
}

/** All seeds, on several threads, until they are told or one is red. */
async function told({ from, to }: Range, jobs: number): Promise<Tally> {
  const tally = emptyTally();
  let next = from;
  let shown = performance.now();
  const work = (worker: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      const ask = () => {
        if (next >= to || tally.red.length > 0) return resolve();
        const range: Range = { from: next, to: Math.min(to, next + CHUNK) };
        next = range.to;
        worker.postMessage(range);
      };
      worker.on('error', reject);
      worker.on('message', (found: Tally) => {
        merge(tally, found);
        if (performance.now() - shown > 10_000) {
          shown = performance.now();
          process.stderr.write(`${tally.seeds} of ${to - from} seeds\n`);
        }
        ask();
      });
      ask();
    });
  const workers = Array.from({ length: jobs }, () => new Worker(new URL(import.meta.url)));
  try {
    await Promise.all(workers.map(work));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  return tally;
}

function report(tally: Tally, seconds: number): void {
  const { seeds, operations } = tally;
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const kinds = Object.keys(tally.faults).length;
  const rate = Math.round(operations / seconds);
  say(`${seeds} seeds, ${operations} operations in ${seconds.toFixed(1)} s: ${rate} a second`);
  say(`${kinds} kinds of faults seen`);
  for (const kind of unseen(tally)) say(`  never seen: ${kind}`);
  say('sometimes:');
  for (const [what, times] of Object.entries(tally.sometimes).sort()) {
    say(`${String(times).padStart(10)}  ${what}`);
  }
  say('red for want of a guard that is not there:');
  for (const [key, { count, first }] of Object.entries(tally.expected).sort()) {
    say(`${String(count).padStart(10)}  ${key} (first: seed ${first})`);
  }
}

/** The story of a red seed, as short as it gets. */
async function red([seed, what]: readonly [number, string]): Promise<number> {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  say(`\nseed ${seed} is red: ${what}`);
  const whole = await run(seed, { recording: true });
  const short = await shrink(whole);
  if (short === null) for (const line of story(whole)) say(line);
  else {
    say(`${whole.choices.size} decisions, ${short.choices.size} of them needed:`);
    for (const line of story(short.told)) say(line);
    say(`to keep it: ${JSON.stringify({ seed, choices: Object.fromEntries(short.choices) })}`);
  }
  return 1;
}

/** A thread tells what it is given. */
async function tell({ from, to }: Range): Promise<Tally> {
  const tally = emptyTally();
  for (let seed = from; seed < to; seed++) {
    const once = await run(seed);
    count(tally, once);
    if (seed % TWICE === 0) {
      const twice = await run(seed);
      const same = twice.digest === once.digest && twice.operations === once.operations;
      if (!same) tally.red.push([seed, 'law 19']);
    }
  }
  return tally;
}

if (!isMainThread) {
  parentPort?.on('message', (range: Range) => {
    void tell(range).then((tally) => parentPort?.postMessage(tally));
  });
} else if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`chainkeeper sim: ${error instanceof Error ? error.message : error}\n`);
    process.exitCode = 2;
  }
}
