/** The histories of the differential tests, on the sim alone: they must reach what they are for. */
import { expect, test } from 'vitest';
import { type Act, actOf } from '../support/acts.ts';
import { type History, historyOf, shrunk } from '../support/histories.ts';
import type { Outcome } from '../support/side.ts';
import { SimulatedSide } from '../support/simulated-side.ts';

type Lived = readonly [act: Act, outcome: Outcome, before: readonly string[] | null];

async function* life(past: History): AsyncGenerator<[...Lived, SimulatedSide]> {
  const sim = new SimulatedSide(past, '/volumes');
  for (const move of past.moves) {
    const act = actOf(move, sim.scene());
    if (act === null) continue;
    const { guest } = await sim.state();
    yield [act, await sim.perform(act, 'held' in act && act.held ? 1 : null), guest, sim];
  }
}

test('no merge, snapshot or cancel of any history changes what the guest reads', async () => {
  for (let seed = 1; seed <= 100; seed++) {
    for await (const [act, , before, sim] of life(historyOf(seed))) {
      const { guest } = await sim.state();
      if (before === null || guest === null || before.length !== guest.length) continue;
      if (!['pull', 'commit', 'abort', 'release', 'flush', 'barrier'].includes(act.do)) continue;
      // A merge of layers of different sizes does change what is read: test/contract/disk.ts.
      if (new Set([...sim.share.files.values()].map((it) => it.clusters)).size > 1) continue;
      expect(guest, `${seed}: ${JSON.stringify(act)}`).toEqual(before);
    }
  }
});

test('they meet every kind of act, and each as a success and as a refusal', async () => {
  const met = new Set<string>();
  for (let seed = 1; seed <= 300; seed++) {
    for await (const [act, { code, heard }] of life(historyOf(seed))) {
      const what = act.do === 'commit' && act.active ? 'active commit' : act.do;
      met.add(`${what} ${code === 'ok' ? 'ok' : 'no'}`).add(`code ${code}`);
      for (const how of heard) met.add(how);
    }
  }
  for (const what of ['snapshot', 'pull', 'commit', 'active commit', 'abort', 'barrier', 'start']) {
    expect(met).toContain(`${what} ok`);
    expect(met).toContain(`${what} no`);
  }
  for (const what of ['write', 'zero', 'unmap', 'discard', 'flush', 'forge', 'kill', 'stop']) {
    expect(met).toContain(`${what} ok`);
  }
  const codes = ['8', '38', '55', '83', '84', '1'].map((code) => `code ${code}`);
  expect([...met]).toEqual(expect.arrayContaining([...codes, 'completed', 'canceled', 'ready']));
});

test('the same seed is the same history, and what fails is made short', async () => {
  expect(historyOf(7)).toEqual(historyOf(7));
  const past = historyOf(7);
  const needed = past.moves[11];
  const fails = async ({ moves }: History) => moves.some((move) => move === needed);
  expect((await shrunk(past, fails, 200)).moves).toEqual([needed]);
  expect((await shrunk(past, fails, 1)).moves.length).toBeGreaterThan(1);
});
