import { Agent, type Dispatcher, request } from 'undici';
import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { connectionsWith, type TlsFiles } from '../http/connections.ts';
import { type Named, told } from '../http/told.ts';

export interface KeystoneHttpOptions {
  /** As in `auth_url`: with or without `/v3` at its end. */
  readonly authUrl: string;
  readonly tls?: TlsFiles;
  readonly connectTimeoutMs?: number;
  /** From the request's last byte to the answer's first. */
  readonly headersTimeoutMs?: number;
}

export interface Answer {
  readonly status: number;
  /** The token that POST /v3/auth/tokens made. */
  readonly subject: string | null;
  /** Null when it is no JSON. */
  readonly body: unknown;
  /** What the fault of a status that nobody expected says. */
  readonly detail: string;
}

interface Asked {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Words that no fault may repeat. */
  readonly secrets: readonly string[];
}

const CONNECT_MS = 3_000;
const HEADERS_MS = 10_000;
const BODY_MS = 5_000;

/**
 * Keystone's v3 API as data. Whatever is asked here leaves nothing behind that matters, so an
 * answer that is lost is a fault of kind `unreachable`. `auth_url` is taken as it stands: neither
 * versions are discovered nor redirects followed, for the password would travel with them.
 */
export class KeystoneHttp implements AsyncDisposable {
  readonly #base: string;
  readonly #agent: Agent;
  readonly #deadlineMs: number;

  constructor({ authUrl, tls = {}, ...times }: KeystoneHttpOptions) {
    const { connectTimeoutMs = CONNECT_MS, headersTimeoutMs = HEADERS_MS } = times;
    // keystoneauth1/identity/v3/base.py get_auth_ref.
    this.#base = authUrl.replace(/\/+$/, '').replace(/(?<!\/v3)$/, '/v3');
    this.#deadlineMs = connectTimeoutMs + headersTimeoutMs + BODY_MS;
    this.#agent = new Agent({
      connect: connectionsWith(tls, connectTimeoutMs).open,
      headersTimeout: headersTimeoutMs,
      bodyTimeout: BODY_MS,
      // A catalog of hundreds of endpoints is some 100 KiB.
      maxResponseSize: 4 * 1024 * 1024,
    });
  }

  async ask(asked: Asked): Promise<Result<Answer, Fault>> {
    const sent = { name: `${asked.method} ${this.#base}${asked.path}`, secrets: asked.secrets };
    const unreachable = (detail: string) =>
      err<Fault>({ kind: 'unreachable', who: 'Keystone', detail: told(sent, detail) });
    for (let again = false; ; again = true) {
      try {
        const response = await this.#send(asked);
        return judge(response, await response.body.text(), sent, unreachable);
      } catch (error) {
        const { message = '', code = '' } = error as { message?: string; code?: string };
        // A server closes what is idle just when it is used anew; and Cinder asks us only once.
        if (!again && HUNG_UP.includes(code)) continue;
        return unreachable(message || code || 'no answer');
      }
    }
  }

  /** What is under way ends as a fault. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent.destroy();
  }

  #send({ method, path, headers, body }: Asked): Promise<Dispatcher.ResponseData> {
    return request(`${this.#base}${path}`, {
      method,
      headers: { ...HEADERS, ...headers, ...(body !== undefined && JSON_BODY) },
      body: body === undefined ? null : JSON.stringify(body),
      dispatcher: this.#agent,
      signal: AbortSignal.timeout(this.#deadlineMs),
    });
  }
}

const HUNG_UP: readonly string[] = ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'];

function judge(
  { statusCode: status, headers }: Pick<Dispatcher.ResponseData, 'statusCode' | 'headers'>,
  text: string,
  sent: Named,
  unreachable: (detail: string) => Result<Answer, Fault>,
): Result<Answer, Fault> {
  const body = parsed(text);
  const words = wordsOf(body);
  const said = `HTTP ${status}${words && `: ${words}`}`;
  if (status >= 500 || status === 429) return unreachable(said);
  if (status >= 300 && status < 400) {
    const hint = `HTTP ${status}, a redirect, is not followed: is auth_url that of the v3 API?`;
    return err({ kind: 'rejected', who: 'Keystone', detail: told(sent, hint), code: status });
  }
  const token = headers['x-subject-token'];
  const subject = typeof token === 'string' && token !== '' ? token : null;
  return ok({ status, subject, body, detail: told(sent, said) });
}

const HEADERS = { Accept: 'application/json', 'User-Agent': 'chainkeeper' };
const JSON_BODY = { 'Content-Type': 'application/json' };

/** The fault of a status that nobody expected. */
export const refused = ({ status, detail }: Answer): Fault => ({
  kind: 'rejected',
  who: 'Keystone',
  detail,
  code: status,
});

/** Keystone's own words: `{"error": {"code": 401, "message": ..., "title": ...}}`. */
function wordsOf(body: unknown): string {
  const { error } = { ...(body as { error?: { message?: unknown } } | null) };
  return typeof error?.message === 'string' ? error.message : '';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
