import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { compare } from 'bcryptjs';

/** Who is calling, and whether they may. */
export interface Authenticator extends Partial<AsyncDisposable> {
  authenticate(headers: IncomingHttpHeaders, asked: Asked): Promise<Verdict>;
}

/** What they want. */
export interface Asked {
  readonly action: 'create' | 'delete' | 'read';
  /** The project that the URL names. */
  readonly project: string | null;
}

export type Verdict =
  | { readonly ok: true; readonly user: string | null; readonly project?: string }
  | {
      readonly ok: false;
      readonly status: 400 | 401 | 403 | 503;
      readonly message: string;
      /** For the log: what whoever asks is not told. */
      readonly why?: string;
      readonly wwwAuthenticate?: string;
    };

/** Everybody who can connect. The configuration allows it on loopback only. */
export const noAuth = (): Authenticator => ({
  authenticate: async () => ({ ok: true, user: null }),
});

/**
 * HTTP Basic against a file of `user:hash` lines, as Ironic's `auth_strategy = http_basic` has it:
 * bcrypt only. Throws a sentence for the operator when the file holds anything else.
 */
export function httpBasic(htpasswdText: string): Authenticator {
  const hashes = parseHtpasswd(htpasswdText);
  const [anyHash = ''] = hashes.values();
  /** What each user's last good credentials look like, so that bcrypt runs once, not per call. */
  const known = new Map<string, Buffer>();
  const secret = randomBytes(32);
  const queue = new LoginQueue();

  return {
    async authenticate({ authorization }) {
      const credentials = parseBasic(authorization);
      if (credentials === null) return UNAUTHORIZED;
      const { user, password } = credentials;
      const digest = createHmac('sha256', secret).update(`${user}:${password}`).digest();
      const seen = known.get(user);
      if (seen !== undefined && timingSafeEqual(seen, digest)) return { ok: true, user };
      // An unknown user costs as much time as a wrong password.
      const hash = hashes.get(user);
      const matches = queue.enter(() => compare(password, hash ?? anyHash));
      if (matches === null) return TOO_MANY;
      if (!(await matches) || hash === undefined) return UNAUTHORIZED;
      known.set(user, digest);
      return { ok: true, user };
    },
  };
}

const UNAUTHORIZED: Verdict = {
  ok: false,
  status: 401,
  message: 'The request you have made requires authentication.',
  wwwAuthenticate: 'Basic realm="chainkeeper"',
};
const TOO_MANY: Verdict = {
  ok: false,
  status: 503,
  message: 'Too many logins are being checked at once: try again.',
};

/** bcryptjs is JavaScript on our only thread, so a storm of wrong passwords takes turns. */
class LoginQueue {
  static readonly #LIMIT = 16;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  enter(check: () => Promise<boolean>): Promise<boolean> | null {
    if (this.#waiting >= LoginQueue.#LIMIT) return null;
    this.#waiting += 1;
    const mine = this.#last.then(check).finally(() => {
      this.#waiting -= 1;
    });
    this.#last = mine.catch(() => {});
    return mine;
  }
}

function parseBasic(header: string | undefined): { user: string; password: string } | null {
  const [, encoded] = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(header ?? '') ?? [];
  if (encoded === undefined) return null;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon < 0 ? null : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** A cost of 15 and above takes bcryptjs longer than a caller has. */
const MAX_COST = 14;

function parseHtpasswd(text: string): ReadonlyMap<string, string> {
  const hashes = new Map<string, string>();
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const colon = line.indexOf(':');
    const user = line.slice(0, Math.max(colon, 0));
    const hash = line.slice(colon + 1).trim();
    const [, cost] = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/.exec(hash) ?? [];
    const where = `Line ${at + 1} of the user file`;
    if (user === '') throw new Error(`${where} is not 'user:hash'.`);
    if (cost === undefined) {
      throw new Error(
        `${where}: the hash of ${user} is not bcrypt, which is the only one accepted: ` +
          `make it with 'htpasswd -nB ${user}'.`,
      );
    }
    if (Number(cost) < 4 || Number(cost) > MAX_COST) {
      throw new Error(`${where}: the bcrypt cost of ${user} must be 4 to ${MAX_COST}.`);
    }
    if (hashes.has(user)) throw new Error(`${where} names ${user} a second time.`);
    hashes.set(user, hash);
  }
  if (hashes.size === 0) throw new Error('The user file names no user: nobody could call.');
  return hashes;
}
