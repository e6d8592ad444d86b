import { isIPv6 } from 'node:net';
import type { Server } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { type Authenticator, noAuth } from '#adapters/nova-api/auth.ts';
import { novaApi } from '#adapters/nova-api/server.ts';
import { readTls, renewTls, type TlsFiles } from '#adapters/nova-api/tls.ts';
import { listenAdmin } from '#adapters/operator/admin-api.ts';
import { metricsApi } from '#adapters/operator/metrics-api.ts';
import { explainFault } from '#domain/failure.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import type { Hexagon } from './composition.ts';
import { type Config, isOwn } from './config.ts';
import { authenticatorFor, deskFor } from './identity.ts';
import { openapiDocument } from './openapi.ts';
import { StartupProblem } from './startup-problem.ts';

/** Listens until it is told to stop. Whatever is interrupted, the journal takes up again. */
export async function listen(hexagon: Hexagon, config: Config): Promise<AsyncDisposable> {
  const { assisted, inspect, operate, telemetry, clock, hypervisor, measures } = hexagon;
  const document = openapiDocument;
  await using opening = new AsyncDisposableStack();
  const admin = await listenAdmin(
    { assisted, inspect, operate, telemetry, clock, measures, host: config.host, document },
    config.operator.socket,
  );
  if (!admin.ok) throw new StartupProblem(admin.error);
  opening.use(admin.value);
  const { api } = config;
  const auth = authenticatorFor(config);
  opening.defer(async () => auth[Symbol.asyncDispose]?.());
  const files = api.tls;
  const tls = files === null ? null : readTls(files);
  if (tls !== null && !tls.ok) throw new StartupProblem(`${tls.error}.`);
  const nova = novaApi({
    ...(tls !== null && { tls: tls.value }),
    assisted,
    telemetry,
    clock,
    auth,
    maxQueued: api.maxQueued,
    publicEndpoint: api.publicEndpoint,
    hosts: api.hostEndpoints,
    health: async () => {
      const about = await hypervisor.about();
      return about.ok ? null : explainFault(about.error);
    },
  });
  opening.defer(() => nova.close());
  if (files !== null) {
    opening.defer(onHup(() => renewed(nova.server as unknown as Server, files, telemetry)));
  }
  await bind(nova, api, 'api', '(of a simulated service: --port)');
  const scheme = tls === null ? 'http' : 'https';
  const url = `${scheme}://${placeOf(api.bindHost, api.bindPort)}`;
  telemetry.log('info', `chainkeeper listens on ${url}`);
  if (config.operator.bindPort !== 0) await serveOperator(hexagon, config, auth, opening);
  return opening.move();
}

/**
 * The page and the metrics. Beyond loopback they are for those whom [api] auth_strategy lets in,
 * and over TLS if [api] has it; but nobody needs a certificate of its `ca_file`: people log in.
 */
async function serveOperator(
  { inspect, telemetry, clock, measures }: Hexagon,
  config: Config,
  auth: Authenticator,
  opening: AsyncDisposableStack,
): Promise<void> {
  const { operator } = config;
  const page = { inspect, clock, telemetry, host: config.host };
  const open = isOwn(operator.bindHost);
  const files = open || config.api.tls === null ? null : { ...config.api.tls, caFile: null };
  const tls = files && readTls(files);
  if (tls?.ok === false) throw new StartupProblem(`${tls.error}.`);
  const desk = tls && deskFor(config);
  opening.defer(async () => desk?.[Symbol.asyncDispose]());
  const common = { measures, telemetry, open, page };
  const secure = { ...(tls && { tls: tls.value }), ...(desk && { desk }) };
  const app = metricsApi({ ...common, ...secure, auth: open ? noAuth() : auth });
  opening.defer(() => app.close());
  if (files) {
    opening.defer(onHup(() => renewed(app.server as unknown as Server, files, telemetry)));
  }
  await bind(app, operator, 'operator');
  const place = `${tls ? 'https' : 'http'}://${placeOf(operator.bindHost, operator.bindPort)}`;
  telemetry.log('info', `the page is on ${place}/ui/, metrics on ${place}/metrics`);
  if (open || desk || config.keystone === null) return;
  const words = tls
    ? 'Nobody can log in on the page: passwords would go to Keystone unprotected. Name an https ' +
      'URL in [keystone_authtoken] auth_url, and set no insecure.'
    : 'A browser can log in on the page over TLS only: set [api] cert_file and key_file.';
  telemetry.log('warning', words);
}

/** As a URL has it: an IPv6 address in brackets. */
const placeOf = (host: string, port: number): string =>
  `${isIPv6(host) ? `[${host}]` : host}:${port}`;

/** Calls this on every SIGHUP, until what is returned is called. */
function onHup(act: () => void): () => void {
  process.on('SIGHUP', act);
  return () => process.off('SIGHUP', act);
}

function renewed(server: Server, files: TlsFiles, telemetry: Telemetry): void {
  const problem = renewTls(server, files);
  if (problem === null) telemetry.log('info', 'The certificates were read anew.');
  else telemetry.log('error', `${problem}. The old ones stay.`);
}

async function bind(
  app: FastifyInstance,
  { bindHost: host, bindPort: port }: Config['operator' | 'api'],
  group: string,
  also?: string,
): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    throw busy(error, placeOf(host, port), group, also) ?? error;
  }
}

/** Of a port that somebody else has, or one that we may not have, in the operator's words. */
function busy(error: unknown, place: string, group: string, also = ''): StartupProblem | null {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  const other = `name another [${group}] bind_port ${also}`.trimEnd();
  if (code === 'EADDRINUSE') {
    return new StartupProblem(`Somebody else listens on ${place}: stop it, or ${other}.`);
  }
  if (code === 'EACCES') return new StartupProblem(`We may not listen on ${place}: ${other}.`);
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    const sentence = `No address is known for ${place}`;
    return new StartupProblem(`${sentence}: give an IP address as [${group}] bind_host.`);
  }
  if (code !== 'EADDRNOTAVAIL') return null;
  return new StartupProblem(
    `This host has no address ${place}: name another [${group}] bind_host.`,
  );
}
