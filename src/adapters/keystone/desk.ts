import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Lent, LoginDesk, Words } from '#ports/identity.ts';
import { type KeystoneHttp, refused } from './http.ts';
import { loginBody } from './login.ts';
import { parseToken } from './token.ts';

/** Tokens of Keystone's for people who say who they are, to be held for them. */
export class KeystoneDesk implements LoginDesk {
  readonly #http: KeystoneHttp;

  constructor(http: KeystoneHttp) {
    this.#http = http;
  }

  async login(words: Words): Promise<Result<Lent | null, Fault>> {
    const { password } = words;
    const body = loginBody({
      type: 'password',
      authUrl: '',
      user: { name: words.user, domain: { name: words.domain } },
      password: { reveal: () => password },
      project: { name: words.project, domain: { name: words.projectDomain } },
    });
    const path = '/auth/tokens?nocatalog';
    const answer = await this.#http.ask({ method: 'POST', path, body, secrets: [password] });
    if (!answer.ok) return answer;
    const { status, subject } = answer.value;
    if (status === 401) return ok(null);
    if (status !== 201) return err(refused(answer.value));
    const token = parseToken(answer.value.body);
    if (!token.ok || subject === null) {
      const detail = token.ok ? 'its answer has no X-Subject-Token' : token.error;
      return err({ kind: 'rejected', who: 'Keystone', detail, code: 'malformed' });
    }
    const { user, issuedAt, expiresAt } = token.value;
    return ok({ token: subject, user, lifeMs: Math.max(0, expiresAt - issuedAt) });
  }

  /** What does not come of it: the token then lives until its end. */
  async giveBack(token: string): Promise<void> {
    const headers = { 'X-Auth-Token': token, 'X-Subject-Token': token };
    await this.#http.ask({ method: 'DELETE', path: '/auth/tokens', headers, secrets: [token] });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#http[Symbol.asyncDispose]();
  }
}
