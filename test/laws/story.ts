import { expect } from 'vitest';
import type { World } from './world.ts';

export interface Told {
  /** What the guest should read in the end. */
  readonly bytes: readonly unknown[];
}

/** Three snapshots, with writes between them, deleted by commit, by pull and by pulling all. */
export async function wholeStory(world: World): Promise<Told> {
  const { disk } = world.cloud;
  disk.write(1, 0x11);
  const oldest = await world.take();
  disk.write(2, 0x22);
  const middle = await world.take();
  disk.write(1, 0x33);
  disk.write(3, 0x33);
  const newest = await world.take();
  disk.write(4, 0x44);
  const bytes = disk.view();
  await world.remove(middle);
  await world.remove(newest);
  await world.remove(oldest);
  return { bytes };
}

/** Nothing is lost, nobody disagrees, nothing is left to do or to say. */
export async function expectAllIsWell(world: World, told: Told): Promise<void> {
  const { live, headers, cinder } = world.witnesses();
  expect(world.cloud.disk.view(), 'what the guest reads').toEqual(told.bytes);
  expect(headers, 'the headers and the live chain').toEqual(live);
  expect(cinder, "Cinder's .info and the live chain").toBe(live[0]);
  expect(live, 'all snapshots are merged away').toHaveLength(1);
  expect(await world.journal.unfinished(), 'operations that never ended').toEqual([]);
  expect(await world.journal.notices({ state: 'pending' }), 'statuses never told').toEqual([]);
  const ended = await world.journal.operations({ limit: 1000 });
  expect(ended.filter((one) => one.saga.at === 'end' && one.saga.outcome === 'unknown')).toEqual(
    [],
  );
  expect(world.defects, 'contradictions of our own').toEqual([]);
  // What a crash of QEMU would leave now: everything that was reported is on disk.
  world.cloud.guest.end('killed');
  world.cloud.guest.start();
  expect(world.cloud.disk.view(), 'what the guest reads after a crash of QEMU').toEqual(told.bytes);
}
