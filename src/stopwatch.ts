import type { Effect } from '#domain/saga.ts';
import type { Clock } from '#ports/clock.ts';
import type { Phase, Trace } from '#ports/journal.ts';

/** Gives every moment of an operation to one phase. Nothing of it decides anything. */
export class Stopwatch {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #spent: Partial<Record<Phase, number>>;
  #since: number;

  /** It runs from now on; `before` is what an earlier process has counted. */
  constructor(clock: Pick<Clock, 'monotonic'>, before: Trace = {}) {
    this.#clock = clock;
    this.#spent = { ...before };
    this.#since = clock.monotonic();
  }

  /** What has passed since the last lap, or the beginning, was for this. */
  lap(phase: Phase): void {
    const now = this.#clock.monotonic();
    this.#spent[phase] = (this.#spent[phase] ?? 0) + now - this.#since;
    this.#since = now;
  }

  /** The same of an effect: the first change parts what is before from what is after. */
  did(effect: Effect): void {
    this.lap(phaseOf(effect, this.#spent.libvirt !== undefined));
  }

  /** As it is written down: in whole microseconds. */
  get trace(): Trace {
    const all = Object.entries(this.#spent).map(([phase, ms]) => [phase, toMicroseconds(ms)]);
    return Object.fromEntries(all);
  }
}

function phaseOf(effect: Effect, changed: boolean): Phase {
  switch (effect.do) {
    case 'look':
      return changed ? 'verify' : 'preflight';
    case 'watch':
      return changed ? 'event' : 'preflight';
    case 'mend':
      return 'preflight';
    case 'snapshot':
    case 'thaw':
    case 'merge':
    case 'commit-active':
    case 'pivot':
    case 'cancel':
    case 'copy':
    case 'unchain':
      return 'libvirt';
    case 'flush':
    case 'sync':
      return 'barrier';
  }
}

export const toMicroseconds = (ms: number): number => Math.round(ms * 1000) / 1000;
