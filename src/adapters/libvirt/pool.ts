/** How many of those that go first may be taken in a row while others wait. */
const MOST_IN_A_ROW = 8;

/**
 * A few things for many users. Who waits is served in order; those that go `first` before the
 * others, but for every ninth, so that the others wait longer and never for ever.
 */
export class Pool<T> {
  /** The last one used is the next one used: what is not needed stays as it is. */
  readonly #free: T[];
  readonly #first: ((it: T) => void)[] = [];
  readonly #others: ((it: T) => void)[] = [];
  #inARow = 0;

  constructor(all: readonly T[]) {
    this.#free = [...all];
  }

  /** How many users have none yet. */
  get waiting(): number {
    return this.#first.length + this.#others.length;
  }

  async borrow<R>(use: (it: T) => Promise<R>, first = false): Promise<R> {
    const it = this.#free.pop() ?? (await this.#wait(first));
    try {
      return await use(it);
    } finally {
      const next = this.#next();
      if (next) next(it);
      else this.#free.push(it);
    }
  }

  #wait(first: boolean): Promise<T> {
    return new Promise((take) => (first ? this.#first : this.#others).push(take));
  }

  #next(): ((it: T) => void) | undefined {
    const spent = this.#inARow >= MOST_IN_A_ROW && this.#others.length > 0;
    const next = spent ? undefined : this.#first.shift();
    this.#inARow = next === undefined ? 0 : this.#inARow + 1;
    return next ?? this.#others.shift();
  }
}
