/** How strongly a kind of fault shows in one world. */
export type Strength = 'off' | 'rare' | 'some' | 'often';

/** Out of 1024. */
const ODDS: Readonly<Record<Strength, number>> = { off: 0, rare: 6, some: 50, often: 250 };

/**
 * Every decision of a world, named by where it is taken and how often one was taken there before:
 * `libvirt merge lost#3`. The number of a decision depends on the seed, the place and the count
 * alone, so that taking one away leaves the others as they are. 0 is always the quiet answer: no
 * fault, no act, no wait. A world is told again by its decisions other than 0.
 */
export class Choices {
  readonly seed: number;
  readonly #only: ReadonlyMap<string, number> | null;
  readonly #places = new Map<string, Place>();
  /** The decisions other than 0, in the order in which they were taken. */
  readonly made = new Map<string, number>();

  /** With `only`, whatever is not in it is 0. */
  constructor(seed: number, only: ReadonlyMap<string, number> | null = null) {
    this.seed = seed;
    this.#only = only;
  }

  /** A whole number from 0 up to, and without, `limit`. */
  pick(where: string, limit: number): number {
    const place = this.#place(where);
    const nth = place.count++;
    if (this.#only === null) {
      const value = limit <= 1 ? 0 : mixed(place.hash, nth) % limit;
      if (value !== 0) this.made.set(`${where}#${nth}`, value);
      return value;
    }
    const value = Math.min(this.#only.get(`${where}#${nth}`) ?? 0, limit - 1);
    if (value !== 0) this.made.set(`${where}#${nth}`, value);
    return value;
  }

  /** Whether it happens here and now. A world told again asks its list, not the odds. */
  chance(where: string, strength: Strength): boolean {
    if (this.#only !== null) return this.pick(where, 2) === 1;
    if (strength === 'off') return false;
    const place = this.#place(where);
    const nth = place.count++;
    if (mixed(place.hash, nth) % 1024 >= ODDS[strength]) return false;
    this.made.set(`${where}#${nth}`, 1);
    return true;
  }

  /** One of them; the first is the quiet one. */
  of<const T>(where: string, all: readonly T[]): T {
    const [first] = all;
    if (first === undefined) throw new Error(`${where}: there is nothing to choose from`);
    return all[this.pick(where, all.length)] ?? first;
  }

  /** How many decisions were taken at this place. */
  taken(where: string): number {
    return this.#places.get(where)?.count ?? 0;
  }

  #place(where: string): Place {
    const known = this.#places.get(where);
    if (known !== undefined) return known;
    const place = { hash: hashed(where, this.seed), count: 0 };
    this.#places.set(where, place);
    return place;
  }
}

interface Place {
  readonly hash: number;
  count: number;
}

/** FNV-1a. */
function hashed(text: string, seed: number): number {
  let hash = (0x811c9dc5 ^ Math.imul(seed, 0x9e3779b1)) >>> 0;
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0;
  }
  return hash;
}

/** The finalizer of murmur3 over both. */
function mixed(hash: number, nth: number): number {
  let it = (hash + Math.imul(nth + 1, 0x9e3779b9)) >>> 0;
  it = Math.imul(it ^ (it >>> 16), 0x85ebca6b);
  it = Math.imul(it ^ (it >>> 13), 0xc2b2ae35);
  return (it ^ (it >>> 16)) >>> 0;
}
