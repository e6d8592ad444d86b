import type { Effect, Event, Next, Saga } from '#domain/saga.ts';
import type { Moment } from './sights.ts';

/** One step that was taken: from where, on what, and what came of it. */
export interface Taken<S extends Saga> {
  readonly from: S;
  readonly event: Event;
  readonly next: Next<S>;
}

/** What journalling and loading makes of a saga. */
export const reloaded = <S>(saga: S): S => JSON.parse(JSON.stringify(saga)) as S;

/**
 * Plays a saga as the runner does: one effect at a time, each answered before the next event is
 * taken; a process that died in between starts again with `woke`.
 */
export function play<S extends Saga>(
  step: (saga: S, event: Event) => Next<S>,
  start: S,
  moments: readonly Moment[],
): readonly Taken<S>[] {
  const taken: Taken<S>[] = [];
  let saga = start;
  let event: Event = { kind: 'woke' };
  for (const moment of moments) {
    const next = step(saga, event);
    taken.push({ from: saga, event, next });
    saga = moment.crash ? reloaded(next.saga) : next.saga;
    event = moment.crash ? { kind: 'woke' } : answer(next.effect, moment);
  }
  return taken;
}

function answer(effect: Effect | null, moment: Moment): Event {
  switch (effect?.do) {
    case 'look':
      return moment.look;
    case 'mend':
    case 'snapshot':
    case 'merge':
    case 'flush':
    case 'unchain':
    case 'commit-active':
    case 'pivot':
    case 'cancel':
    case 'thaw':
    case 'copy':
    case 'sync':
      return moment.act;
    case 'watch':
    case undefined:
      return moment.watch;
  }
}

export const effectsOf = <S extends Saga>(taken: readonly Taken<S>[]): readonly Effect[] =>
  taken.flatMap(({ next }) => (next.effect === null ? [] : [next.effect]));
