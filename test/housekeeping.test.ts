import { expect, test } from 'vitest';
import { Housekeeping, KEEP_MS } from '#app/housekeeping.ts';
import { SimClock } from '#sim/clock.ts';

const DAY_MS = 24 * 3_600_000;

/** A journal of so many operations that can be forgotten, and what was asked of it. */
function kept(count: number) {
  const clock = new SimClock({ seed: 3 });
  const asked: { readonly at: number; readonly age: number; readonly limit: number }[] = [];
  const defects: unknown[] = [];
  let left = count;
  const journal = {
    prune: async (before: number, limit: number) => {
      if (left < 0) throw new Error('it broke');
      asked.push({ at: clock.now(), age: clock.now() - before, limit });
      const gone = Math.min(left, limit);
      left -= gone;
      return gone;
    },
  };
  const it = new Housekeeping({ journal, clock, die: (defect) => defects.push(defect) });
  return { it, clock, asked, defects };
}

test('what is a month old is forgotten, some at a time, and again every day', async () => {
  const { it, clock, asked } = kept(1_200);
  const from = clock.now();
  it.start();
  await clock.advance(60_000);
  expect(asked.map(({ age, limit }) => [age, limit])).toEqual(Array(3).fill([KEEP_MS, 500]));
  expect(asked[0]?.at, 'not before all else has begun').toBeGreaterThan(from);
  expect(new Set(asked.map(({ at }) => at)).size, 'requests come in between').toBe(3);
  await clock.advance(3 * DAY_MS);
  expect(asked).toHaveLength(6);
  await it.stop();
  await clock.advance(3 * DAY_MS);
  expect(asked).toHaveLength(6);
});

test('it stops at once, also before it began', async () => {
  for (const after of [0, 60_000]) {
    const { it, clock, asked } = kept(0);
    it.start();
    await clock.advance(after);
    await it.stop();
    const before = asked.length;
    await clock.advance(3 * DAY_MS);
    expect(asked).toHaveLength(before);
  }
});

test('a journal that breaks ends the process', async () => {
  const { it, clock, defects } = kept(-1);
  it.start();
  await clock.advance(1_000);
  expect(defects).toEqual([new Error('it broke')]);
});
