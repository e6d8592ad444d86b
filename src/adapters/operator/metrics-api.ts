import type { TlsOptions } from 'node:tls';
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import type { LoginDesk } from '#ports/identity.ts';
import type { Measures } from '#ports/measures.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { described, NO_API, rememberRoutes } from '../http/described.ts';
import type { Authenticator } from '../nova-api/auth.ts';
import { LIMITS } from '../nova-api/limits.ts';
import { ROUTES } from './admin-routes.ts';
import { addEvents } from './events.ts';
import { Login } from './login.ts';
import { onlyOwnHost } from './own-host.ts';
import { addPage, type PageWorld } from './page/routes.ts';
import { errorJson } from './report-json.ts';

const ASKED = { action: 'read', project: null } as const;

/** Prometheus' text form, by its content type. */
const TEXT = 'text/plain; version=0.0.4; charset=utf-8';

/** More than listen to events at once, and few enough to cost the service nothing that matters. */
export const MOST_CONNECTIONS = 256;

/** `GET /metrics`, on the socket and on the operator's port. */
export function addMetrics(app: FastifyInstance, measures: Measures): void {
  app.get('/metrics', described(ROUTES.metrics), async (_, reply) =>
    reply.header('content-type', TEXT).send(await measures.exposition()),
  );
}

export interface MetricsApiOptions {
  readonly measures: Measures;
  readonly telemetry: Telemetry;
  readonly page: PageWorld;
  /** Who may read; on loopback everybody of this host, and then `open`. */
  readonly auth: Authenticator;
  /** Nobody is asked who he is. */
  readonly open: boolean;
  /** Left out, it is HTTP. */
  readonly tls?: TlsOptions;
  /** Where people log in who cannot bring a token; with TLS only. */
  readonly desk?: LoginDesk;
  /** How often it is asked whether who listens to events still may. */
  readonly staysEveryMs?: number;
}

/**
 * What [operator] bind_port serves: nothing that changes anything. A port is open to more people
 * than the socket, whose orders are for its owner and group.
 */
export function metricsApi(options: MetricsApiOptions): FastifyInstance {
  const { measures, telemetry, auth, page, open, tls, desk, staysEveryMs } = options;
  const { clock, host } = page;
  const login =
    desk === undefined || tls === undefined
      ? null
      : new Login({ desk, auth, clock, telemetry, host });
  const verdictOn = (request: FastifyRequest) =>
    auth.authenticate(login?.headersOf(request) ?? request.headers, ASKED);
  const http = {
    headersTimeout: LIMITS.headersTimeoutMs,
    connectionsCheckingInterval: LIMITS.lateCheckMs,
  };
  const app: FastifyInstance = fastify({
    ...((tls === undefined ? { http } : { https: { ...http, ...tls } }) as object),
    bodyLimit: 1024,
    forceCloseConnections: true,
    requestTimeout: 10_000,
    keepAliveTimeout: LIMITS.keepAliveMs,
    routerOptions: { maxParamLength: 500, ignoreTrailingSlash: true },
  });
  app.server.maxConnections = MOST_CONNECTIONS;
  rememberRoutes(app);
  if (open) onlyOwnHost(app);
  app.addHook('onRequest', async (request, reply) => {
    if (login?.isOpen(request)) return;
    const verdict = await verdictOn(request);
    if (verdict.ok) return;
    const { wwwAuthenticate, status, message } = verdict;
    const sent = status === 401 ? login?.send(request, reply) : null;
    if (sent) return sent;
    if (wwwAuthenticate !== undefined) reply.header('www-authenticate', wwwAuthenticate);
    return reply.code(status).send(errorJson('unauthorized', message));
  });
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send(errorJson('not-found', `There is no ${request.method} here.`)),
  );
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500)
      telemetry.log('error', `${request.method} ${request.url}: ${error.stack ?? error.message}`);
    const sentence = status < 500 ? error.message : 'This is a bug: see the log of the service.';
    return reply.code(status).send(errorJson(status < 500 ? 'bad-request' : 'defect', sentence));
  });
  addMetrics(app, measures);
  const stays = async (request: FastifyRequest) => (await verdictOn(request)).ok;
  addEvents(app, { ...page, stays, ...(staysEveryMs !== undefined && { staysEveryMs }) });
  addPage(app, { ...page, ...(login && { hasSession: (it) => login.hasSession(it) }) });
  login?.addTo(app);
  app.get('/', described(NO_API), (_, reply) => reply.redirect('/ui/'));
  return app;
}
