import type { Fault } from '#domain/failure.ts';
import { err } from '#domain/result.ts';

/** A call of a port, as whoever decides its fate sees it. `nth` counts the port's calls from 1. */
export interface Call {
  readonly method: string;
  readonly args: readonly unknown[];
  readonly nth: number;
}

/**
 * What becomes of a call. `before`: the fault comes instead of the effect; `after`: the effect
 * happens, and the fault hides it.
 */
export type Fate = { readonly when: 'before' | 'after'; readonly fault: Fault } | null;

/** The port, with the faults that `decide` wants: only for methods that answer a Result. */
export function faulty<T extends object>(port: T, decide: (call: Call) => Fate): T {
  let nth = 0;
  return wrapped(port, (method, args, call) => {
    const fate = decide({ method, args, nth: ++nth });
    if (fate === null) return call(args);
    if (fate.when === 'before') return Promise.resolve(err(fate.fault));
    return Promise.resolve(call(args)).then(() => err(fate.fault));
  });
}

/** A process, as the world sees it: it lives until it does not. */
export class Life {
  #over = false;
  #calls = 0;
  readonly #at: number;
  readonly #when: 'before' | 'after';
  /** Every call that was made through this life, in order. */
  readonly calls: string[] = [];
  readonly ended: Promise<void>;
  readonly #end: () => void;

  /** Dies at the `at`-th call that it makes to any of its ports, before or after the effect. */
  constructor(at = Number.POSITIVE_INFINITY, when: 'before' | 'after' = 'after') {
    this.#at = at;
    this.#when = when;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
  }

  get over(): boolean {
    return this.#over;
  }

  /** The process is killed: nothing it asks for from now on happens, nothing it hears counts. */
  end(): void {
    this.#over = true;
    this.#end();
  }

  /**
   * A port as this process has it. Calls after the end have no effect and no answer, and a
   * listener it left behind is not called. `counts` says which methods are steps to die at.
   */
  holds<T extends object>(name: string, port: T, counts: (method: string) => boolean = every): T {
    return wrapped(port, (method, args, call) => {
      if (this.#over) return never();
      const step = counts(method) && ++this.#calls === this.#at;
      if (counts(method)) this.calls.push(`${name} ${method}`);
      if (step && this.#when === 'before') {
        this.end();
        return never();
      }
      const answer = call(args.map((one) => this.#mine(one)));
      if (step) this.end();
      return isPromise(answer) ? this.#heard(answer) : answer;
    });
  }

  #heard(answer: Promise<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      answer.then(
        (value) => this.#over || resolve(value),
        (error: unknown) => this.#over || reject(error),
      );
    });
  }

  #mine(argument: unknown): unknown {
    if (typeof argument !== 'function') return argument;
    return (...args: unknown[]) => (this.#over ? undefined : argument(...args));
  }
}

/** The same object, with each call of a method going through `around`. */
export function wrapped<T extends object>(
  port: T,
  around: (
    method: string,
    args: readonly unknown[],
    call: (args: readonly unknown[]) => unknown,
  ) => unknown,
): T {
  return new Proxy(port, {
    get(target, key) {
      // The target itself is `this`: its private fields are not the proxy's.
      const member: unknown = Reflect.get(target, key, target);
      if (typeof member !== 'function') return member;
      if (typeof key === 'symbol') return member.bind(target);
      return (...args: unknown[]) => around(key, args, (given) => member.apply(target, given));
    },
  });
}

const every = (): boolean => true;
/** Each his own: one for all would keep every world that waits for it. */
const never = (): Promise<never> => new Promise(() => {});

const isPromise = (it: unknown): it is Promise<unknown> => it instanceof Promise;
