import type { FastifyInstance } from 'fastify';
import { noAuth } from '#adapters/nova-api/auth.ts';
import { novaApi } from '#adapters/nova-api/server.ts';
import { listenAdmin } from '#adapters/operator/admin-api.ts';
import { metricsApi } from '#adapters/operator/metrics-api.ts';
import { explainFault } from '#domain/failure.ts';
import type { Hexagon } from './composition.ts';
import { type Config, isOwn } from './config.ts';
import { authenticatorFor } from './identity.ts';
import { StartupProblem } from './startup-problem.ts';

/** Listens until it is told to stop. Whatever is interrupted, the journal takes up again. */
export async function listen(hexagon: Hexagon, config: Config): Promise<AsyncDisposable> {
  const { assisted, inspect, operate, telemetry, clock, hypervisor, measures } = hexagon;
  await using opening = new AsyncDisposableStack();
  const admin = await listenAdmin(
    { assisted, inspect, operate, telemetry, clock, measures },
    config.operator.socket,
  );
  if (!admin.ok) throw new StartupProblem(admin.error);
  opening.use(admin.value);
  const { api } = config;
  const auth = authenticatorFor(config, telemetry);
  opening.defer(async () => auth[Symbol.asyncDispose]?.());
  const nova = novaApi({
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
  await bind(nova, api, 'api', '(of a simulated service: --port)');
  telemetry.log('info', `chainkeeper listens on http://${api.bindHost}:${api.bindPort}`);
  const { operator } = config;
  if (operator.bindPort !== 0) {
    const readers = isOwn(operator.bindHost) ? noAuth() : auth;
    const app = metricsApi({ measures, telemetry, auth: readers });
    opening.defer(() => app.close());
    await bind(app, operator, 'operator');
    const place = `${operator.bindHost}:${operator.bindPort}`;
    telemetry.log('info', `metrics are on http://${place}/metrics`);
  }
  return opening.move();
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
    throw busy(error, `${host}:${port}`, group, also) ?? error;
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
  if (code !== 'EADDRNOTAVAIL') return null;
  return new StartupProblem(
    `This host has no address ${place}: name another [${group}] bind_host.`,
  );
}
