import type { Happening } from '#ports/hypervisor.ts';
import type { Probe, Trace } from './trace.ts';

const WRITES: readonly string[] = ['ask', 'accept', 'drop', 'commit', 'settle'];

/**
 * Names what our operation waits for: while it is accepted, before the change, the change itself
 * (as the bare side names it: call, event, barrier), and after it.
 */
export class Phases {
  readonly trace: Trace;
  #stage: 'accept' | 'before' | 'after' = 'accept';
  #ended = false;
  #heard: () => void = () => {};

  constructor(trace: Trace) {
    this.trace = trace;
  }

  begin(): void {
    this.#stage = 'accept';
    this.#ended = false;
    this.trace.begin();
  }

  hear(happening: Happening): void {
    if (happening.kind !== 'job') return;
    this.#ended = true;
    this.#heard();
  }

  readonly cinder: Probe = { phase: () => this.#staged('cinder') };

  readonly images: Probe = { phase: (method) => this.#staged(method) };

  readonly journal: Probe = {
    phase: (method) => this.#staged(WRITES.includes(method) ? 'journal' : 'journal reads'),
    after: (method) => {
      if (method === 'accept') this.#stage = 'before';
    },
  };

  readonly hypervisor: Probe = {
    phase: (method) => {
      switch (method) {
        case 'look':
          return this.#staged('look');
        case 'flush':
          return 'barrier';
        case 'snapshot':
        case 'merge':
          return 'call';
        default:
          return null;
      }
    },
    after: (method) => {
      if (method !== 'snapshot' && method !== 'merge') return;
      this.#stage = 'after';
      if (method === 'merge' && !this.#ended) this.#heard = this.trace.enter('event');
    },
  };

  #staged(what: string): string {
    return `${this.#stage}: ${what}`;
  }
}
