import { expect, test } from 'vitest';
import type { Measured } from '../../bench/axes.ts';
import { BOUNDS, tooSlow } from '../../bench/gate.ts';
import { lineCharts } from '../../bench/plot.ts';
import { summed } from '../../bench/results.ts';
import { exponent, summarize } from '../../bench/statistics.ts';

test.each([0, 0.5, 1, 2])('a cost that grows as the size to the power of %d is seen', (power) => {
  const points = [1, 10, 100, 1000, 10_000].map((x) => ({ x, y: 3 * x ** power }));
  expect(exponent(points)).toBeCloseTo(power);
});

test('what is there anyway does not hide how the rest grows', () => {
  const points = [1, 2, 4, 1000, 2000, 4000].map((x) => ({ x, y: 50 + x * x }));
  expect(exponent(points)).toBeGreaterThan(1.9);
});

test('a quantile lies between its neighbours', () => {
  const { median, lower, upper, p99 } = summarize([4, 1, 3, 2]);
  expect([median, lower, upper, p99]).toEqual([2.5, 1.75, 3.25, expect.closeTo(3.97)]);
});

/** Two rounds: the machine was ten times slower in the second, and ours no worse for that. */
function measured(factor: number): Measured {
  const one = (side: 'bare' | 'ours', round: number, ms: number) => {
    const whose = { side, verb: 'create', nth: 0, round, guest: 0 } as const;
    return { ...whose, ms, phases: {}, calls: {} };
  };
  const samples = [1, 10].flatMap((slow, round) => [
    one('bare', round, 20 * slow),
    one('ours', round, 20 * slow * factor),
  ]);
  return { depth: 8, guests: 1, mib: 0, rounds: 2, samples, rates: {}, cpuMs: null };
}

test('ours is held against the bare call of the same round', () => {
  const [row] = summed(measured(1.5)).rows;
  expect(row?.ratio.ours).toMatchObject({ median: 1.5, min: 1.5, max: 1.5 });
});

test('the gate opens below its bound and shuts above it', () => {
  const bound = BOUNDS.create ?? Number.NaN;
  expect(tooSlow(summed(measured(bound * 0.99)))).toEqual([]);
  expect(tooSlow(summed(measured(bound * 1.01)))).toEqual([expect.stringContaining('create')]);
});

test('a chart has each line, inside its frame, and names are no markup', () => {
  const points = [1, 10, 100].map((x) => ({ x, y: x }));
  const lines = [{ name: '<a> & b', points }];
  const svg = lineCharts([{ title: 'one', x: 'sizes', lines }], 'ms');
  expect(svg).not.toContain('<a>');
  const places = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [
    Number(x),
    Number(y),
  ]);
  expect(places).toHaveLength(3);
  for (const [x = 0, y = 0] of places)
    expect([x > 50 && x < 301, y > 27 && y < 249]).toEqual([true, true]);
});
