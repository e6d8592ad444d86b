import type { FastifyInstance } from 'fastify';
import { errorJson } from './report-json.ts';

/**
 * A page of somebody else can have its own name point at 127.0.0.1, and would then read ours in the
 * browser of whoever opens it. So a port that asks for no password answers only to names that mean
 * this machine, by whatever port: one that ssh forwards is another one.
 */
export function onlyOwnHost(app: FastifyInstance): void {
  app.addHook('onRequest', async (request, reply) => {
    if (meansThisMachine(request.headers.host ?? 'localhost')) return;
    const words =
      'Ask for it as localhost: by another name it needs [api] auth_strategy http_basic';
    return reply.code(421).send(errorJson('bad-request', `${words} and a bind_host beyond it.`));
  });
}

export function meansThisMachine(host: string): boolean {
  const name = host.replace(/:\d*$/, '').toLowerCase();
  return name === '[::1]' || /(^|\.)localhost\.?$/.test(name) || /^127(\.\d{1,3}){3}$/.test(name);
}
