/** One after the other, in the order of asking. What was asked for in a turn must not ask again. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  take<T>(use: () => Promise<T>): Promise<T> {
    this.#waiting += 1;
    const mine = this.#last.then(use).finally(() => {
      this.#waiting -= 1;
    });
    // The next one does not care how this one ended.
    this.#last = mine.catch(() => {});
    return mine;
  }

  get idle(): boolean {
    return this.#waiting === 0;
  }
}
