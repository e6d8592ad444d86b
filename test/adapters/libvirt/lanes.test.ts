import { expect, test } from 'vitest';
import { Lanes } from '#adapters/libvirt/lanes.ts';

test('whoever waits for a lane is counted, and whoever waits for their guest is not', async () => {
  const lanes = new Lanes('test:///default', { size: 2 });
  const free = Promise.withResolvers<void>();
  const turn = (guest: string) => lanes.turn(guest, () => free.promise);
  const turns = [turn('a'), turn('b'), turn('b')];
  await Promise.resolve();
  expect(lanes.waiting).toBe(0);
  turns.push(turn('c'), turn('d'));
  await expect.poll(() => lanes.waiting).toBe(2);
  free.resolve();
  await Promise.all(turns);
  expect(lanes.waiting).toBe(0);
  await lanes[Symbol.asyncDispose]();
});
