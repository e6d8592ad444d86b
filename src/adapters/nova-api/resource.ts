import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { sendFault } from './fault.ts';
import { WRONG_METHOD } from './guards.ts';

export type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

/** The ways to Nova's API: /v2.1, the older /v2, and an endpoint written without either. */
export const PREFIXES = ['/v2.1', '/v2', ''] as const;

/** With and without the project id that a catalog's URL may carry (ProjectMapper of Nova). */
export const PROJECTS = ['', '/:project(^[0-9a-f-]+$)'] as const;

/** One URL and what may be done there; any other method is a 405, where Fastify says 404. */
export function addResource(
  app: FastifyInstance,
  url: string,
  handlers: Readonly<Record<string, Handler>>,
  before: readonly ((request: FastifyRequest, reply: FastifyReply) => Promise<unknown>)[] = [],
): void {
  const allowed = Object.keys(handlers);
  for (const [method, handler] of Object.entries(handlers)) {
    app.route({ method, url, onRequest: [...before], handler });
  }
  app.route({
    method: app.supportedMethods.filter((method) => !allowed.includes(method)),
    url,
    onRequest: async (_, reply) =>
      sendFault(reply.header('allow', allowed.join(', ')), WRONG_METHOD),
    handler: async (_, reply) => reply,
  });
}

/** Whether a URL is of the API without microversions, which also strips unknown keys. */
export const isLegacy = (url: string): boolean => /^\/v2(?:[/?]|$)/.test(url);
