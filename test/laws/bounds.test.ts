import { queryObjects } from 'node:v8';
import { expect, test, vi } from 'vitest';
import { Housekeeping, KEEP_MS } from '#app/housekeeping.ts';
import { Mailbox } from '#app/mailbox.ts';
import type { SnapshotId } from '#domain/ids.ts';
import type { Clock } from '#ports/clock.ts';
import { World } from './world.ts';

vi.setConfig({ testTimeout: 60_000 });

const CYCLES = 40;

/** How many there are of what the program makes for each request and each snapshot. */
const alive = () => ({
  mailboxes: queryObjects(Mailbox, { format: 'count' }) as number,
  // One for each line of the sender, each request that is being decided, each wait.
  controllers: queryObjects(AbortController, { format: 'count' }) as number,
});

/** Snapshots taken and deleted, with a request repeated and one refused in between. */
async function cycles(world: World, times: number): Promise<void> {
  for (let n = 0; n < times; n++) {
    const id = await world.take();
    world.cloud.disk.write(n % 4, n);
    await Promise.all([world.remove(id), world.cloud.cinder.deleteSnapshot('no' as SnapshotId)]);
  }
}

async function told<T>(story: (world: World) => Promise<T>): Promise<[World, T]> {
  const world = new World();
  return [world, await world.tell(story)];
}

test('law 31: a program at rest holds nothing of what it has done', async () => {
  const [world, [before, during]] = await told(async (it) => {
    await cycles(it, 5);
    await it.clock.sleep(120_000);
    const first = alive();
    const removing = it.remove(await it.take());
    await it.clock.sleep(250);
    const meanwhile = alive();
    await removing;
    await cycles(it, CYCLES);
    return [first, meanwhile] as const;
  });
  const after = alive();
  expect(during.mailboxes, 'what is under way can be seen').toBeGreaterThan(before.mailboxes);
  expect(after.mailboxes).toBeLessThanOrEqual(before.mailboxes);
  expect(after.controllers - before.controllers).toBeLessThan(5);
  expect(world.runner?.busy(world.cloud.volume)).toBe(false);
  expect(await world.journal.notices({ state: 'pending' })).toEqual([]);
});

test('law 31: the journal does not grow with what is over', async () => {
  const [world] = await told(async (it) => {
    await cycles(it, CYCLES);
    const { clock, journal } = it;
    expect(journal.all.length, 'what may still be asked after is there').toBeGreaterThan(CYCLES);
    const later: Clock = {
      now: () => clock.now() + 2 * KEEP_MS,
      monotonic: () => clock.monotonic(),
      sleep: (ms, signal) => clock.sleep(ms, signal),
      uuid: () => clock.uuid(),
      random: () => clock.random(),
    };
    const die = (defect: unknown) => it.defects.push(defect);
    const housekeeping = new Housekeeping({ journal, clock: later, die });
    housekeeping.start();
    await clock.sleep(60_000);
    await housekeeping.stop();
  });
  // The newest of each volume: what stands in the chain now was made by it, or before.
  expect(world.journal.all).toHaveLength(1);
  expect(world.journal.told.every(({ state }) => state !== 'pending')).toBe(true);
});
