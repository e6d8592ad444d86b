import { expect, test } from 'vitest';
import { Held } from '#adapters/libvirt/held.ts';

function opened(most: number) {
  const freed: bigint[] = [];
  return { freed, held: new Held({ freeDomain: (domain) => freed.push(domain) }, most) };
}

test('an object is of one call at a time, and of the next one afterwards', () => {
  const { held, freed } = opened(2);
  expect(held.take('a')).toBeNull();
  held.give('a', 1n);
  expect([held.take('a'), held.take('a')]).toEqual([1n, null]);
  // Two calls were under way, so it was looked up twice.
  held.give('a', 1n);
  held.give('a', 2n);
  expect(freed).toEqual([2n]);
});

test('of too many the one that was used longest ago is freed', () => {
  const { held, freed } = opened(2);
  held.give('a', 1n);
  held.give('b', 2n);
  held.give('a', held.take('a')!);
  held.give('c', 3n);
  expect([freed, held.take('a'), held.take('b'), held.take('c')]).toEqual([[2n], 1n, null, 3n]);
});

test('all are freed before the connection closes, and later ones at once', () => {
  const { held, freed } = opened(9);
  held.give('a', 1n);
  held.give('b', 2n);
  const used = held.take('b')!;
  held.close();
  expect(freed).toEqual([1n]);
  held.give('b', used);
  expect([freed, held.take('b')]).toEqual([[1n, 2n], null]);
});
