import type { MissingGuard } from '../world/laws.ts';
import { reds } from '../world/shrink.ts';
import type { Tale } from './tales.ts';
import { type Calls, type Deaths, death, type Telling, telling, type When } from './telling.ts';

/**
 * What may come of a death. `same`: the end is that of the tale in which nobody dies. `again`: it
 * is the same end too, after the user had asked once more, because nobody answered the first time
 * or because the answer was a failure. `expected`: a law was broken for want of a guard that is
 * not there. Anything else is red.
 */
export type Verdict =
  | { readonly kind: 'same' | 'again' }
  | { readonly kind: 'expected'; readonly guards: readonly MissingGuard[] }
  | { readonly kind: 'red'; readonly why: string };

/** Where the service dies: once, or again in what comes after. */
export interface Point {
  readonly first: readonly [When, number];
  readonly second: readonly [When, number] | null;
}

/** How many points came to which end; the ones in red by name. */
export interface Count {
  points: number;
  same: number;
  again: number;
  readonly expected: Record<string, number>;
  readonly red: string[];
}

export const emptyCount = (): Count => ({ points: 0, same: 0, again: 0, expected: {}, red: [] });

const WHENS: readonly When[] = ['before', 'after'];

/** How long the service is away: 1.5 s, 0.3 s, 12 s (a whole merge), 70 s. */
export const AWAY = [0, 1, 2, 3] as const;

/** The end that every telling must come to. */
export async function undisturbed(tale: Tale): Promise<Telling> {
  const told = await telling(tale);
  const wrong = [...reds(told.told), ...told.told.broken.map(({ words }) => words)];
  if (wrong.length > 0 || told.gaveUp) throw new Error(`${tale.name}, undisturbed: ${wrong}`);
  return told;
}

/** Why a user may have to ask again: the process that was asked died before it answered. */
export const UNANSWERED = /^connection (refused|reset by peer)$/;

export function judge(it: Telling, wanted: string, mayFail = UNANSWERED): Verdict {
  const [red] = reds(it.told);
  const { broken, defects } = it.told;
  if (red !== undefined) {
    const words = broken.filter(({ guard }) => guard === null).map((one) => one.words);
    return { kind: 'red', why: `${red}: ${[...words, ...defects].join('; ')}` };
  }
  const guards = [...new Set(broken.flatMap(({ guard }) => guard ?? []))];
  if (guards.length > 0) return { kind: 'expected', guards };
  if (it.ending === wanted && !it.gaveUp) {
    const why = it.retries.find((problem) => !mayFail.test(problem));
    if (why !== undefined) return { kind: 'red', why: `asked again because of: ${why}` };
    return { kind: it.retries.length === 0 ? 'same' : 'again' };
  }
  // Without that guard the volume is left to a person, and no file that Cinder lists is gone.
  if (it.excuses.length > 0 && it.ending.includes('"missing": []')) {
    return { kind: 'expected', guards: it.excuses.slice(0, 1) };
  }
  return { kind: 'red', why: `another end:\n${it.ending}\ninstead of\n${wanted}` };
}

export function add(count: Count, name: string, verdict: Verdict): void {
  count.points++;
  switch (verdict.kind) {
    case 'same':
    case 'again':
      count[verdict.kind]++;
      return;
    case 'expected':
      for (const guard of verdict.guards) count.expected[guard] = (count.expected[guard] ?? 0) + 1;
      return;
    case 'red':
      count.red.push(`${name}: ${verdict.why}`);
  }
}

export function merge(into: Count, from: Count): void {
  into.points += from.points;
  into.same += from.same;
  into.again += from.again;
  into.red.push(...from.red);
  for (const [guard, times] of Object.entries(from.expected)) {
    into.expected[guard] = (into.expected[guard] ?? 0) + times;
  }
}

/** Every first death of a tale, before and after each call that is made in it. */
export const firstDeaths = ({ calls }: Telling): readonly (readonly [When, number])[] =>
  between(calls.begun, calls.over);

/** Every death that can follow: before and after each call until all is done. */
export const secondDeaths = ({ calls }: Telling): readonly (readonly [When, number])[] =>
  calls.died === null ? [] : between(calls.died, calls.over);

const between = (from: Calls, to: Calls): readonly (readonly [When, number])[] =>
  WHENS.flatMap((when) =>
    Array.from({ length: to[when] - from[when] }, (_, at) => [when, from[when] + at] as const),
  );

export const decisionsOf = ({ first, second }: Point, away: number): Deaths => ({
  ...death(...first),
  ...(second === null ? {} : death(...second)),
  'down for#0': away,
});

export const nameOf = (tale: Tale, { first, second }: Point, away: number): string => {
  const again = second === null ? '' : `, and then ${second[0]} call ${second[1]}`;
  return `${tale.name}, killed ${first[0]} call ${first[1]} (away ${away})${again}`;
};

/** Dies at one point, and, if `which` says so, again at each of those that come after it. */
export async function dying(
  tale: Tale,
  wanted: string,
  first: Point['first'],
  away: number,
  which: (nth: number) => boolean,
): Promise<Count> {
  const count = emptyCount();
  const tell = async (point: Point) => {
    const it = await telling(tale, decisionsOf(point, away));
    add(count, nameOf(tale, point, away), judge(it, wanted));
    return it;
  };
  const once = await tell({ first, second: null });
  if (once.calls.died === null) count.red.push(`${tale.name}: nobody died at ${first}`);
  for (const [nth, second] of secondDeaths(once).entries()) {
    if (which(nth)) await tell({ first, second });
  }
  return count;
}
