import { Bench } from 'tinybench';
import type { FileName } from '#domain/ids.ts';
import { planCreate } from '#domain/plan-create.ts';
import { planDelete } from '#domain/plan-delete.ts';
import type { DiskView, Sight } from '#domain/sight.ts';
import { tell } from './axes.ts';
import { type Curve, curve } from './curve.ts';
import { journals } from './curve-journal.ts';
import { pages } from './curve-page.ts';
import { domainXml, SERVER, SNAPSHOT, sightOf, VOLUME, view } from './curve-scenes.ts';
import { openOperations, watchedVolumes } from './curve-service.ts';
import type { Point } from './statistics.ts';

/** What needs no libvirt. `quick` leaves the largest out. */
export async function curves(quick: boolean): Promise<readonly Curve[]> {
  const depths = quick ? [1, 8, 50, 200] : [1, 2, 4, 8, 16, 32, 64, 100, 150, 200];
  const disks = quick ? [1, 8, 64] : [1, 2, 4, 8, 16, 32, 64];
  tell('XML and plans');
  const parsed = await timed(depths, (depth) => {
    const xml = domainXml(depth, 1);
    return () => view(xml);
  });
  const wide = await timed(disks, (count) => {
    const xml = domainXml(8, count);
    return () => view(xml);
  });
  const planned = await timed(depths, (depth) => {
    const sight = sightOf(view(domainXml(depth, 1)));
    return () => plans(sight);
  });
  const sizes = quick ? [1e3, 1e4, 1e5] : [1e3, 1e4, 1e5, 1e6];
  return [
    curve('parse the XML of a guest', 'layers', parsed),
    curve('parse the XML of a guest', 'disks of 8 layers', wide),
    curve('plan a create and a delete', 'layers', planned),
    ...(await journals(sizes)),
    ...(await openOperations(quick ? [125, 500, 2000] : [125, 250, 500, 1000, 2000, 4000])),
    ...(await pages(quick ? [125, 500, 1000] : [125, 250, 500, 1000, 2000])),
    ...(await watchedVolumes(quick ? [125, 500] : [125, 250, 500, 1000])),
  ];
}

async function timed(sizes: readonly number[], prepare: (size: number) => () => void) {
  const points: Point[] = [];
  for (const x of sizes) {
    const bench = new Bench({ time: 150, warmupTime: 50 });
    bench.add(String(x), prepare(x));
    await bench.run();
    const [task] = bench.tasks;
    const { result } = task!;
    if (!('latency' in result)) throw new Error(`${x}: ${result.state}`);
    points.push({ x, y: result.latency.p50 });
  }
  return points;
}

function plans(sight: Sight): void {
  const request = { volume: VOLUME, snapshot: SNAPSHOT, server: SERVER };
  const limits = { maxChainDepth: 256 };
  const made = planCreate({ ...request, newFile: 'new' as FileName }, sight, limits);
  if (!made.ok) throw new Error(JSON.stringify(made.error));
  const { chain } = sight.guest as DiskView;
  const fileToMerge = chain.on?.on?.file ?? null;
  const merged = planDelete({ ...request, fileToMerge, mergeTarget: null }, sight);
  if (!merged.ok && chain.on !== null) throw new Error(JSON.stringify(merged.error));
}
