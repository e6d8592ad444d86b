import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { Life, wrapped } from '#sim/faulty.ts';
import { expectAllIsWell, wholeStory } from './story.ts';
import { World } from './world.ts';

vi.setConfig({ testTimeout: 60_000 });

type Call = () => unknown;
type Around = (name: string, method: string, call: Call) => unknown;

const OUTSIDE = ['libvirt', 'images', 'cinder'];

/** A process whose calls of the outside go through `around`. */
class Through extends Life {
  readonly #around: Around;

  constructor(around: Around) {
    super();
    this.#around = around;
  }

  override holds<T extends object>(name: string, port: T, counts?: (method: string) => boolean): T {
    if (!OUTSIDE.includes(name)) return super.holds(name, port, counts);
    const around = this.#around;
    const seam = wrapped(port, (method, args, call) =>
      method === 'listen' ? call(args) : around(name, method, () => call(args)),
    );
    return super.holds(name, seam, counts);
  }
}

const CHANGES = /^(snapshot|merge|flush|mend)$/;
const OURS = (name: string) => name === 'libvirt' || name === 'images';

/** Tells the story through `around`, and that everything is well in the end. */
async function tell(around: Around, attack: boolean, effects = 6): Promise<World> {
  let changes = 0;
  const count: Around = (name, method, call) => {
    if (OURS(name) && CHANGES.test(method)) changes++;
    return around(name, method, call);
  };
  const world = new World({ lives: [new Through(count)], attack });
  try {
    await expectAllIsWell(world, await world.tell(wholeStory));
  } catch (error) {
    throw new Error(world.log.join('\n'), { cause: error });
  }
  expect(changes).toBeGreaterThanOrEqual(effects);
  return world;
}

const once = (attack: boolean) => tell((_name, _method, call) => call(), attack);

/** What the end is made of. */
const ending = ({ cloud }: World) => ({
  view: cloud.disk.view(),
  chain: cloud.disk.chain(),
  headers: [...cloud.share.files.values()].map(({ name, header }) => ({ name, header })),
  info: cloud.cinder.infoFiles,
  rows: [...cloud.cinder.snapshots.values()],
});

for (const attack of [false, true]) {
  const guest = attack ? 'a guest that wrote a qcow2 header' : 'an honest guest';

  test(`each effect twice, the second answer counts: ${guest}`, async () => {
    // A second merge finds a job and is told that it is busy: that answer counts as well.
    const twice = await tell(async (name, _method, call) => {
      if (OURS(name)) await call();
      return call();
    }, attack);
    expect(ending(twice)).toEqual(ending(await once(attack)));
  });

  test(`each effect twice, the first answer counts: ${guest}`, async () => {
    const twice = await tell(async (name, _method, call) => {
      const first = await call();
      if (OURS(name)) await call();
      return first;
    }, attack);
    expect(ending(twice)).toEqual(ending(await once(attack)));
  });

  test(`each effect at the same moment twice: ${guest}`, async () => {
    const twice = await tell(async (name, _method, call) => {
      if (!OURS(name)) return call();
      const [first] = await Promise.all([call(), call()]);
      return first;
    }, attack);
    expect(ending(twice)).toEqual(ending(await once(attack)));
  });

  test(`whatever Cinder is told, it is told twice: ${guest}`, async () => {
    const twice = await tell(async (name, method, call) => {
      const first = await call();
      if (name === 'cinder' && method === 'update') await call();
      return first;
    }, attack);
    expect(ending(twice)).toEqual(ending(await once(attack)));
  });
}

test('each effect again at any later moment', async () => {
  const delays = fc.array(fc.integer({ min: 1, max: 60_000 }), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(delays, async (all) => {
      let nth = 0;
      let clock: World['clock'] | null = null;
      const world = new World({
        lives: [
          new Through((name, method, call) => {
            const delay = all[nth % all.length] ?? 1;
            if (OURS(name) && CHANGES.test(method)) {
              nth++;
              void clock?.sleep(delay).then(call);
            }
            return call();
          }),
        ],
      });
      clock = world.clock;
      try {
        await expectAllIsWell(world, await world.tell(wholeStory));
        expect(nth).toBeGreaterThanOrEqual(6);
      } catch (error) {
        throw new Error(world.log.join('\n'), { cause: error });
      }
    }),
    { numRuns: 200 },
  );
});
