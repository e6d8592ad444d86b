import type { FastifyReply } from 'fastify';
import { explain, explainFault } from '#domain/failure.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import { STATUS_CODES } from '../http/node-http.ts';
import { LIMITS } from './limits.ts';

/** An answer that says no, in one sentence that Cinder's log will show. */
export interface NovaFault {
  readonly status: number;
  readonly message: string;
  /** Where to ask instead. */
  readonly location?: string;
}

/** Nova's words for a status (nova/api/openstack/wsgi.py:876-934); the others are computeFault. */
const NAMES: Readonly<Record<number, string>> = {
  400: 'badRequest',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'itemNotFound',
  405: 'badMethod',
  409: 'conflictingRequest',
  413: 'overLimit',
  415: 'badMediaType',
  429: 'overLimit',
  501: 'notImplemented',
  503: 'serviceUnavailable',
};

export const JSON_TYPE = 'application/json; charset=UTF-8';

export const badRequest = (message: string): NovaFault => ({ status: 400, message });

/** What the port could not or would not do, as Cinder hears it: any 4xx or 5xx ends its try. */
export function faultOf(trouble: Trouble): NovaFault {
  if (trouble.kind === 'refused') return badRequest(explain(trouble.refusal));
  const message = explainFault(trouble.fault);
  return { status: trouble.fault.kind === 'unreachable' ? 503 : 500, message };
}

/**
 * Sends a fault. novaclient shows `body.<first key>.message`, and only when the content type is
 * application/json. Nobody retries by Retry-After today, but load balancers read it.
 */
export function sendFault(reply: FastifyReply, fault: NovaFault): FastifyReply {
  if (fault.status === 503) reply.header('retry-after', String(LIMITS.retryAfterSeconds));
  if (fault.location !== undefined) reply.header('location', fault.location);
  return reply.code(fault.status).header('content-type', JSON_TYPE).send(faultBody(fault));
}

/**
 * Nova's fault, but for a 401: that one comes from keystonemiddleware, which has a form of its
 * own (keystonemiddleware/auth_token/__init__.py:675-725).
 */
export function faultBody({ status, message }: NovaFault): string {
  if (status === 401) {
    return JSON.stringify({ error: { code: status, title: STATUS_CODES[status], message } });
  }
  return JSON.stringify({ [NAMES[status] ?? 'computeFault']: { code: status, message } });
}

/** A name that a stranger chose, when it is harmless to repeat in a log. */
export const quoted = (name: string): string =>
  /^[\w-]{1,64}$/.test(name) ? `'${name}'` : 'with an odd name';
