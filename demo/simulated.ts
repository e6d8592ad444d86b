import { createHash } from 'node:crypto';
import type { SnapshotId } from '#domain/ids.ts';
import type { Ended } from '#sim/cinder-rows.ts';
import { removeLeftovers } from '#sim/leftovers.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';
import type { Stage } from './story.ts';

/** The whole service, its HTTP API, its journal on disk and its client of Cinder, all real. */
export async function simulatedStage(): Promise<Stage> {
  await removeLeftovers();
  const host = await SimulatedHost.open({ port: 0, tickMs: 60 });
  const { cloud } = host;
  let heard = 0;
  const finished = ({ snapshot, status, problem }: Ended, wanted: string): string => {
    if (status === wanted) return snapshot;
    throw new Error(`snapshot ${snapshot} is ${status}: ${problem}`);
  };
  return {
    about: 'the whole service over a simulated cloud (libvirt, QEMU, Cinder are simulated)',
    chain: async () => [...cloud.chainLines(), LEGEND],
    write: async (at) => cloud.disk.write(at, 16 * at + at),
    attack: async () => cloud.disk.forge({}),
    bytes: async () => createHash('sha256').update(JSON.stringify(cloud.disk.view())).digest('hex'),
    take: async () => finished(await cloud.cinder.createSnapshot(cloud.volume), 'available'),
    remove: async (id) => finished(await cloud.cinder.deleteSnapshot(id as SnapshotId), 'deleted'),
    updates: async () => {
      const accepted = cloud.cinder.updates.filter((update) => update.accepted);
      const fresh = accepted.slice(heard).map(({ body }) => words(body));
      heard = accepted.length;
      return fresh;
    },
    evidence: () => newestEvidence(host),
    killDuringMerge: async () => {
      while (cloud.disk.job === null) await cloud.clock.sleep(10);
      await host.crash();
    },
    restart: () => host.boot(),
    reboot: async () => {
      cloud.guest.end('killed');
      const started = cloud.guest.start();
      if (!started.ok) throw new Error(started.error);
    },
    [Symbol.asyncDispose]: () => host[Symbol.asyncDispose](),
  };
}

async function newestEvidence({ hexagon }: SimulatedHost): Promise<readonly string[]> {
  const [newest] = await hexagon.inspect.operations('all', 1);
  const report = newest && (await hexagon.inspect.operation(newest.id));
  return (report?.evidence ?? []).map(({ kind, detail }) => `${kind}: ${short(detail)}`);
}

const LEGEND = '(one letter a cluster: D data, Z zeros, . what is below)';

const words = (body: unknown): string =>
  short(JSON.stringify((body as Readonly<Record<string, unknown>>)['os-update_snapshot_status']));

/** The first part of each UUID: names as people tell them apart. */
export const short = (text: string): string =>
  text.replace(/([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '$1');
