import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { Life } from '#sim/faulty.ts';
import { expectAllIsWell, wholeStory } from './story.ts';
import { World } from './world.ts';

/** How many calls the story makes to its ports when nobody dies. */
async function callsOf(attack: boolean): Promise<readonly string[]> {
  const life = new Life();
  const world = new World({ lives: [life], attack });
  await expectAllIsWell(world, await world.tell(wholeStory));
  return life.calls;
}

vi.setConfig({ testTimeout: 60_000 });

for (const attack of [false, true]) {
  const guest = attack ? 'a guest that wrote a qcow2 header' : 'an honest guest';
  test(`killed before or after any call, the story of ${guest} ends well`, async () => {
    const calls = await callsOf(attack);
    expect(calls.length).toBeGreaterThan(100);
    for (const [at, call] of calls.entries()) {
      for (const when of ['before', 'after'] as const) {
        const world = new World({ lives: [new Life(at + 1, when)], attack });
        try {
          await expectAllIsWell(world, await world.tell(wholeStory));
          expect(world.deaths).toBe(1);
        } catch (error) {
          throw new Error(`killed ${when} call ${at + 1} (${call})\n${world.log.join('\n')}`, {
            cause: error,
          });
        }
      }
    }
  });
}

test('a 90% left over never makes Cinder remove a file that is still in use', async () => {
  const world = new World();
  const told = await world.tell(async (it) => {
    it.cloud.disk.write(1, 0x11);
    const id = await it.take();
    it.cloud.disk.write(2, 0x22);
    const bytes = it.cloud.disk.view();
    // Any project member may say so, and a failed attempt of Nova's leaves it behind.
    Object.assign(it.cloud.cinder.snapshots.get(id) ?? {}, { progress: '90%' });
    await it.remove(id);
    expect(it.witnesses().live, 'merged by the time that Cinder says gone').toHaveLength(1);
    return { bytes };
  });
  await expectAllIsWell(world, told);
});

test('killed again while it recovers, the story ends well', async () => {
  const calls = await callsOf(false);
  const death = fc.tuple(
    fc.integer({ min: 1, max: calls.length }),
    fc.constantFrom('before' as const, 'after' as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(death, { minLength: 2, maxLength: 4 }), async (deaths) => {
      // The later ones are early in their own lives, where the recovery is.
      const lives = deaths.map(([at, when], n) => new Life(n === 0 ? at : 1 + (at % 12), when));
      const world = new World({ lives, attack: false });
      await expectAllIsWell(world, await world.tell(wholeStory));
    }),
    { numRuns: 200 },
  );
});
