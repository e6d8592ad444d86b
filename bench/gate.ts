import type { Verb } from './cycle.ts';
import type { PointResult } from './results.ts';

/**
 * How much longer ours may take than the bare calls: the median of the pairs of one run. Above what
 * the middle halves of such pairs reach on a machine that does little else (docs/PERFORMANCE.md):
 * what is slower has got a step more, not a bad day.
 */
export const BOUNDS: Readonly<Partial<Record<Verb, number>>> = {
  create: 2.4,
  commit: 2.1,
  'pull with base': 2.1,
};

/** The operations that have become too slow, in words. */
export function tooSlow({ rows }: PointResult): string[] {
  return rows.flatMap(({ verb, ratio }) => {
    const bound = BOUNDS[verb];
    const mine = ratio.ours?.median;
    if (bound === undefined || mine === undefined || mine <= bound) return [];
    return [`${verb}: ${mine.toFixed(2)} times the bare call, and ${bound} is the bound`];
  });
}
