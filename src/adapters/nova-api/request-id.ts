import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyRequest } from 'fastify';
import type { Caller } from '#ports/assisted-snapshots.ts';
import type { LogContext } from '#ports/telemetry.ts';
import type { Verdict } from './auth.ts';

/** Both names of our own id: oslo.middleware's and Nova's (nova/api/compute_req_id.py). */
export const requestIds = (id: string): Readonly<Record<string, string>> => ({
  'x-openstack-request-id': id,
  'x-compute-request-id': id,
});

/** Who asks. The caller's id is taken over only in oslo.context's form: it goes into our logs. */
export function callerOf(requestId: string, headers: IncomingHttpHeaders): Caller {
  const given = String(headers['x-openstack-request-id'] ?? '');
  return { requestId, globalRequestId: GLOBAL_ID.test(given) ? given : null };
}

/** Who was let in with a request. */
const people = new WeakMap<FastifyRequest, Pick<LogContext, 'user' | 'project'>>();

export function letIn(request: FastifyRequest, { user, project }: Verdict & { ok: true }): void {
  people.set(request, { user, project: project ?? null });
}

/** What a line in the log about a request begins with. */
export const contextOf = (request: FastifyRequest): LogContext => ({
  ...callerOf(request.id, request.headers),
  ...people.get(request),
});

const GLOBAL_ID = /^req-[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}$/;
