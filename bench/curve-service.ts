import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '#adapters/system/clock.ts';
import { Aftercare } from '#app/aftercare.ts';
import { Runner } from '#app/runner.ts';
import { Sender } from '#app/sender.ts';
import type { SnapshotId } from '#domain/ids.ts';
import { planDelete } from '#domain/plan-delete.ts';
import { ok } from '#domain/result.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Journal, Operation } from '#ports/journal.ts';
import type { Volumes } from '#ports/volumes.ts';
import { tell } from './axes.ts';
import { type Curve, curve } from './curve.ts';
import {
  domainXml,
  header,
  named,
  ofNumber,
  operationOf,
  requestOf,
  SERVER,
  sightOf,
  VOLUME,
  view,
} from './curve-scenes.ts';
import { median, type Point } from './statistics.ts';

/** The machine does other things too: the middle one counts. */
const AGAIN = 5;

/** A process takes up so many operations, each with a block job that goes on and on. */
export async function openOperations(sizes: readonly number[]): Promise<Curve[]> {
  const [time, memory]: [Point[], Point[]] = [[], []];
  for (const x of sizes) {
    tell(`${x} open operations`);
    const times: number[] = [];
    const sizesKb: number[] = [];
    for (let again = 0; again < AGAIN; again++) {
      const open = Array.from({ length: x }, (_, at) =>
        operationOf(at * 4, { kind: 'delete', request: requestOf(at * 4), at: 'accepted' }),
      );
      const world = busyWorld(open);
      const before = inUse();
      const began = performance.now();
      await world.runner.resume();
      while (world.watching() < x) await new Promise((soon) => setImmediate(soon));
      times.push(performance.now() - began);
      sizesKb.push((inUse() - before) / 1024);
      await world.stop();
    }
    time.push({ x, y: median(times) });
    memory.push({ x, y: median(sizesKb) });
  }
  return [
    curve('take up open operations', 'open operations', time),
    curve('memory of open operations', 'open operations', memory, 'KB'),
  ];
}

/** Creates of so many volumes that are over, and Cinder has not made up its mind. */
export async function watchedVolumes(sizes: readonly number[]): Promise<Curve[]> {
  const [time, memory]: [Point[], Point[]] = [[], []];
  for (const x of sizes) {
    tell(`${x} volumes watched`);
    const times: number[] = [];
    const sizesKb: number[] = [];
    for (let again = 0; again < AGAIN; again++) {
      const over = Array.from({ length: x }, (_, at) => createOf(at));
      const world = busyWorld([], over);
      const aftercare = new Aftercare(world);
      const before = inUse();
      const began = performance.now();
      await aftercare.resume();
      await world.nextRound();
      times.push(performance.now() - began);
      if (aftercare.watching !== x) throw new Error(`${aftercare.watching} watched, not ${x}`);
      sizesKb.push((inUse() - before) / 1024);
      await Promise.all([aftercare.stop(), world.stop()]);
    }
    time.push({ x, y: median(times) });
    memory.push({ x, y: median(sizesKb) });
  }
  return [
    curve('look after creates once', 'volumes watched', time),
    curve('memory of what is looked after', 'volumes watched', memory, 'KB'),
  ];
}

function createOf(at: number): Operation {
  const request = { ...ofNumber(at * 4), newFile: named(1) };
  const before = { file: named(0), format: 'raw', on: null } as never;
  const after = { file: named(1), format: 'qcow2', on: before } as never;
  const made = { target: 'vda', before, after } as never;
  return operationOf(at * 4, {
    ...{
      kind: 'create',
      request,
      at: 'end',
      outcome: 'created',
      reason: 'done',
      formats: [],
      made,
    },
  });
}

/** The ports of a host on which nothing ends: all sleep until they are told to stop. */
function busyWorld(open: readonly Operation[], over: readonly Operation[] = []) {
  const asleep = new Set<() => void>();
  const guest = { ...view(domainXml(2, 1)), job: { kind: 'pull', done: 1, total: 2 } } as const;
  const hypervisor = {
    look: async () => ok(guest),
    listen: () => () => {},
  } as unknown as Hypervisor;
  const volumes = {
    snapshot: async () => ok({ volume: VOLUME, status: 'creating', progress: null }),
    attachments: async () => ok([{ id: 'one', server: SERVER }]),
    activeFile: async () => ok(named(1)),
  } as unknown as Volumes;
  const merging = (one: Operation): Operation => {
    const { request } = one.saga as Extract<Operation['saga'], { kind: 'delete' }>;
    const planned = planDelete({ ...request, fileToMerge: null }, sightOf({ ...guest, job: null }));
    if (!planned.ok || planned.value.process === null) throw new Error('no plan');
    const plan = planned.value;
    const saga = { kind: 'delete', request, at: 'merging', plan, tries: 1 } as const;
    return { ...one, saga: { ...saga, heard: 'nothing', doubts: 0 } };
  };
  const journal = {
    unfinished: async () => open.map(merging),
    operations: async ({ snapshot }: { snapshot?: SnapshotId }) =>
      snapshot === undefined ? over : (bySnapshot.get(snapshot) ?? []),
    notices: async () => [],
    formats: async () => new Map(),
    commit: async () => null,
  } as unknown as Journal;
  const bySnapshot = new Map(over.map((one) => [one.saga.request.snapshot, [one]]));
  const images = { header: async () => header(null, null) } as never;
  let rounds = Promise.withResolvers<void>();
  let slept = 0;
  const clock = {
    ...systemClock,
    sleep: (_: number, signal?: AbortSignal) =>
      new Promise<void>((wake) => {
        asleep.add(wake);
        signal?.addEventListener('abort', () => wake(), { once: true });
        slept += 1;
        if (slept >= over.length) rounds.resolve();
      }),
  };
  const telemetry = { log: () => {} };
  const die = (defect: unknown) => {
    throw defect;
  };
  const ports = { hypervisor, volumes, journal, images, clock, telemetry, die };
  const sender = new Sender(ports);
  const isDefect = () => true;
  const times = { createTimeoutMs: 540_000, pollMs: 1000 };
  const runner = new Runner({ ...ports, ...times, sender, isDefect });
  const wakeAll = () => {
    for (const wake of [...asleep]) wake();
    asleep.clear();
  };
  return {
    ...ports,
    runner,
    watching: () => asleep.size,
    /** All that sleep look once, and sleep again. */
    nextRound: async () => {
      await rounds.promise;
      rounds = Promise.withResolvers();
      slept = 0;
      wakeAll();
      await rounds.promise;
    },
    stop: async () => {
      const stopped = runner.stop();
      wakeAll();
      await stopped;
    },
  };
}

/** Bytes of the heap that are still needed. */
function inUse(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}
