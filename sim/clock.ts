import type { Clock } from '#ports/clock.ts';

interface Sleeper {
  readonly until: number;
  readonly order: number;
  readonly wake: () => void;
}

export interface SimClockOptions {
  readonly seed?: number;
  /** Wall-clock milliseconds at the beginning. */
  readonly start?: number;
}

const DAY_MS = 86_400_000;

/**
 * Virtual time: nothing happens between two events, so a day costs as long as what happens in it.
 * The same seed gives the same ids and the same order.
 */
export class SimClock implements Clock {
  #now: number;
  readonly #start: number;
  #order = 0;
  #state: number;
  readonly #sleepers: Sleeper[] = [];
  #held = 0;
  /** Called whenever all that one moment brought about has come to rest. */
  watch: (() => void) | null = null;

  constructor({ seed = 1, start = Date.UTC(2026, 0, 1) }: SimClockOptions = {}) {
    this.#state = seed >>> 0;
    this.#now = start;
    this.#start = start;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now - this.#start;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const until = this.#now + Math.max(0, ms);
      const sleeper = { until, order: this.#order++, wake: resolve };
      const at = this.#sleepers.findIndex((one) => one.until > until);
      this.#sleepers.splice(at < 0 ? this.#sleepers.length : at, 0, sleeper);
      signal?.addEventListener('abort', () => {
        const index = this.#sleepers.indexOf(sleeper);
        if (index >= 0) this.#sleepers.splice(index, 1);
        resolve();
      });
    });
  }

  uuid(): string {
    let hex = '';
    for (let at = 0; at < 32; at++) hex += DIGITS[Math.floor(this.random() * 16)];
    const variant = '89ab'[Math.floor(this.random() * 4)];
    const [low, mid] = [hex.slice(0, 8), hex.slice(8, 12)];
    return `${low}-${mid}-4${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20)}`;
  }

  /** mulberry32. */
  random(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  }

  /** Whoever sleeps up to `ms` from now is woken in turn, each once all before it has settled. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    while (this.#sleepers[0] !== undefined && this.#sleepers[0].until <= end) {
      await this.#wakeNext();
      await settled();
    }
    this.#now = end;
  }

  /**
   * Lets time run until `promise` settles, and answers as it does. `limitMs` of virtual time is a
   * bound on what may be waited for; nobody asleep and nothing settled is a deadlock.
   */
  async until<T>(promise: Promise<T>, limitMs = DAY_MS): Promise<T> {
    const end = this.#now + limitMs;
    let over = false;
    const finish = () => {
      over = true;
    };
    promise.then(finish, finish);
    for (let idle = 0; ; ) {
      await settled();
      if (over) return promise;
      if (this.#held > 0) {
        await pause(1);
        continue;
      }
      if (this.#now > end) throw new Error(`not settled after ${limitMs} ms of virtual time`);
      if (this.#sleepers.length > 0) idle = 0;
      // Nobody sleeps: real input or output may be under way (an HTTP call of the same process).
      else if (++idle > PATIENCE) throw new Error('everybody waits, and nobody for the clock');
      else await pause(10);
      if (this.#sleepers.length > 0) await this.#wakeNext();
    }
  }

  /** Time stands still until `real` has settled: for calls over a real socket. */
  async hold<T>(real: Promise<T>): Promise<T> {
    this.#held++;
    try {
      return await real;
    } finally {
      this.#held--;
    }
  }

  async #wakeNext(): Promise<void> {
    const next = this.#sleepers.shift();
    if (next === undefined) return;
    this.#now = Math.max(this.#now, next.until);
    next.wake();
    await drained();
    this.watch?.();
  }
}

const DIGITS = '0123456789abcdef';

const PATIENCE = 100;

/** Until every promise that waits for nothing but promises has settled. */
const drained = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));

/**
 * Until everything that can settle by itself has: after a turn of the event loop, which is dear,
 * and in which Node says of what was rejected that nobody handles it.
 */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
