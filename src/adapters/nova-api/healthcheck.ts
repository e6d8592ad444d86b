import type { FastifyReply, FastifyRequest } from 'fastify';
import { JSON_TYPE } from './fault.ts';

/**
 * oslo.middleware's /healthcheck with `detailed = false`: text, or JSON for those who ask for it;
 * a HEAD that is well is 204. `reason` is null when all is well.
 */
export function sendHealth(
  request: FastifyRequest,
  reply: FastifyReply,
  reason: string | null,
): FastifyReply {
  reply.code(reason !== null ? 503 : request.method === 'HEAD' ? 204 : 200);
  if (request.method === 'HEAD') return reply.send();
  const said = reason ?? 'OK';
  if (!(request.headers.accept ?? '').includes('application/json')) {
    return reply.header('content-type', 'text/plain; charset=UTF-8').send(said);
  }
  return reply
    .header('content-type', JSON_TYPE)
    .send(JSON.stringify({ detailed: false, reasons: [said] }));
}
