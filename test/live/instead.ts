/**
 * `made` with some of its methods replaced, the others still its own. Between a port and its
 * users (`wrapped`), this is how a test takes a guard away, or looks on.
 */
export function instead<T extends object>(made: T, methods: Partial<T>): T {
  return new Proxy(made, {
    get(_, key) {
      const ours = Reflect.get(methods, key);
      if (ours !== undefined) return ours;
      const theirs = Reflect.get(made, key, made);
      if (typeof theirs !== 'function') return theirs;
      // Not theirs.bind(made): V8's AsyncDisposableStack calls a bound function no function.
      return (...words: readonly unknown[]) => Reflect.apply(theirs, made, words);
    },
  });
}
