import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import type { Bug } from './bug.ts';
import { BUGS, CANARY, HARMLESS } from './bugs.ts';
import { BUDGET_S, hunted, noticed, tested, type Verdict } from './hunting.ts';

const USAGE = `usage: npm run planted -- [--only PATTERN] [--jobs J]

Plants every bug of test/planted/ in turn, and tells random histories, or runs the test that is the
law, until somebody notices. Then the same histories without any bug. Exits 1 unless every bug is
noticed within ${BUDGET_S} s of one core, by a law that is meant to, and nothing else is.
`;

/** At least as many histories are told without a bug. */
const CLEAN_SEEDS = 1_000;
/** As many are told of the edit that changes nothing. */
const HARMLESS_SEEDS = 200;

const say = (line: string) => process.stdout.write(`${line}\n`);

async function main(argv: readonly string[]): Promise<number> {
  const options = {
    only: { type: 'string', default: '' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    help: { type: 'boolean', default: false },
  } as const;
  const { values } = parseArgs({ args: [...argv], options });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const jobs = Number(values.jobs);
  if (!Number.isSafeInteger(jobs) || jobs < 1) throw new Error('--jobs takes a number above 0');
  const bugs = BUGS.filter(({ name }) => new RegExp(values.only).test(name));
  const began = performance.now();
  const sound = await harness(jobs);
  const verdicts = await all(bugs, jobs, async (bug) => {
    const verdict = await noticed(bug).catch(broken);
    say(line(bug, verdict));
    return verdict;
  });
  const caught = verdicts.filter(({ by }) => by !== null);
  const slowest = Math.max(0, ...caught.map(({ seconds }) => seconds));
  const noticers = [...new Set(caught.flatMap(({ by }) => by?.split(' (', 1) ?? []))].sort(inOrder);
  say(`${caught.length} of ${bugs.length} caught, the slowest in ${slowest.toFixed(1)} s`);
  say(`by ${noticers.join(', ')}`);
  const clean = await unplanted(bugs, verdicts, jobs);
  say(`${((performance.now() - began) / 1000).toFixed(0)} s in all`);
  return sound && clean && caught.length === bugs.length ? 0 : 1;
}

/** Whether the hunt itself can be trusted: it finds what is there, and nothing else. */
async function harness(jobs: number): Promise<boolean> {
  const [canary, harmless] = await all([CANARY, HARMLESS], jobs, (bug) =>
    noticed(bug, HARMLESS_SEEDS),
  );
  const found = canary !== undefined && canary.by !== null;
  say(`the canary is ${found ? `red: ${canary.by}, seed ${canary.seed}` : 'NOT RED'}`);
  const quiet = harmless !== undefined && harmless.by === null && harmless.remark === '';
  say(`an edit that changes nothing is ${quiet ? '' : 'NOT '}let pass`);
  return found && quiet;
}

/** The program as it is, in as many histories as the slowest bug took, and in each suite. */
async function unplanted(
  bugs: readonly Bug[],
  verdicts: readonly Verdict[],
  jobs: number,
): Promise<boolean> {
  const seeds = Math.max(CLEAN_SEEDS, ...verdicts.map(({ seed }) => seed ?? 0));
  const parts = Array.from({ length: jobs }, (_, at) => at + 1);
  const told = await all(parts, jobs, (from) =>
    hunted({ bug: null, from, to: seeds, step: jobs, budgetMs: Number.POSITIVE_INFINITY }),
  );
  const red = told.flatMap(({ beside }) => Object.entries(beside));
  for (const [what, seed] of red) say(`NO BUG, and ${what} is red in seed ${seed}`);
  const suites = [...new Set(bugs.flatMap(({ suite }) => suite ?? []))];
  const runs = await all(suites, jobs, (suite) => tested(suite, null));
  const failed = runs.filter(({ by }) => by !== null);
  for (const { by, remark } of failed) say(`NO BUG, and ${by} fails: ${remark}`);
  const clean = red.length === 0 && failed.length === 0;
  if (clean) say(`without a bug ${seeds} seeds and ${suites.length} tests are green`);
  return clean;
}

function line(bug: Bug, { by, seed, seconds, told, remark }: Verdict): string {
  const number = String(BUGS.indexOf(bug) + 1).padStart(3);
  const how = by === null ? `NOT CAUGHT in ${told} seeds ${remark}` : by;
  const where = seed === null ? '' : `, seed ${seed}`;
  const took = `${seconds.toFixed(1).padStart(6)} s`;
  return `${number} ${took}  ${bug.habit.padEnd(6)} ${bug.name}: ${how}${where}`;
}

/** An edit that does not apply, or a program that does not even load. */
const broken = (error: unknown): Verdict => {
  const remark = error instanceof Error ? error.message : String(error);
  return { by: null, seed: null, seconds: 0, told: 0, remark };
};

/** Works on all of them, `jobs` at a time; the answers are in the order of the questions. */
async function all<T, R>(from: readonly T[], jobs: number, work: (one: T) => Promise<R>) {
  const answers: R[] = [];
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < from.length; at = next++) {
      answers[at] = await work(from[at] as T);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  return answers;
}

const inOrder = (one: string, other: string): number =>
  one.localeCompare(other, 'en', { numeric: true });

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`chainkeeper planted: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 2;
}
