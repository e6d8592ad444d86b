import { novaApi } from '#adapters/nova-api/server.ts';
import { listenAdmin } from '#adapters/operator/admin-api.ts';
import { explainFault } from '#domain/failure.ts';
import { authenticatorFor, type Hexagon, StartupProblem } from './composition.ts';
import type { Config } from './config.ts';

/** Listens until it is told to stop. Whatever is interrupted, the journal takes up again. */
export async function listen(hexagon: Hexagon, config: Config): Promise<AsyncDisposable> {
  const { assisted, inspect, operate, telemetry, clock, hypervisor } = hexagon;
  await using opening = new AsyncDisposableStack();
  const admin = await listenAdmin(
    { assisted, inspect, operate, telemetry, clock },
    config.operator.socket,
  );
  if (!admin.ok) throw new StartupProblem(admin.error);
  opening.use(admin.value);
  const { api } = config;
  const nova = novaApi({
    assisted,
    telemetry,
    clock,
    auth: authenticatorFor(config),
    maxQueued: api.maxQueued,
    publicEndpoint: api.publicEndpoint,
    hosts: api.hostEndpoints,
    health: async () => {
      const about = await hypervisor.about();
      return about.ok ? null : explainFault(about.error);
    },
  });
  opening.defer(() => nova.close());
  try {
    await nova.listen({ host: api.bindHost, port: api.bindPort });
  } catch (error) {
    throw busy(error, `${api.bindHost}:${api.bindPort}`) ?? error;
  }
  telemetry.log('info', `chainkeeper listens on http://${api.bindHost}:${api.bindPort}`);
  return opening.move();
}

/** Of a port that somebody else has, or one that we may not have, in the operator's words. */
function busy(error: unknown, place: string): StartupProblem | null {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  const other = 'name another [api] bind_port (of a simulated service: --port)';
  if (code === 'EADDRINUSE') {
    return new StartupProblem(`Somebody else listens on ${place}: stop it, or ${other}.`);
  }
  if (code === 'EACCES') return new StartupProblem(`We may not listen on ${place}: ${other}.`);
  if (code !== 'EADDRNOTAVAIL') return null;
  return new StartupProblem(`This host has no address ${place}: name another [api] bind_host.`);
}
