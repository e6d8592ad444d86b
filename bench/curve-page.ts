import { adminApp } from '#adapters/operator/admin-api.ts';
import { systemClock } from '#adapters/system/clock.ts';
import { Inspector } from '#app/inspect.ts';
import { look } from '#app/look.ts';
import type { VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { tell } from './axes.ts';
import { type Curve, curve } from './curve.ts';
import { domainXml, header, named, SERVER, view } from './curve-scenes.ts';
import { median, type Point } from './statistics.ts';

/** Of each volume. */
const LAYERS = 4;
const AGAIN = 7;
/** Before anything counts, or the smallest would pay for the compiler. */
const WARM_UP = 20;

/** What a person sees of a host with so many chains: each look at all of them, and the page. */
export async function pages(sizes: readonly number[]): Promise<Curve[]> {
  const [looks, fronts, ones]: [Point[], Point[], Point[]] = [[], [], []];
  for (const x of sizes) {
    tell(`the page of ${x} chains`);
    const inspect = inspectorOf(x);
    looks.push({ x, y: await timeOf(() => inspect.diagnoses()) });
    const app = adminApp({ ...NOBODY, inspect, clock: systemClock, host: 'here' } as never);
    const get = async (url: string, holds: string) => {
      const { statusCode, body } = await app.inject({ url });
      if (statusCode !== 200 || !body.includes(holds)) throw new Error(`${url}: ${statusCode}`);
    };
    // The first one waits for the look at all of them.
    await get('/ui/', String(x));
    fronts.push({ x, y: await timeOf(() => get('/ui/', String(x))) });
    ones.push({ x, y: await timeOf(() => get('/v1/chains/volume-7', 'volume-7')) });
    await app.close();
  }
  return [
    curve('look at all chains', 'chains', looks),
    curve('GET /ui/', 'chains', fronts),
    curve('GET /v1/chains/ID', 'chains', ones),
  ];
}

async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let at = 0; at < WARM_UP; at++) await work();
  for (let at = 0; at < AGAIN; at++) {
    const from = performance.now();
    await work();
    times.push(performance.now() - from);
  }
  return median(times);
}

/** Our own eyes, on witnesses that answer at once. */
function inspectorOf(count: number): Inspector {
  const guest = view(domainXml(LAYERS, 1));
  const volumes = Array.from({ length: count }, (_, at) => `volume-${at}` as VolumeId);
  const disks = volumes.map((volume, at) => ({
    ...{ volume, server: SERVER, guest: `instance-${at}`, target: 'vda' },
  }));
  const layer = (file: string) => Number(/\.(\d+)$/.exec(file)?.[1]);
  return new Inspector({
    look,
    limits: { maxChainDepth: 64 },
    hypervisor: { disks: async () => ok(disks), look: async () => ok(guest) },
    images: {
      header: async (_: string, file: string) => {
        const below = layer(file) - 1;
        return ok(header(named(below), below === 0 ? 'raw' : 'qcow2'));
      },
    },
    volumes: {
      attachments: async (id: VolumeId) => ok([{ id, server: SERVER }]),
      activeFile: async () => ok(named(LAYERS - 1)),
      snapshots: async () => ok([]),
      snapshot: async () => ok(null),
    },
    journal: {
      formats: async () => new Map(),
      chain: async () => null,
      operations: async () => [],
      notices: async () => [],
      unfinished: async () => [],
      lastChange: async () => 0,
    },
  } as never);
}

const NOBODY = { assisted: {}, operate: {}, telemetry: { log: () => {} }, measures: {} };
