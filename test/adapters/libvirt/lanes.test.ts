import { expect, test } from 'vitest';
import { Lane } from '#adapters/libvirt/lane.ts';
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

test('while many calls have not come back no other one is begun', async () => {
  const stuck = new Map(
    Array.from({ length: 15 }, (_, at) => [`guest ${at}`, 1] as [string, number]),
  );
  await using lane = new Lane('test:///default', {}, stuck);
  const call = { name: 'virConnectGetLibVersion', changes: false };
  const ask = () => lane.ask(call, async () => 'asked');
  expect(await ask()).toEqual({ ok: true, value: 'asked' });
  stuck.set('guest 0', 2);
  const error = { kind: 'unreachable', message: '16 calls have not come back' };
  expect(await ask()).toEqual({ ok: false, error });
  stuck.delete('guest 0');
  expect(await ask()).toEqual({ ok: true, value: 'asked' });
});
