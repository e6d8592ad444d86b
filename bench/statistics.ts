/** Numbers of one kind, in brief. */
export interface Summary {
  readonly n: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** The middle half lies between these. */
  readonly lower: number;
  readonly upper: number;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((one, other) => one - other);
  const at = (part: number) => quantile(sorted, part);
  const [median, min, max, lower, upper] = [at(0.5), at(0), at(1), at(0.25), at(0.75)];
  return { n: sorted.length, median, min, max, lower, upper };
}

export const median = (values: readonly number[]): number => summarize(values).median;

/** Between the two nearest, as most programs do it (R's type 7). */
function quantile(sorted: readonly number[], part: number): number {
  const place = part * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place % 1);
}
