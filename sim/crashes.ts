import { availableParallelism } from 'node:os';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { cutOff, cutting } from './crash/cuts.ts';
import {
  AWAY,
  type Count,
  dying,
  emptyCount,
  firstDeaths,
  merge,
  type Point,
  undisturbed,
} from './crash/points.ts';
import { TALES } from './crash/tales.ts';

/** A piece of work for one thread: all that follows from one death, or the cuts of one moment. */
type Task = { readonly tale: number } & (
  | { readonly kind: 'once' | 'twice'; readonly first: Point['first'] }
  | { readonly kind: 'QEMU'; readonly nth: number }
);
type Found = { readonly tale: number; readonly kind: Task['kind']; readonly count: Count };

/** `npm run sim -- --crashes`: every crash of every tale, once, twice, and of QEMU. */
export async function crashes(jobs = availableParallelism()): Promise<number> {
  const began = performance.now();
  const tasks = (await Promise.all(TALES.map((_, at) => tasksOf(at)))).flat();
  const found = new Map<string, Count>();
  const work = (worker: Worker): Promise<void> =>
    new Promise((resolve, reject) => {
      const next = () => {
        const task = tasks.shift();
        if (task === undefined) resolve();
        else worker.postMessage(task);
      };
      worker.on('error', reject);
      worker.on('message', ({ tale, kind, count }: Found) => {
        const key = `${tale} ${kind}`;
        const known = found.get(key) ?? emptyCount();
        merge(known, count);
        found.set(key, known);
        next();
      });
      next();
    });
  const workers = Array.from({ length: jobs }, () => {
    return new Worker(new URL(import.meta.url), { workerData: MINE });
  });
  try {
    await Promise.all(workers.map(work));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  const red = report(found);
  say(`${((performance.now() - began) / 1000).toFixed(1)} s on ${jobs} threads`);
  return red ? 1 : 0;
}

async function tasksOf(tale: number): Promise<readonly Task[]> {
  const it = TALES[tale];
  if (it === undefined) return [];
  const deaths = firstDeaths(await undisturbed(it));
  const { moments } = await cutting(it, null);
  return [
    ...deaths.flatMap((first) => [
      { tale, kind: 'once', first } as const,
      { tale, kind: 'twice', first } as const,
    ]),
    ...Array.from({ length: moments }, (_, nth) => ({ tale, kind: 'QEMU', nth }) as const),
  ];
}

/** Does one task. */
async function perform(task: Task): Promise<Found> {
  const { kind } = task;
  const tale = TALES[task.tale];
  const count = emptyCount();
  if (tale === undefined) return { tale: task.tale, kind, count };
  if (task.kind === 'QEMU') merge(count, await cutOff(tale, () => [task.nth]));
  else {
    const { ending } = await undisturbed(tale);
    const all = () => task.kind === 'twice';
    const aways = task.kind === 'twice' ? AWAY.slice(0, 1) : AWAY.slice(1);
    for (const away of aways) merge(count, await dying(tale, ending, task.first, away, all));
  }
  return { tale: task.tale, kind, count };
}

function report(found: ReadonlyMap<string, Count>): boolean {
  const total = emptyCount();
  for (const [at, { name }] of TALES.entries()) {
    say(name);
    for (const kind of ['once', 'twice', 'QEMU'] as const) {
      const count = found.get(`${at} ${kind}`);
      if (count === undefined) continue;
      say(`  ${NAMES[kind].padEnd(44)} ${words(count)}`);
      merge(total, count);
    }
  }
  say(`all: ${words(total)}`);
  for (const [guard, times] of Object.entries(total.expected)) {
    say(`  red for want of a guard that is not there: ${times} of ${guard}`);
  }
  for (const red of total.red.slice(0, 5)) say(`RED ${red}`);
  return total.red.length > 0;
}

const NAMES = {
  once: 'the service killed, away 0.3, 12 and 70 s',
  twice: 'killed, away 1.5 s, and killed again',
  QEMU: 'QEMU killed, alone or with the service',
} as const;

function words({ points, same, again, expected, red }: Count): string {
  const guards = Object.values(expected).reduce((sum, one) => sum + one, 0);
  const rest = `${guards} for want of a guard, ${red.length} red`;
  return `${points} points: ${same} the same end, ${again} when asked again, ${rest}`;
}

/** Tells a thread of this file from those of others that import it. */
const MINE = 'crashes';

const say = (line: string) => void process.stdout.write(`${line}\n`);

if (workerData === MINE) {
  parentPort?.on('message', (task: Task) => {
    void perform(task).then((found) => parentPort?.postMessage(found));
  });
}
