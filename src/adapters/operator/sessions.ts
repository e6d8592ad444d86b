import { createHash, randomBytes } from 'node:crypto';
import type { Clock } from '#ports/clock.ts';

/**
 * Tokens of people who have logged in, kept here: a browser has no more than a number that nobody
 * can guess. In memory only, so that a restart ends them all.
 */
export class Sessions {
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #held = new Map<string, { readonly token: string; readonly endsAt: number }>();

  constructor(clock: Pick<Clock, 'monotonic'>) {
    this.#clock = clock;
  }

  /** The number of a new session, which ends when the token does. */
  open(token: string, lifeMs: number): string {
    const now = this.#clock.monotonic();
    for (const [key, { endsAt }] of this.#held) if (endsAt <= now) this.#held.delete(key);
    const [oldest] = this.#held.keys();
    if (this.#held.size >= MOST && oldest !== undefined) this.#held.delete(oldest);
    const number = randomBytes(32).toString('base64url');
    this.#held.set(keyOf(number), { token, endsAt: now + lifeMs });
    return number;
  }

  token(number: string): string | null {
    const held = this.#held.get(keyOf(number));
    return held !== undefined && this.#clock.monotonic() < held.endsAt ? held.token : null;
  }

  /** Ends a session, and says whose token it was. */
  close(number: string): string | null {
    const token = this.token(number);
    this.#held.delete(keyOf(number));
    return token;
  }
}

const MOST = 1000;

/** How long a look-up takes tells nothing of a number that is looked up by its hash. */
const keyOf = (number: string): string => createHash('sha256').update(number).digest('base64');

/**
 * `__Host-`: browsers take it only over TLS, for this host and no other. (`Strict`: nor do they
 * send it along when another site leads here.)
 */
const NAME = '__Host-chainkeeper';
const ATTRIBUTES = 'Path=/; Secure; HttpOnly; SameSite=Strict';

export const cookieOf = (number: string): string => `${NAME}=${number}; ${ATTRIBUTES}`;
export const NO_COOKIE = `${NAME}=; ${ATTRIBUTES}; Max-Age=0`;

/** The number in a Cookie header. */
export function numberIn(cookie: string | undefined): string | null {
  const [, number] = /(?:^|; *)__Host-chainkeeper=([\w-]{43})(?:;|$)/.exec(cookie ?? '') ?? [];
  return number ?? null;
}
