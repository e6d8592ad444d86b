import type { TlsOptions } from 'node:tls';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { AssistedSnapshots } from '#ports/assisted-snapshots.ts';
import type { Clock } from '#ports/clock.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { rememberRoutes } from '../http/described.ts';
import { METHODS } from '../http/node-http.ts';
import { addAssisted } from './assisted.ts';
import type { Authenticator } from './auth.ts';
import { answerClientError } from './client-error.ts';
import { CHECK, CHECK_HEAD } from './described.ts';
import { addDocuments } from './documents.ts';
import { sendFault } from './fault.ts';
import { faultOfError, faultOfSize, NOT_FOUND } from './guards.ts';
import { sendHealth } from './healthcheck.ts';
import { LIMITS } from './limits.ts';
import { MIN_VERSION, microversion, versionHeaders } from './microversion.ts';
import { contextOf, requestIds } from './request-id.ts';
import { addResource, type Handler, isLegacy } from './resource.ts';

export interface NovaApiOptions {
  readonly assisted: AssistedSnapshots;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  readonly auth: Authenticator;
  /** Null when all is well, else the reason. */
  health(): Promise<string | null>;
  /** Requests that may wait for their answer at once. */
  readonly maxQueued: number;
  /** Of other compute hosts, by Cinder's name of the host: where they are asked. */
  readonly hosts?: Readonly<Record<string, string>>;
  /** This service as its callers reach it, or null: then the Host header says it. */
  readonly publicEndpoint: string | null;
  /** Left out, it is HTTP. */
  readonly tls?: TlsOptions;
  /** Told of an error that the port threw. By default it is thrown again and ends the process. */
  readonly defect?: (error: unknown) => void;
}

/** Nova's REST API, as far as Cinder's assisted snapshots need it. Not yet listening. */
export function novaApi(options: NovaApiOptions): FastifyInstance {
  const app = server(options);
  rememberRoutes(app);
  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
  });
  app.removeAllContentTypeParsers();
  // Bodies stay bytes until the one route that has a body reads it.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(requestIds(request.id)).headers(versionsFor(request));
    const tooMuch = faultOfSize(request.raw);
    return tooMuch === null ? undefined : sendFault(reply.header('connection', 'close'), tooMuch);
  });
  app.addHook('onResponse', async (request, reply) => {
    options.telemetry.log('info', accessLine(request, reply), contextOf(request));
  });
  app.setErrorHandler((error, request, reply) => {
    const fault = faultOfError(error);
    if (fault.status === 500) {
      options.telemetry.log('error', `Unexpected API error: ${error}`, contextOf(request));
    }
    return sendFault(reply, fault);
  });
  app.setNotFoundHandler((_, reply) => sendFault(reply, NOT_FOUND));
  addDocuments(app, options.publicEndpoint);
  const check: Handler = async (request, reply) =>
    sendHealth(request, reply, await options.health());
  addResource(app, HEALTHCHECK, {
    GET: { handler: check, described: CHECK },
    HEAD: { handler: check, described: CHECK_HEAD },
  });
  addAssisted(app, options, () => closing);
  return app;
}

const HEALTHCHECK = '/healthcheck';

/** Fastify with our limits. Its answers before any hook runs are given our form, too. */
function server({ clock, maxQueued, tls }: NovaApiOptions): FastifyInstance {
  const newId = () => `req-${clock.uuid()}`;
  const http = {
    headersTimeout: LIMITS.headersTimeoutMs,
    connectionsCheckingInterval: LIMITS.lateCheckMs,
    insecureHTTPParser: false,
    // Counts the request line, too.
    maxHeaderSize: LIMITS.headerBytes + LIMITS.urlBytes,
    requireHostHeader: false,
  };
  const secure = tls === undefined ? { http } : { https: { ...http, ...tls } };
  const app: FastifyInstance = Fastify({
    logger: false,
    genReqId: newId,
    requestIdHeader: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    bodyLimit: LIMITS.bodyBytes,
    connectionTimeout: LIMITS.socketTimeoutMs,
    keepAliveTimeout: LIMITS.keepAliveMs,
    maxRequestsPerSocket: LIMITS.requestsPerSocket,
    requestTimeout: LIMITS.requestTimeoutMs,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: LIMITS.urlBytes },
    ...(secure as { http: typeof http }),
    clientErrorHandler: (error, socket) => answerClientError(error, socket, newId()),
    frameworkErrors: (error, request, reply) => {
      reply.headers(requestIds(request.id)).headers(versionsFor(request));
      sendFault(reply, faultOfError(error));
    },
  });
  app.server.maxConnections = maxQueued + LIMITS.spareSockets;
  // Node's own answer to an unknown expectation is not in our form; RFC 9110 lets us ignore it.
  app.server.on('checkExpectation', (request, reply) => app.routing(request, reply));
  for (const method of METHODS) {
    if (!app.supportedMethods.includes(method)) app.addHttpMethod(method);
  }
  return app;
}

/** The microversion headers, on whatever has a microversion. */
function versionsFor({ url, headers }: FastifyRequest): ReturnType<typeof versionHeaders> {
  if (isLegacy(url) || url.startsWith(HEALTHCHECK)) return {};
  const version = microversion(headers);
  return versionHeaders(version.ok ? version.value : MIN_VERSION);
}

/** As Nova's RequestLog writes it (nova/api/openstack/requestlog.py). */
function accessLine(request: FastifyRequest, reply: FastifyReply): string {
  const url = request.url.slice(0, 1024).replace(/[^\x21-\x7e]/g, '?');
  const length = reply.getHeader('content-length') ?? 0;
  const version = reply.getHeader('x-openstack-nova-api-version') ?? '-';
  const seconds = (reply.elapsedTime / 1000).toFixed(6);
  return (
    `${request.ip} "${request.method} ${url}" status: ${reply.statusCode} len: ${length} ` +
    `microversion: ${version} time: ${seconds}`
  );
}
