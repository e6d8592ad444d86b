/**
 * Random histories of a disk, lived on the sim and on real QEMU through libvirt: after each act
 * both must have answered the same and be in the same state. Where they differ the sim is wrong.
 *
 *   CK_DIFFERENTIAL=200 CK_DIFFERENTIAL_SEED=1 npm run test:live -- test/live/differential.test.ts
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { actOf } from '../support/acts.ts';
import { type History, historyOf, shrunk } from '../support/histories.ts';
import { differences } from '../support/side.ts';
import { SimulatedSide } from '../support/simulated-side.ts';
import { type Machine, machineOf } from './differential/machine.ts';
import { RealSide } from './differential/real-side.ts';
import { type Lab, openLab } from './lab/lab.ts';

const HISTORIES = Number(process.env.CK_DIFFERENTIAL ?? 40);
const SEED = Number(process.env.CK_DIFFERENTIAL_SEED ?? 1);
/** libvirt takes over a second to notice that a QEMU is gone, mostly waiting. */
const AT_ONCE = 4;
const SHRINKING_TRIES = 40;
const SHRINKING_MS = 60_000;

let lab: Lab<null>;
let machine: Machine;

beforeAll(async () => {
  lab = await openLab({ cinder: false });
  machine = await machineOf(lab);
});

afterAll(() => lab?.[Symbol.asyncDispose]());

test(
  `${HISTORIES} random histories are the same on the sim and on QEMU`,
  async () => {
    const counts = new Map<string, number>();
    const failed: string[] = [];
    const seeds = Array.from({ length: HISTORIES }, (_, at) => SEED + at);
    const worker = async () => {
      for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
        const past = historyOf(seed);
        // A difference is answered, never thrown: what is thrown is the machine's, and a machine
        // that is busy may lose a guest (libvirt ends the QEMU that comes after one that quit).
        const story = await live(past, counts).catch(() => live(past).catch(String));
        if (story !== null) failed.push(`seed ${seed}\n${story}`);
        if (story !== null) console.log(failed.at(-1));
        if (story !== null && !process.env.CK_DIFFERENTIAL_ALL) seeds.length = 0;
      }
    };
    // Nobody is left behind who still uses the lab.
    await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
    const total = [...counts.values()].reduce((sum, one) => sum + one, 0);
    console.log(`${HISTORIES} histories from seed ${SEED}, ${total} acts:`, counts);
    expect(failed.length, await shortest(failed)).toBe(0);
  },
  60_000 + HISTORIES * 30_000,
);

async function shortest(failed: readonly string[]): Promise<string> {
  const seed = /^seed (\d+)/.exec(failed[0] ?? '')?.[1];
  if (seed === undefined || process.env.CK_DIFFERENTIAL_ALL) return '';
  const until = performance.now() + SHRINKING_MS;
  let shortest = '';
  const fails = async (one: History) => {
    if (performance.now() > until) return false;
    const story = await live(one).catch(String);
    shortest = story ?? shortest;
    return story !== null;
  };
  await shrunk(historyOf(Number(seed)), fails, SHRINKING_TRIES);
  return `seed ${seed}, shortened:\n${shortest}`;
}

/** Lives a history on both sides; the story up to where they part, or null when they never do. */
async function live(past: History, counts = new Map<string, number>()): Promise<string | null> {
  await using real = await RealSide.start(machine, past);
  const sim = new SimulatedSide(past, real.directory);
  const told = [`${past.baseFormat} base of ${past.clusters} clusters, unmaps: ${past.unmaps}`];
  for (const move of past.moves) {
    const act = actOf(move, sim.scene());
    if (act === null) continue;
    told.push(JSON.stringify(act).replaceAll(`${real.directory}/`, '/dir/'));
    const theirs = await real.perform(act).catch(async (error) => {
      throw new Error([...told, String(error), await real.log()].join('\n  '));
    });
    const ours = await sim.perform(act, theirs.done);
    const key = `${act.do} ${theirs.code}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    const differs = differences(ours, theirs);
    if (differs.length > 0) return [...told, ...differs].join('\n  ');
  }
  return null;
}
