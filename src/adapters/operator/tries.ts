import type { Clock } from '#ports/clock.ts';

/** How often somebody may try within a while. Keystone locks nobody out by default. */
export class Tries {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #made = new Map<string, { count: number; readonly endsAt: number }>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** Counts one, or says after how many seconds there may be another. */
  begin(who: string): number | null {
    const now = this.#clock.monotonic();
    const known = this.#made.get(who);
    if (known === undefined || known.endsAt <= now) {
      this.#made.delete(who);
      const [oldest] = this.#made.keys();
      if (this.#made.size >= MOST_KNOWN && oldest !== undefined) this.#made.delete(oldest);
      this.#made.set(who, { count: 1, endsAt: now + WHILE_MS });
      return null;
    }
    if (known.count >= MOST_TRIES) return Math.ceil((known.endsAt - now) / 1000);
    known.count += 1;
    return null;
  }

  /** Of a try that was a good one: as if it had not been, or as if there had been none. */
  takeBack(who: string, all: boolean): void {
    const known = this.#made.get(who);
    if (known === undefined) return;
    known.count -= 1;
    if (all) this.#made.delete(who);
  }
}

export const MOST_TRIES = 10;
export const WHILE_MS = 5 * 60_000;
const MOST_KNOWN = 10_000;

/**
 * A user, as a database may have it that tells neither case, nor accents, nor spaces at the end
 * apart: Keystone's on MySQL lets `Admin ` in as `admin`.
 */
export const nameOf = (domain: string, user: string): string =>
  JSON.stringify(
    [domain, user].map((name) =>
      name.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase().trim(),
    ),
  );

/** An address, as one who guesses has it: of IPv6 everybody has 2^64 at least. */
export function placeOf(address: string): string {
  if (!address.includes(':') || address.startsWith('::ffff:')) return address;
  const [left = '', right] = address.split('::');
  const groups = left.split(':').filter(Boolean);
  const rest = right === undefined ? [] : right.split(':').filter(Boolean);
  const all = [
    ...groups,
    ...Array(Math.max(0, 8 - groups.length - rest.length)).fill('0'),
    ...rest,
  ];
  return `${all.slice(0, 4).join(':')}::/64`;
}
