import type { MissingGuard } from '../world/laws.ts';
import { run, type Told } from '../world/run.ts';
import { endingOf } from './ending.ts';
import type { Tale } from './tales.ts';
import { Teller } from './teller.ts';

/** Where a process can die: before the n-th call that is made to any port, or after it. */
export type When = 'before' | 'after';
const PLACES = { before: 'killed before a call', after: 'killed after a call' } as const;

/** How many calls were made, and how many had come back. */
export type Calls = Readonly<Record<When, number>>;

/** One telling of a tale, and what there is to know about it. */
export interface Telling {
  readonly told: Told;
  readonly ending: string;
  readonly retries: readonly string[];
  readonly gaveUp: boolean;
  /** Guards that are not built yet, without which the volume could not end well. */
  readonly excuses: readonly MissingGuard[];
  /** The calls up to where the tale begins, up to the first death, and up to its end. */
  readonly calls: { readonly begun: Calls; readonly died: Calls | null; readonly over: Calls };
}

export type Deaths = Readonly<Record<string, number>>;
export const death = (when: When, nth: number): Deaths => ({ [`${PLACES[when]}#${nth}`]: 1 });

/** libvirt asks the boot guard. */
const GUARDED = { 'boot guard#0': 1 };

const UNTOLD = 'never told to its end';

/** Tells it with these decisions and no other: the same every time. */
export async function telling(
  tale: Tale,
  decisions: Deaths = {},
  { recording = false, plan = (_: Teller) => {} } = {},
): Promise<Telling> {
  let teller: Teller | null = null;
  let ending = UNTOLD;
  let excuses: readonly MissingGuard[] = [];
  const none = { before: 0, after: 0 };
  const calls: { begun: Calls; died: Calls | null; over: Calls } = {
    begun: none,
    died: null,
    over: none,
  };
  const only = new Map(Object.entries({ ...GUARDED, ...tale.given, ...decisions }));
  const told = await run(1, {
    only,
    recording,
    tale: async (world, guests) => {
      const mine = new Teller(world, guests);
      teller = mine;
      const count = (): Calls => ({
        before: world.choices.taken(PLACES.before),
        after: world.choices.taken(PLACES.after),
      });
      mine.began = () => {
        calls.begun = count();
        plan(mine);
      };
      world.watchers.push({
        ended: () => {
          calls.died ??= count();
        },
        rest: () => {
          if (ending !== UNTOLD) return;
          ending = endingOf(mine);
          excuses = [...(world.excuses.get(mine.disk.volume) ?? [])];
        },
      });
      await tale.tell(mine);
      await mine.atRest();
      calls.over = count();
    },
  });
  const { retries = [], gaveUp = true } = (teller as Teller | null) ?? {};
  return { told, ending, retries, gaveUp, excuses, calls };
}
