import { queryObjects } from 'node:v8';
import { expect, test } from 'vitest';
import { run } from '#sim/world/run.ts';
import { World } from '#sim/world/world.ts';

test('a world that is over is forgotten, or a long sweep would eat the machine', async () => {
  // A thousand worlds held were 250 MB: one promise that never settles, shared, held them all.
  for (let seed = 1; seed <= 40; seed++) await run(seed);
  // The last call of a promise keeps its arguments until something else is called.
  await new Promise((resolve) => setImmediate(resolve));
  expect(queryObjects(World, { format: 'count' })).toBeLessThanOrEqual(2);
});
