/** Numbers of one kind, in brief. */
export interface Summary {
  readonly n: number;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** The middle half lies between these. */
  readonly lower: number;
  readonly upper: number;
  readonly p99: number;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((one, other) => one - other);
  const at = (part: number) => quantile(sorted, part);
  const [median, min, max, lower, upper] = [at(0.5), at(0), at(1), at(0.25), at(0.75)];
  return { n: sorted.length, median, min, max, lower, upper, p99: at(0.99) };
}

export const median = (values: readonly number[]): number => summarize(values).median;

/** Between the two nearest, as most programs do it (R's type 7). */
function quantile(sorted: readonly number[], part: number): number {
  const place = part * (sorted.length - 1);
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place % 1);
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * The k of y ~ x^k, by least squares over the logarithms; of the upper half of the points, since
 * what does not depend on x at all hides it below.
 */
export function exponent(points: readonly Point[]): number {
  const used = points.slice(-Math.max(3, Math.ceil(points.length / 2)));
  const xs = used.map(({ x }) => Math.log(x));
  const ys = used.map(({ y }) => Math.log(y));
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(xs), mean(ys)];
  const over = xs.reduce((sum, x, at) => sum + (x - mx) * (ys[at]! - my), 0);
  return over / xs.reduce((sum, x) => sum + (x - mx) ** 2, 0);
}
