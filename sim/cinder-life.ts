import type { SnapshotId } from '#domain/ids.ts';

/** Where a process of cinder-volume can die between two of its effects, in their order. */
export const CINDER_STEPS = [
  'before it asks',
  'after it was answered',
  'before it writes .info',
  'while it writes .info',
  'before it removes a file',
  'after a commit of its own',
  'before a rebase of its own',
  'before it saves the status',
] as const;
export type CinderStep = (typeof CINDER_STEPS)[number];

/** One process of cinder-volume: whatever it was doing ends with it, wherever it was. */
export class CinderLife {
  #over = false;
  readonly ended: Promise<void>;
  readonly #end: () => void;
  readonly #at: (step: CinderStep, snapshot: SnapshotId) => void;

  /** `at` is told of each step before it is taken, and may kill this process there. */
  constructor(at: (step: CinderStep, snapshot: SnapshotId) => void) {
    this.#at = at;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
  }

  get over(): boolean {
    return this.#over;
  }

  kill(): void {
    this.#over = true;
    this.#end();
  }

  /** Goes on only if the process lives. */
  async step(step: CinderStep, snapshot: SnapshotId): Promise<void> {
    this.#at(step, snapshot);
    if (this.#over) await never();
  }

  /** Waits for something; a process that died meanwhile never sees that it came. */
  async see<T>(it: Promise<T>): Promise<T> {
    const seen = await it;
    return this.#over ? never() : seen;
  }
}

/** Each his own: one for all would keep every world. */
const never = (): Promise<never> => new Promise(() => {});
