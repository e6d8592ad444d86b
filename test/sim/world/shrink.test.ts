import { expect, test } from 'vitest';
import { type RunOptions, run, type Told } from '#sim/world/run.ts';
import { reds, shrink } from '#sim/world/shrink.ts';
import { story, verdict } from '#sim/world/story.ts';
import { count, emptyTally, merge } from '#sim/world/tally.ts';

const base: Told = {
  seed: 1,
  broken: [],
  defects: [],
  operations: 10,
  digest: 0xabc,
  faults: new Map(),
  sometimes: new Map(),
  choices: new Map(),
  lines: [],
};
const broken = (law: number, guard: Told['broken'][number]['guard'] = null) =>
  ({ law, words: 'w', volume: null, guard, at: 0 }) as const;

/** Red exactly when these decisions are all there. */
const redWhen =
  (...needed: readonly string[]) =>
  async (seed: number, { only = new Map() }: RunOptions = {}): Promise<Told> => {
    const red = needed.every((where) => only.has(where));
    return { ...base, seed, choices: new Map(only), broken: red ? [broken(7)] : [] };
  };

const many = new Map(Array.from({ length: 100 }, (_, at) => [`x#${at}`, 1] as const));

test('of a hundred decisions the three that matter are left', async () => {
  const retell = redWhen('x#3', 'x#50', 'x#97');
  const short = await shrink({ ...base, choices: many, broken: [broken(7)] }, 600, retell);
  expect([...(short?.choices.keys() ?? [])]).toEqual(['x#3', 'x#50', 'x#97']);
  expect(short?.told.broken).toHaveLength(1);
  expect(short?.tries).toBeLessThan(150);
});

test('a history that is green when told again cannot be made shorter', async () => {
  const told = { ...base, choices: many, broken: [broken(7)] };
  expect(await shrink(told, 600, redWhen('not there'))).toBe(null);
});

test('a green history, or one that only a missing guard excuses, is not red', async () => {
  expect(reds(base)).toEqual([]);
  const excused = { ...base, broken: [broken(32, 'offline undo')] };
  expect(reds(excused)).toEqual([]);
  expect(await shrink(excused)).toBe(null);
  const red = { ...base, broken: [broken(3), broken(3), broken(8)], defects: ['x'] };
  expect(reds(red)).toEqual(['law 3', 'law 8', 'defect']);
});

test('tallies add up, whoever counted', () => {
  const one = { ...base, seed: 4, faults: new Map([['answer lost', 2]]) };
  const two = { ...base, seed: 2, broken: [broken(16, 'drift record'), broken(9)] };
  const whole = emptyTally();
  const parts = [emptyTally(), emptyTally()] as const;
  for (const told of [one, two]) count(whole, told);
  count(parts[0], one);
  count(parts[1], two);
  merge(parts[0], parts[1]);
  expect(parts[0]).toEqual(whole);
  expect(whole).toMatchObject({
    seeds: 2,
    operations: 20,
    red: [[2, 'law 9']],
    faults: { 'answer lost': 2 },
    expected: { 'law 16: drift record': { count: 1, first: 2 } },
  });
});

test('a story is for people: seconds, short names, and not what was only read', async () => {
  const told = await run(3, { recording: true });
  const lines = story(told);
  expect(lines.length).toBeGreaterThan(10);
  expect(lines[0]).toMatch(/^ {5}0\.\d{3} {2}\S/);
  expect(lines.join('\n')).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
  expect(story(told, { all: true }).length).toBeGreaterThan(lines.length);
  expect(verdict(told).at(0)).toMatch(/^seed 3: \d+ operations, digest [0-9a-f]{8}$/);
});

test('the verdict names each broken law once, and the guard that is wanted', () => {
  const told = {
    ...base,
    faults: new Map([['QEMU killed', 2]]),
    broken: [broken(2, 'boot guard'), broken(9), broken(9)],
  };
  expect(verdict(told).slice(1)).toEqual([
    'faults: QEMU killed (2)',
    'law 2 is broken, for want of a guard that is not there ' + '(boot guard): w',
    'law 9 is broken: w',
  ]);
  expect(verdict(base).at(-1)).toBe('all laws are kept');
});
