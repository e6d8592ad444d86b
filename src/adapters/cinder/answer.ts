import type { Dispatcher } from 'undici';
import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { type Named, told } from '../http/told.ts';

/** What Cinder answered: any status but redirects and 502 to 504, which are faults. */
export interface Answer {
  readonly status: number;
  /** Null when there is none, and when an answer of 400 or above has none in JSON. */
  readonly body: unknown;
  /** What the fault of a status that nobody expected says: the request and Cinder's own words. */
  readonly detail: string;
}

/** Off the wire, not judged yet. */
export interface Received {
  readonly response: Pick<Dispatcher.ResponseData, 'statusCode' | 'headers'>;
  readonly text: string;
}

export interface Sent extends Named {
  /** Whether it only reads. */
  readonly reads: boolean;
}

/** A proxy that gave up, or a Cinder that is going away: it may have heard us all the same. */
const GATEWAY: readonly number[] = [502, 503, 504];

export function read({ response, text }: Received, sent: Sent): Result<Answer, Fault> {
  const status = response.statusCode;
  const type = header(response, 'content-type');
  const body = text === '' || !/^application\/(\S+\+)?json\b/i.test(type) ? null : parsed(text);
  const words = wordsOf(body);
  const detail = told(sent, `HTTP ${status}${requestId(response)}${words && `: ${words}`}`);

  if (GATEWAY.includes(status)) {
    return err({ kind: sent.reads ? 'unreachable' : 'unknown', who: 'Cinder', detail });
  }
  if (status >= 300 && status < 400) {
    const hint = `HTTP ${status}, a redirect, is not followed: check the endpoint in [cinder]`;
    return err(refused({ status, body: null, detail: told(sent, hint) }));
  }
  // Cinder says 202 with no body as text/html (webob's default); a login page has one.
  if (status < 300 && text !== '' && body === null) {
    const found = `HTTP ${status} with no valid JSON but ${type || 'no content type'}`;
    return err(refused({ status, body: null, detail: told(sent, found) }));
  }
  return ok({ status, body, detail });
}

/** The fault of a status that nobody expected. */
export const refused = ({ status, detail }: Answer): Fault => ({
  kind: 'rejected',
  who: 'Cinder',
  detail,
  code: status,
});

/**
 * Cinder looked and does not have it (Fault in cinder/api/openstack/wsgi.py). A 404 without this
 * word comes from a router or a proxy: the endpoint is wrong, and says nothing of the snapshot.
 */
export const isMissing = ({ status, body }: Answer): boolean =>
  status === 404 && isRecord(body) && 'itemNotFound' in body;

/** The answer about a thing whose name no URL can hold. */
export const MISSING: Answer = {
  status: 404,
  body: { itemNotFound: { code: 404, message: 'no such name' } },
  detail: 'no such name',
};

/** Cinder's own words: `{"badRequest": {"code": 400, "message": ...}}`, whatever the first key. */
function wordsOf(body: unknown): string {
  const first = isRecord(body) ? Object.values(body)[0] : null;
  const words = isRecord(first) ? first.message : null;
  return typeof words === 'string' ? words : '';
}

/** What an operator looks for in Cinder's log. */
function requestId(response: Received['response']): string {
  const id = header(response, 'x-openstack-request-id');
  return /^req-[0-9a-f-]{1,64}$/.test(id) ? ` (${id})` : '';
}

function header(response: Received['response'], name: string): string {
  const value = response.headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? '';
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const isRecord = (it: unknown): it is Record<string, unknown> =>
  typeof it === 'object' && it !== null;
