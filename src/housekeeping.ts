import { isForgettable } from '#domain/forgetting.ts';
import type { Clock } from '#ports/clock.ts';
import type { Journal } from '#ports/journal.ts';

/** Far longer than Cinder, or a person, asks after what is over: Cinder waits for two hours. */
export const KEEP_MS = 30 * 24 * 3_600_000;
const EVERY_MS = 24 * 3_600_000;
/** So many are forgotten at once; requests are answered in between. */
const AT_ONCE = 500;
const PAUSE_MS = 100;

export interface HousekeepingWorld {
  readonly journal: Pick<Journal, 'prune'>;
  readonly clock: Clock;
  /** Called with a defect: the process must end. */
  readonly die: (defect: unknown) => void;
}

/** Keeps the journal from growing for ever: once a day it forgets what is long over. */
export class Housekeeping {
  readonly #world: HousekeepingWorld;
  readonly #stopping = new AbortController();
  #over: Promise<void> = Promise.resolve();

  constructor(world: HousekeepingWorld) {
    this.#world = world;
  }

  start(): void {
    this.#over = this.#keep().catch(this.#world.die);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#over;
  }

  async #keep(): Promise<void> {
    const { journal, clock } = this.#world;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      // Not before the journal has said what it had left unsaid.
      await clock.sleep(PAUSE_MS, signal);
      if (signal.aborted) return;
      const gone = await journal.prune(clock.now() - KEEP_MS, AT_ONCE, isForgettable);
      if (gone < AT_ONCE) await clock.sleep(EVERY_MS, signal);
    }
  }
}
