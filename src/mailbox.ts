import type { ServerId } from '#domain/ids.ts';
import type { Event } from '#domain/saga.ts';
import { type Clock, OVER } from '#ports/clock.ts';
import type { Happening, Hypervisor } from '#ports/hypervisor.ts';

/**
 * What has happened to one guest's disk since the last time it was asked. It listens from before
 * the first call, because an event can come before the reply to the call that caused it.
 */
export class Mailbox implements Disposable {
  readonly #server: ServerId;
  readonly #stop: () => void;
  readonly #clock: Clock;
  #target: string | null = null;
  #waiting: Event[] = [];
  #wake = new AbortController();
  /** Something happened while nobody waited: the next wait is over at once. */
  #rung = false;

  constructor(hypervisor: Hypervisor, server: ServerId, clock: Clock) {
    this.#server = server;
    this.#clock = clock;
    this.#stop = hypervisor.listen((happening) => this.#hear(happening));
  }

  /** From now on only this disk's jobs count, or none; what came before was another job's. */
  expect(target: string | null): void {
    this.#target = target;
    this.#waiting = [];
  }

  /** The next event, or `woke` once `pollMs` have passed without one. */
  async next(pollMs: number): Promise<Event> {
    if (this.#waiting.length === 0 && !this.#rung) {
      this.#wake = new AbortController();
      await this.#clock.sleep(pollMs, this.#wake.signal);
    }
    this.#rung = false;
    return this.#waiting.shift() ?? { kind: 'woke' };
  }

  /** Ends a wait. */
  nudge(): void {
    this.#rung = true;
    this.#wake.abort(OVER);
  }

  [Symbol.dispose](): void {
    this.#stop();
  }

  #hear(happening: Happening): void {
    if (happening.kind !== 'reconnected' && happening.server !== this.#server) return;
    if (happening.kind === 'job') {
      if (happening.target !== this.#target) return;
      if (happening.how !== 'ready') this.#waiting.push({ kind: 'ended', how: happening.how });
    }
    this.nudge();
  }
}
