import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type Bug, edited } from './bug.ts';
import type { Found, Hunt } from './hunt.ts';

const root = join(import.meta.dirname, '../..');

/** No planted bug may take longer, in seconds of one core. */
export const BUDGET_S = 60;
/** More histories than this are not told to find one. */
const MOST_SEEDS = 20_000;
/** A thread that does not come back, however busy the machine is. */
const HANGS_MS = 600_000;

/** Who noticed the bug: a law with its seed, or a test; null when nobody did. */
export interface Verdict {
  readonly by: string | null;
  readonly seed: number | null;
  readonly seconds: number;
  readonly told: number;
  /** Why nobody did, or what else is wrong. */
  readonly remark: string;
}

/** Plants a bug and waits until it is noticed. Throws when it cannot be planted. */
export async function noticed(bug: Bug, mostSeeds = MOST_SEEDS): Promise<Verdict> {
  if (bug.edit !== undefined) edited(readFileSync(join(root, bug.edit.file), 'utf8'), bug.edit);
  if (bug.suite !== undefined) return tested(bug.suite, bug.name);
  const budgetMs = BUDGET_S * 1000;
  const found = await hunted({ bug: bug.name, from: 1, to: mostSeeds, step: 1, budgetMs });
  const beside = Object.entries(found.beside).map(([what, seed]) => `${what} in seed ${seed}`);
  return { ...found, by: found.law, remark: beside.join(', ') };
}

/** Tells histories in a thread of its own. */
export function hunted(hunt: Hunt): Promise<Found> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./hunt.ts', import.meta.url), { workerData: hunt });
    const fail = (error: unknown) => reject(new Error(`${hunt.bug}: ${error}`, { cause: error }));
    const hangs = setTimeout(() => fail('it never ends'), HANGS_MS);
    const over = () => {
      clearTimeout(hangs);
      void worker.terminate();
    };
    worker.on('message', resolve);
    worker.on('error', fail);
    worker.on('exit', () => fail('the thread ended without a word'));
    worker.once('message', over);
    worker.once('error', over);
  });
}

/** Runs a test file with the bug in it, or without; whether a test of it fails. */
export async function tested(suite: string, bug: string | null): Promise<Verdict> {
  const began = performance.now();
  const folder = await mkdtemp(join(tmpdir(), 'planted-'));
  try {
    const { numTotalTests, testResults } = await reportOf(suite, bug, join(folder, 'report.json'));
    if (numTotalTests === 0) throw new Error(`${suite} cannot be run`);
    const results = testResults.flatMap(({ assertionResults }) => assertionResults);
    const failed = results.find(({ status }) => status === 'failed');
    const seconds = (performance.now() - began) / 1000;
    const by = failed === undefined ? null : `${suite} (${failed.fullName})`;
    return { by, seed: null, seconds, told: 0, remark: '' };
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function reportOf(suite: string, bug: string | null, report: string): Promise<Report> {
  const config = join(import.meta.dirname, 'vitest.config.ts');
  const where = ['--config', config, '--root', root, '--reporter=json', `--outputFile=${report}`];
  const args = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...where, suite];
  const env = { ...process.env, PLANTED: bug ?? '' };
  const child = spawn(process.execPath, args, {
    cwd: root,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
  try {
    return JSON.parse(await readFile(report, 'utf8')) as Report;
  } catch {
    throw new Error(`${suite}: ${errors}`);
  }
}

interface Report {
  readonly numTotalTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}
