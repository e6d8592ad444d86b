/** A thread with one bug in its own copy of the program: it tells histories until a law breaks. */
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { type Bug, type Edit, edited } from './bug.ts';
import { bugNamed } from './bugs.ts';

/** Without a `bug` it is the program as it is. The seeds are `from`, `from + step`, ... */
export interface Hunt {
  readonly bug: string | null;
  readonly from: number;
  readonly to: number;
  readonly step: number;
  /** Of one core: other work on the machine does not count. */
  readonly budgetMs: number;
}

export interface Found {
  /** The first history that broke a law which was meant to notice, and that law. */
  readonly law: string | null;
  readonly seed: number | null;
  /** How many histories were told. */
  readonly told: number;
  /** Of one core. */
  readonly seconds: number;
  /** What else was red, with the first seed of each. */
  readonly beside: Readonly<Record<string, number>>;
}

const root = join(import.meta.dirname, '../..');

async function hunt({ bug: name, from, to, step, budgetMs }: Hunt): Promise<Found> {
  const bug = name === null ? null : bugNamed(name);
  const planted = bug?.edit && plant(bug.edit);
  const { run } = await import('#sim/world/run.ts');
  const { reds } = await import('#sim/world/shrink.ts');
  if (planted?.loaded === false) throw new Error(`${bug?.edit?.file} is not part of the world`);
  const beside: Record<string, number> = {};
  let told = 0;
  for (let seed = from; seed <= to && spent() < budgetMs; seed += step) {
    const broken = reds(await run(seed, bug?.bind && { bind: bug.bind }));
    told++;
    // What throws is no planted bug but a clumsy one.
    const law = broken.includes('defect') ? undefined : broken.find((one) => isMeant(bug, one));
    if (law !== undefined) return { law, seed, told, seconds: spent() / 1000, beside };
    for (const one of broken) beside[one] ??= seed;
  }
  return { law: null, seed: null, told, seconds: spent() / 1000, beside };
}

function isMeant(bug: Bug | null, broken: string): boolean {
  return bug?.laws?.some((number) => broken === `law ${number}`) ?? false;
}

function spent(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** From now on this thread loads the file with the edit in it. */
function plant(edit: Edit): { loaded: boolean } {
  const path = join(root, edit.file);
  const url = pathToFileURL(path).href;
  const source = edited(readFileSync(path, 'utf8'), edit);
  const state = { loaded: false };
  registerHooks({
    load: (asked, context, next) => {
      if (asked !== url) return next(asked, context);
      state.loaded = true;
      return { ...next(asked, context), source };
    },
  });
  return state;
}

parentPort?.postMessage(await hunt(workerData as Hunt));
