import { describe, expect, test, vi } from 'vitest';
import { cutOff } from '#sim/crash/cuts.ts';
import {
  AWAY,
  type Count,
  dying,
  emptyCount,
  firstDeaths,
  merge,
  undisturbed,
} from '#sim/crash/points.ts';
import { TALES } from '#sim/crash/tales.ts';

/**
 * A crash at every commit and every call of every saga, again in the recovery, and of QEMU at any
 * moment. `npm run sim -- --crashes` tells all of them, twice over; here are all those of depth
 * one, every so many of depth two, and every so many of QEMU's.
 */
const OF_DEPTH_TWO = 61;
const OF_QEMU = 9;

vi.setConfig({ testTimeout: 120_000 });

const all = emptyCount();
const cuts = emptyCount();

describe.each(TALES.map((tale, at) => [tale.name, tale, at] as const))('%s', (_, tale, at) => {
  test('killed before or after any call, and again, it comes to the same end', async () => {
    const whole = await undisturbed(tale);
    const deaths = firstDeaths(whole);
    const count = emptyCount();
    for (const [nth, first] of deaths.entries()) {
      // Each way of being away in turn: a short while, a moment, a whole merge, long.
      const away = AWAY[nth % AWAY.length] ?? 0;
      const again = (second: number) => (nth * 11 + second + at) % OF_DEPTH_TWO === 0;
      merge(count, await dying(tale, whole.ending, first, away, again));
    }
    expect(count.red).toEqual([]);
    expect(count.points, 'every call, before and after').toBeGreaterThan(deaths.length);
    expect(deaths.length).toBeGreaterThanOrEqual(14);
    merge(all, count);
  });

  test('law 2: QEMU killed at a moment, what was flushed is there or can be had back', async () => {
    const some = (moments: number) =>
      Array.from({ length: moments }, (_, nth) => nth).filter(
        (nth) => nth % OF_QEMU === at % OF_QEMU,
      );
    const count = await cutOff(tale, some);
    expect(count.red).toEqual([]);
    merge(cuts, count);
  });
});

test('nothing of this was vacuous', () => {
  const sum = ({ same, again }: Count) => same + again;
  expect(all.points).toBeGreaterThan(1_500);
  // A death at just the call that asks for a merge, and a Cinder that has given up meanwhile.
  const { 'drift record': drift = 0, ...others } = all.expected;
  expect(others, 'else a death of the service alone excuses nothing').toEqual({});
  expect(sum(all) + drift).toBe(all.points);
  expect(drift / all.points).toBeLessThan(0.005);
  expect(all.same).toBeGreaterThan(400);
  expect(all.again).toBeGreaterThan(400);
  expect(cuts.points).toBeGreaterThan(400);
  expect(sum(cuts)).toBeGreaterThan(300);
  expect(cuts.expected, 'else the boot guard lets a guest start on what is not whole').toEqual({});
});
