/** Random histories of one guest disk, for the differential tests: see test/live/differential. */

/** What a move may be, and how often. */
const WEIGHTS = {
  write: 16,
  zero: 4,
  unmap: 2,
  discard: 4,
  flush: 2,
  barrier: 2,
  forge: 2,
  snapshot: 13,
  pull: 6,
  commit: 7,
  'active commit': 5,
  pivot: 6,
  cancel: 3,
  release: 3,
  kill: 3,
  stop: 2,
  start: 2,
} as const;
export type Kind = keyof typeof WEIGHTS;

/** One move; its dice decide the rest when it is made, by how the disk is then. */
export interface Move {
  readonly kind: Kind;
  readonly dice: readonly number[];
}

export interface History {
  readonly seed: number;
  readonly baseFormat: 'raw' | 'qcow2';
  readonly clusters: number;
  readonly unmaps: boolean;
  readonly moves: readonly Move[];
}

const MOVES = 24;
const DICE = 5;

/** The same history for the same seed. */
export function historyOf(seed: number): History {
  const random = dice(seed);
  const all = Object.entries(WEIGHTS) as [Kind, number][];
  const sum = all.reduce((total, [, weight]) => total + weight, 0);
  const pick = (): Kind => {
    let at = random() * sum;
    for (const [kind, weight] of all) {
      at -= weight;
      if (at < 0) return kind;
    }
    return 'write';
  };
  const moves = Array.from({ length: MOVES }, () => {
    const kind = pick();
    return { kind, dice: Array.from({ length: DICE }, random) };
  });
  const baseFormat = random() < 0.6 ? 'raw' : 'qcow2';
  return {
    seed,
    baseFormat,
    clusters: 8 + Math.floor(random() * 9),
    unmaps: random() < 0.5,
    moves,
  };
}

/** mulberry32. */
export function dice(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * A shorter history that fails too, or the same one: moves are left out, many at a time, then
 * fewer, as long as `fails` says yes and `tries` lasts.
 */
export async function shrunk(
  history: History,
  fails: (shorter: History) => Promise<boolean>,
  tries: number,
): Promise<History> {
  let best = history;
  let left = tries;
  for (let size = Math.ceil(best.moves.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.moves.length && left > 0; ) {
      const moves = best.moves.toSpliced(at, size);
      left--;
      if (moves.length > 0 && (await fails({ ...best, moves }))) best = { ...best, moves };
      else at += size;
    }
  }
  return best;
}
