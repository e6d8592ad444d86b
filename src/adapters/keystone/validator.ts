import { createHash } from 'node:crypto';
import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Clock } from '#ports/clock.ts';
import type { Holder, TokenJudge } from '#ports/identity.ts';
import { refused } from './http.ts';
import type { KeystoneSession } from './session.ts';
import { parseToken, type Token } from './token.ts';

export interface ValidatorOptions {
  /** A user that may look at tokens: with the role service, or admin. */
  readonly session: KeystoneSession;
  readonly clock: Pick<Clock, 'monotonic' | 'now'>;
  /** How long an answer is believed: so long a token that was revoked still passes. */
  readonly cacheMs: number;
  /** Tokens that are remembered, and that may be asked about at once. */
  readonly most?: number;
}

interface Remembered {
  readonly holder: Holder;
  readonly until: number;
}

/** Keystone's word on the tokens of others; what it said is believed for a while. */
export class TokenValidator implements TokenJudge {
  readonly #options: ValidatorOptions;
  readonly #remembered = new Map<string, Remembered>();
  readonly #flights = new Map<string, Promise<Result<Holder | null, Fault>>>();

  constructor(options: ValidatorOptions) {
    this.#options = options;
  }

  /** Keystone decides about its age, for our clock may be wrong; ours ends what we remember. */
  async validate(text: string, allowExpired: boolean): Promise<Result<Holder | null, Fault>> {
    const key = `${allowExpired} ${createHash('sha256').update(text).digest('base64')}`;
    const known = this.#remembered.get(key);
    if (known !== undefined && this.#options.clock.monotonic() < known.until) {
      return ok(known.holder);
    }
    this.#remembered.delete(key);
    const flight = this.#flights.get(key);
    if (flight !== undefined) return flight;
    if (this.#flights.size >= (this.#options.most ?? MOST_FLIGHTS)) return err(TOO_MANY);
    const asked = this.#ask(text, allowExpired, key).finally(() => this.#flights.delete(key));
    this.#flights.set(key, asked);
    return asked;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#options.session[Symbol.asyncDispose]();
  }

  async #ask(
    text: string,
    allowExpired: boolean,
    key: string,
  ): Promise<Result<Holder | null, Fault>> {
    const { session } = this.#options;
    for (let own = await session.access(), again = false; ; again = true) {
      if (!own.ok) return own;
      const answer = await session.http.ask({
        method: 'GET',
        path: `/auth/tokens?nocatalog${allowExpired ? '&allow_expired=1' : ''}`,
        headers: {
          'X-Auth-Token': own.value.text,
          'X-Subject-Token': text,
          // Without it Keystone says that a token with access rules is none at all.
          'OpenStack-Identity-Access-Rules': '1',
        },
        secrets: [text, ...session.secrets()],
      });
      if (!answer.ok) return answer;
      const { status, body } = answer.value;
      if (status === 404) return ok(null);
      if (status === 401 && !again) {
        own = await session.renew(own.value.text);
        continue;
      }
      if (status !== 200) return err(refused(answer.value));
      const token = parseToken(body);
      if (token.ok) return ok(this.#remember(key, token.value));
      return err({ kind: 'rejected', who: 'Keystone', detail: token.error, code: 'malformed' });
    }
  }

  #remember(key: string, { user, roles, project, restricted, expiresAt }: Token): Holder {
    const holder = { user, roles, project, restricted };
    const { clock, cacheMs, most = MOST_REMEMBERED } = this.#options;
    const forMs = Math.min(cacheMs, expiresAt - clock.now());
    if (forMs <= 0) return holder;
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size >= most && oldest !== undefined) this.#remembered.delete(oldest);
    this.#remembered.set(key, { holder, until: clock.monotonic() + forMs });
    return holder;
  }
}

const MOST_FLIGHTS = 64;
const MOST_REMEMBERED = 1000;
const TOO_MANY: Fault = {
  kind: 'unreachable',
  who: 'Keystone',
  detail: 'too many tokens are being looked at at once',
};
