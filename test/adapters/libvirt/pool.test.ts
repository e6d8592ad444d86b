import { expect, test } from 'vitest';
import { Pool } from '#adapters/libvirt/pool.ts';

/** Who was served in which order, when one has the only thing until all have asked for it. */
async function order(asked: readonly (readonly [name: string, first: boolean])[]) {
  const pool = new Pool(['it']);
  const { promise: all, resolve } = Promise.withResolvers<void>();
  const holder = pool.borrow(() => all);
  const served: string[] = [];
  const each = asked.map(([name, first]) => pool.borrow(async () => void served.push(name), first));
  resolve();
  await Promise.all([holder, ...each]);
  return served;
}

test('those who wait are served in the order in which they came', async () => {
  const asked = ['a', 'b', 'c'].map((name) => [name, false] as const);
  expect(await order(asked)).toEqual(['a', 'b', 'c']);
});

test('those that go first overtake the others, and keep their own order', async () => {
  const asked = [
    ['delete 1', false],
    ['create 1', true],
    ['delete 2', false],
    ['create 2', true],
  ] as const;
  expect(await order(asked)).toEqual(['create 1', 'create 2', 'delete 1', 'delete 2']);
});

test('nobody waits for ever: after eight that went first one of the others is served', async () => {
  const creates = Array.from({ length: 20 }, (_, at) => [`c${at}`, true] as const);
  const served = await order([['d1', false], ['d2', false], ...creates]);
  expect([served.indexOf('d1'), served.indexOf('d2')]).toEqual([8, 17]);
});

test('what comes back with an error is lent again', async () => {
  const pool = new Pool([1]);
  await expect(pool.borrow(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await pool.borrow(async (it) => it)).toBe(1);
});
