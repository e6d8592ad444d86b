import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Clock } from '#ports/clock.ts';
import type { Access, Identity } from '#ports/identity.ts';
import { type KeystoneHttp, refused } from './http.ts';
import { type Login, loginBody, secretOf } from './login.ts';
import { parseToken } from './token.ts';

export interface SessionOptions {
  readonly login: Login;
  readonly http: KeystoneHttp;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Whether to ask for the catalog: it is the largest part of a token. */
  readonly catalog: boolean;
}

/** keystoneauth renews a token that has less than this left (MIN_TOKEN_LIFE_SECONDS). */
const RENEW_MS = 120_000;
/** Keystone locks a user out after some wrong passwords (security_compliance). */
const REFUSED_MS = 60_000;

interface Held {
  readonly access: Access;
  /** By our own monotonic clock: nobody's wall clock need be right. */
  readonly renewAt: number;
  readonly endsAt: number;
}

/**
 * One user of Keystone's, logged in when it is needed and again before its token expires. Logins
 * take no turns: whoever comes while one is under way gets its outcome.
 */
export class KeystoneSession implements Identity {
  readonly #options: SessionOptions;
  #held: Held | null = null;
  #flight: Promise<Result<Access, Fault>> | null = null;
  #refused: { readonly fault: Fault; readonly until: number } | null = null;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get http(): KeystoneHttp {
    return this.#options.http;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.http[Symbol.asyncDispose]();
  }

  async access(): Promise<Result<Access, Fault>> {
    const now = this.#options.clock.monotonic();
    const held = this.#held;
    if (held !== null && now < held.renewAt) return ok(held.access);
    const fresh = await this.#login();
    // Keystone may be away for a moment: the old token is good until its end.
    if (!fresh.ok && held !== null && held === this.#held && now < held.endsAt) {
      return ok(held.access);
    }
    return fresh;
  }

  async renew(rejected: string): Promise<Result<Access, Fault>> {
    if (this.#held?.access.text === rejected) this.#held = null;
    return this.access();
  }

  secrets(): readonly string[] {
    const token = this.#held === null ? [] : [this.#held.access.text];
    return [secretOf(this.#options.login), ...token];
  }

  #login(): Promise<Result<Access, Fault>> {
    const { clock } = this.#options;
    if (this.#refused !== null && clock.monotonic() < this.#refused.until) {
      return Promise.resolve(err(this.#refused.fault));
    }
    this.#flight ??= this.#ask().finally(() => {
      this.#flight = null;
    });
    return this.#flight;
  }

  async #ask(): Promise<Result<Access, Fault>> {
    const { login, http, clock, catalog } = this.#options;
    const began = clock.monotonic();
    const answer = await http.ask({
      method: 'POST',
      path: `/auth/tokens${catalog ? '' : '?nocatalog'}`,
      body: loginBody(login),
      secrets: [secretOf(login)],
    });
    this.#refused = null;
    if (!answer.ok) return answer;
    if (answer.value.status !== 201) {
      // Cinder's log shows this where it could as well be about Cinder's own login.
      const fault = refused({
        ...answer.value,
        detail: `chainkeeper's own login: ${answer.value.detail}`,
      });
      this.#refused = { fault, until: clock.monotonic() + REFUSED_MS };
      return err(fault);
    }
    const token = parseToken(answer.value.body);
    const text = answer.value.subject;
    if (!token.ok || text === null) {
      const detail = token.ok ? 'its answer has no X-Subject-Token' : token.error;
      return err({ kind: 'rejected', who: 'Keystone', detail, code: 'malformed' });
    }
    const { issuedAt, expiresAt, ...holder } = token.value;
    const access = { ...holder, text };
    const lifeMs = Math.max(0, expiresAt - issuedAt);
    // A cloud whose tokens live for seconds would have us log in for every request.
    const renewAt = began + lifeMs - Math.min(RENEW_MS, lifeMs / 2);
    this.#held = { access, renewAt, endsAt: began + lifeMs };
    return ok(access);
  }
}
