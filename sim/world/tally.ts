import { FAULT_KINDS } from './faults.ts';
import { SOMETIMES } from './laws.ts';
import type { Told } from './run.ts';
import { reds } from './shrink.ts';

/** What many histories had in them; plain data, so that it travels between threads. */
export interface Tally {
  seeds: number;
  operations: number;
  /** Seeds that broke a law which no missing guard excuses, with that law. */
  readonly red: [seed: number, what: string][];
  readonly faults: Record<string, number>;
  readonly sometimes: Record<string, number>;
  /** By law and missing guard: how many histories were red for want of it, and the first. */
  readonly expected: Record<string, { count: number; first: number }>;
}

export const emptyTally = (): Tally => ({
  seeds: 0,
  operations: 0,
  red: [],
  faults: {},
  sometimes: {},
  expected: {},
});

export function count(tally: Tally, told: Told): void {
  tally.seeds++;
  tally.operations += told.operations;
  for (const what of reds(told)) tally.red.push([told.seed, what]);
  for (const [kind, times] of told.faults) add(tally.faults, kind, times);
  for (const [what, times] of told.sometimes) add(tally.sometimes, what, times);
  const keys = new Set<string>();
  for (const { law, guard } of told.broken) if (guard !== null) keys.add(`law ${law}: ${guard}`);
  for (const key of keys) {
    const known = tally.expected[key];
    if (known === undefined) tally.expected[key] = { count: 1, first: told.seed };
    else known.count++;
  }
}

export function merge(into: Tally, from: Tally): void {
  into.seeds += from.seeds;
  into.operations += from.operations;
  into.red.push(...from.red);
  for (const [kind, times] of Object.entries(from.faults)) add(into.faults, kind, times);
  for (const [what, times] of Object.entries(from.sometimes)) add(into.sometimes, what, times);
  for (const [key, { count, first }] of Object.entries(from.expected)) {
    const known = into.expected[key];
    if (known === undefined) into.expected[key] = { count, first };
    else {
      known.count += count;
      known.first = Math.min(known.first, first);
    }
  }
}

/** What never happened, though enough histories were told for it to have. */
export const missing = (tally: Tally): readonly string[] =>
  SOMETIMES.filter((what) => !tally.sometimes[what]);

export const unseen = (tally: Tally): readonly string[] =>
  FAULT_KINDS.filter((kind) => !tally.faults[kind]);

function add(to: Record<string, number>, key: string, times: number): void {
  to[key] = (to[key] ?? 0) + times;
}
