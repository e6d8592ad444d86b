import { Agent, request } from 'undici';
import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { type Connections, connectionsWith, type TlsFiles } from '../http/connections.ts';
import { told } from '../http/told.ts';
import { type Answer, MISSING, type Received, read, type Sent } from './answer.ts';
import type { Authorizer } from './auth.ts';

export interface RestOptions {
  readonly authorizer: Authorizer;
  readonly tls?: TlsFiles;
  readonly connectTimeoutMs?: number;
  /** From the request's last byte to the answer's first. */
  readonly headersTimeoutMs?: number;
  /** Between two pieces of the answer's body, and for all of it. */
  readonly bodyTimeoutMs?: number;
  readonly maxBytes?: number;
}

/**
 * How many requests are at Cinder at once. undici would open a connection for each and keep what it
 * knows of each for ever; a worker of Cinder's takes 100 (oslo.service, wsgi_default_pool_size).
 */
const CONNECTIONS = 256;

type Headers = Readonly<Record<string, string>>;

/**
 * Cinder's REST API as data. A request that only reads changes nothing, so its loss is a fault of
 * kind `unreachable`; one that writes may have been heard from the moment it was sent, and is
 * `unknown` then. Redirects are not followed: token and body would travel with them.
 */
export class Rest implements AsyncDisposable {
  readonly #authorizer: Authorizer;
  readonly #connections: Connections;
  readonly #agent: Agent;
  readonly #deadlineMs: number;

  constructor(options: RestOptions) {
    const { connectTimeoutMs = 3_000, headersTimeoutMs = 10_000, bodyTimeoutMs = 5_000 } = options;
    this.#authorizer = options.authorizer;
    this.#connections = connectionsWith(options.tls ?? {}, connectTimeoutMs);
    this.#deadlineMs = connectTimeoutMs + headersTimeoutMs + bodyTimeoutMs;
    this.#agent = new Agent({
      connect: this.#connections.open,
      connections: CONNECTIONS,
      headersTimeout: headersTimeoutMs,
      bodyTimeout: bodyTimeoutMs,
      maxResponseSize: options.maxBytes ?? 1024 * 1024,
    });
  }

  get(
    path: readonly string[],
    headers: Headers = {},
    query: Headers = {},
  ): Promise<Result<Answer, Fault>> {
    return this.#ask('GET', path, headers, null, query);
  }

  post(path: readonly string[], body: unknown): Promise<Result<Answer, Fault>> {
    const headers = { 'Content-Type': 'application/json' };
    return this.#ask('POST', path, headers, JSON.stringify(body));
  }

  /** What is under way ends as a fault. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#agent.destroy(), this.#authorizer[Symbol.asyncDispose]?.()]);
  }

  async #ask(
    method: 'GET' | 'POST',
    path: readonly string[],
    extra: Headers,
    body: string | null,
    query: Headers = {},
  ): Promise<Result<Answer, Fault>> {
    for (let fresh = false; ; fresh = true) {
      const base = await this.#authorizer.baseUrl();
      if (!base.ok) return base;
      const auth = await this.#authorizer.headers();
      if (!auth.ok) return auth;
      // No thing has such a name, and a URL with it would name another thing, or be none.
      if (path.some((it) => /^\.{0,2}$/.test(it) || !it.isWellFormed())) return ok(MISSING);
      const tail = path.map(encodeURIComponent).join('/');
      const words = new URLSearchParams(query).toString();
      const asked = words === '' ? '' : `?${words}`;
      const sent = {
        name: `${method} ${tail}`,
        secrets: this.#authorizer.secrets(),
        reads: method === 'GET',
      };
      const headers = { Accept: 'application/json', 'User-Agent': 'chainkeeper', ...extra };
      const received = await this.#send(
        `${base.value}/${tail}${asked}`,
        { method, headers: { ...headers, ...auth.value }, body },
        sent,
      );
      if (!received.ok) return received;
      const expired = received.value.response.statusCode === 401;
      if (!expired || fresh || !this.#authorizer.refresh) return read(received.value, sent);
      const refreshed = await this.#authorizer.refresh(auth.value);
      if (!refreshed.ok) return refreshed;
    }
  }

  async #send(
    url: string,
    what: { method: 'GET' | 'POST'; headers: Headers; body: string | null },
    sent: Sent,
  ): Promise<Result<Received, Fault>> {
    const signal = AbortSignal.timeout(this.#deadlineMs);
    try {
      const response = await request(url, { ...what, dispatcher: this.#agent, signal });
      return ok({ response, text: await response.body.text() });
    } catch (error) {
      const { code = '', message } = asError(error);
      const detail = told(sent, message || String(code));
      if (this.#connections.failed(error) || NOTHING_SENT.includes(code)) {
        return err({ kind: 'unreachable', who: 'Cinder', detail });
      }
      if (sent.reads && code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
        return err({ kind: 'rejected', who: 'Cinder', detail, code });
      }
      return err({ kind: sent.reads ? 'unreachable' : 'unknown', who: 'Cinder', detail });
    }
  }
}

/** undici found the request itself impossible: a header with a line break, no URL. */
const NOTHING_SENT: readonly string[] = ['UND_ERR_INVALID_ARG', 'ERR_INVALID_URL'];

const asError = (error: unknown): { code?: string; message: string } =>
  error instanceof Error ? error : { message: String(error) };
