import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import type { Fault } from '#domain/failure.ts';
import { err } from '#domain/result.ts';
import { type Call, type Fate, Life, wrapped } from '#sim/faulty.ts';
import { expectAllIsWell, wholeStory } from './story.ts';
import { World } from './world.ts';

vi.setConfig({ testTimeout: 60_000 });

const WHO = { libvirt: 'libvirt', cinder: 'Cinder', images: 'the share' } as const;

/** What a single call can meet: it never began, or nobody knows, whether or not it happened. */
const WRONG = [
  ['unreachable', 'before'],
  ['unknown', 'before'],
  ['unknown', 'after'],
] as const satisfies readonly (readonly [Fault['kind'], 'before' | 'after'])[];
type Wrong = (typeof WRONG)[number];

const fateOf = (port: string, [kind, when]: Wrong): Fate => {
  const who = WHO[port as keyof typeof WHO];
  return { when, fault: { kind, who, detail: 'planted' } };
};

/** The calls of all ports, counted together; a listener is no call that could fail. */
function counted(decide: (nth: number, port: string, call: Call) => Fate) {
  let nth = 0;
  return (port: string, call: Call): Fate =>
    call.method === 'listen' ? null : decide(++nth, port, call);
}

async function callsOf(attack: boolean): Promise<readonly string[]> {
  const calls: string[] = [];
  const fate = counted((_, port, { method }) => {
    calls.push(`${port} ${method}`);
    return null;
  });
  const world = new World({ attack, fate });
  await expectAllIsWell(world, await world.tell(wholeStory));
  return calls;
}

for (const attack of [false, true]) {
  const guest = attack ? 'a guest that wrote a qcow2 header' : 'an honest guest';
  test.each(WRONG)(
    `any call %s once, %s its effect: the story of ${guest} ends well`,
    async (kind, when) => {
      const wrong = [kind, when] as Wrong;
      const calls = await callsOf(attack);
      expect(calls.length).toBeGreaterThan(60);
      for (const [at, call] of calls.entries()) {
        let failed = 0;
        const fate = counted((nth, port) => {
          if (nth !== at + 1) return null;
          failed++;
          return fateOf(port, wrong);
        });
        const world = new World({ attack, fate });
        try {
          await expectAllIsWell(world, await world.tell(wholeStory));
          expect(failed).toBe(1);
          expect(world.deaths).toBe(0);
        } catch (error) {
          const what = `${wrong.join(', ')}: call ${at + 1} (${call})`;
          throw new Error(`${what}\n${world.log.join('\n')}`, { cause: error });
        }
      }
    },
  );
}

test('whatever each call meets for a while, the story ends well', async () => {
  const calls = (await callsOf(false)).length;
  const wrong = fc.tuple(fc.nat(calls), fc.constantFrom(...WRONG));
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(wrong, { maxLength: 6, selector: ([at]) => at }),
      async (all) => {
        const planned = new Map(all);
        const fate = counted((nth, port) => {
          const found = planned.get(nth);
          return found === undefined ? null : fateOf(port, found);
        });
        const world = new World({ fate });
        try {
          await expectAllIsWell(world, await world.tell(wholeStory));
        } catch (error) {
          throw new Error(world.log.join('\n'), { cause: error });
        }
      },
    ),
    { numRuns: 300 },
  );
});

/** A process whose n-th change gets no clear answer, and is made `delayMs` later all the same. */
class Belated extends Life {
  readonly #belated: (method: string, call: () => unknown) => unknown;

  constructor(belated: (method: string, call: () => unknown) => unknown) {
    super();
    this.#belated = belated;
  }

  override holds<T extends object>(name: string, port: T, counts?: (method: string) => boolean): T {
    if (name !== 'libvirt' && name !== 'images') return super.holds(name, port, counts);
    const seam = wrapped(port, (method, args, call) => this.#belated(method, () => call(args)));
    return super.holds(name, seam, counts);
  }
}

test('a change that comes through long after nobody knew, ends well', async () => {
  const CHANGES = /^(snapshot|merge|flush|mend)$/;
  for (const delayMs of [10, 900, 1_500, 5_000, 30_000, 200_000]) {
    for (let at = 1; at <= 8; at++) {
      let nth = 0;
      const life = new Belated((method, call) => {
        if (!CHANGES.test(method) || ++nth !== at) return call();
        void world.clock.sleep(delayMs).then(call);
        return Promise.resolve(err({ kind: 'unknown', who: 'libvirt', detail: 'planted' }));
      });
      const world: World = new World({ lives: [life] });
      try {
        await expectAllIsWell(world, await world.tell(wholeStory));
        expect(nth).toBeGreaterThanOrEqual(at);
      } catch (error) {
        const what = `change ${at}, ${delayMs} ms late`;
        throw new Error(`${what}\n${world.log.join('\n')}`, { cause: error });
      }
    }
  }
});
