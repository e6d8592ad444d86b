import { exponent, type Point } from './statistics.ts';

/** How a cost grows with a size: `points` in `unit`, and k of cost ~ size^k. */
export interface Curve {
  readonly name: string;
  readonly of: string;
  readonly unit: 'ms' | 'KB';
  readonly points: readonly Point[];
  readonly exponent: number;
}

export const curve = (
  name: string,
  of: string,
  points: readonly Point[],
  unit: 'ms' | 'KB' = 'ms',
) => ({
  ...{ name, of, unit, points },
  exponent: exponent(points),
});
