import { GuestCalls } from '#adapters/libvirt/guest-calls.ts';

/** What one operation spent its time on. All times are milliseconds. */
export interface Taken {
  readonly ms: number;
  /** By phase; they add up to `ms`. */
  readonly phases: Readonly<Record<string, number>>;
  /** By libvirt call: how often and how long. */
  readonly calls: Readonly<Record<string, readonly number[]>>;
  /** Of the processor, in this process. */
  readonly cpuMs?: number;
  /** What Cinder took of it. */
  readonly cinderMs?: number;
}

interface Span {
  readonly name: string;
  readonly from: number;
  to: number;
}

/** Notes who is waited for and when, between `begin` and `end`. */
export class Trace {
  #began = 0;
  #spans: Span[] = [];
  #calls: Record<string, number[]> = {};

  begin(): void {
    this.#spans = [];
    this.#calls = {};
    this.#began = performance.now();
  }

  /** Something begins now; the answer ends it. */
  enter(name: string): () => void {
    const span = { name, from: performance.now(), to: Number.POSITIVE_INFINITY };
    this.#spans.push(span);
    return () => {
      span.to = Math.min(span.to, performance.now());
    };
  }

  during<T>(name: string, work: () => Promise<T>): Promise<T> {
    const leave = this.enter(name);
    return work().finally(leave);
  }

  called(name: string, ms: number): void {
    this.#calls[name] ??= [];
    this.#calls[name].push(ms);
  }

  /** Every moment goes to what began last of all that was under way then. */
  end(at: number): Taken {
    const clip = (time: number) => Math.min(Math.max(time, this.#began), at);
    const spans = this.#spans.map(({ name, from, to }) => ({
      ...{ name, from: clip(from), to: clip(to) },
    }));
    const edges = spans.flatMap(({ from, to }) => [from, to]);
    const cuts = [...new Set([this.#began, at, ...edges])].sort((one, other) => one - other);
    const phases: Record<string, number> = {};
    for (const [index, to] of cuts.entries()) {
      const from = cuts[index - 1] ?? to;
      const busy = spans.findLast((span) => span.from <= from && span.to >= to);
      const name = busy?.name ?? OWN_CODE;
      phases[name] = (phases[name] ?? 0) + to - from;
    }
    const calls = this.#calls;
    this.#calls = {}; // what follows, up to the next beginning, belongs to nobody
    return { ms: at - this.#began, phases, calls };
  }
}

/** What nobody was waited for: parsing, deciding, and Node's own turns. */
const OWN_CODE = 'own code';

/** Notes each call to libvirt about a guest, whoever makes it; for this process, for good. */
export function noteCalls(trace: Trace): void {
  const calls = GuestCalls.prototype as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const name of Object.getOwnPropertyNames(calls).filter((key) => key !== 'constructor')) {
    const call = calls[name]!;
    calls[name] = async function (this: GuestCalls, ...args: unknown[]) {
      const from = performance.now();
      try {
        return await call.apply(this, args);
      } finally {
        trace.called(name, performance.now() - from);
      }
    };
  }
}
