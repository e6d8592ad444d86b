import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Described, described, NO_API } from '../http/described.ts';
import { sendFault } from './fault.ts';
import { WRONG_METHOD } from './guards.ts';

/** What a method does, and what the document says of it. */
export interface Method {
  readonly handler: Handler;
  readonly described: Described;
}
export type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply>;

/** The ways to Nova's API: /v2.1, the older /v2, and an endpoint written without either. */
export const PREFIXES = ['/v2.1', '/v2', ''] as const;

/** With and without the project id that a catalog's URL may carry (ProjectMapper of Nova). */
export const PROJECTS = ['', '/:project(^[0-9a-f-]+$)'] as const;

/** One URL and what may be done there; any other method is a 405, where Fastify says 404. */
export function addResource(
  app: FastifyInstance,
  url: string,
  methods: Readonly<Record<string, Method>>,
  before: readonly ((request: FastifyRequest, reply: FastifyReply) => Promise<unknown>)[] = [],
): void {
  const allowed = Object.keys(methods);
  for (const [method, { handler, described: said }] of Object.entries(methods)) {
    app.route({ method, url, onRequest: [...before], handler, ...described(said) });
  }
  app.route({
    method: app.supportedMethods.filter((method) => !allowed.includes(method)),
    url,
    onRequest: async (_, reply) =>
      sendFault(reply.header('allow', allowed.join(', ')), WRONG_METHOD),
    handler: async (_, reply) => reply,
    ...described(NO_API),
  });
}

/** Whether a URL is of the API without microversions, which also strips unknown keys. */
export const isLegacy = (url: string): boolean => /^\/v2(?:[/?]|$)/.test(url);
