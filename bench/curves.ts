import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Bench } from 'tinybench';
import { diskOf, viewOf } from '#adapters/libvirt/disk-view.ts';
import { parseDomain } from '#adapters/libvirt/domain-xml.ts';
import { SqliteJournal } from '#adapters/sqlite/journal.ts';
import { SCHEMA, SCHEMA_VERSION } from '#adapters/sqlite/schema.ts';
import { systemClock } from '#adapters/system/clock.ts';
import { Aftercare } from '#app/aftercare.ts';
import { Runner } from '#app/runner.ts';
import { Sender } from '#app/sender.ts';
import type { FileName, OperationId, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { planCreate } from '#domain/plan-create.ts';
import { planDelete } from '#domain/plan-delete.ts';
import { ok } from '#domain/result.ts';
import type { DiskView, HeaderView, Sight } from '#domain/sight.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Journal, Operation } from '#ports/journal.ts';
import type { Volumes } from '#ports/volumes.ts';
import { tell } from './axes.ts';
import { exponent, median, type Point } from './statistics.ts';

/** How a cost grows with a size: `points` in `unit`, and k of cost ~ size^k. */
export interface Curve {
  readonly name: string;
  readonly of: string;
  readonly unit: 'ms' | 'KB';
  readonly points: readonly Point[];
  readonly exponent: number;
}

const curve = (name: string, of: string, points: readonly Point[], unit: 'ms' | 'KB' = 'ms') => ({
  ...{ name, of, unit, points },
  exponent: exponent(points),
});

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

const FOLDER = '/var/lib/nova/mnt/0123456789abcdef0123456789abcdef';
const SERVER = '11111111-1111-4111-8111-111111111111' as ServerId;
const VOLUME = '22222222-2222-4222-8222-222222222222' as VolumeId;
const SNAPSHOT = '33333333-3333-4333-8333-333333333333' as SnapshotId;
const SIZE = 2 ** 30;
const named = (layer: number): FileName =>
  (layer === 0 ? `volume-${VOLUME}` : `volume-${VOLUME}.${layer}`) as FileName;

/** As libvirt writes it; the first disk is the volume's. */
function domainXml(layers: number, disks: number): string {
  const below = (layer: number): string =>
    layer < 0
      ? '<backingStore/>'
      : `<backingStore type='file' index='${layer + 1}'>
        <format type='${layer === 0 ? 'raw' : 'qcow2'}'/>
        <source file='${FOLDER}/${named(layer)}'/>
        ${below(layer - 1)}
      </backingStore>`;
  const disk = (at: number) => `    <disk type='file' device='disk'>
      <driver name='qemu' type='${layers === 1 ? 'raw' : 'qcow2'}' cache='none'/>
      <source file='${FOLDER}/${named(layers - 1)}' index='${layers}'/>
      ${below(layers - 2)}
      <target dev='vd${String.fromCharCode(97 + (at % 26))}${at}' bus='virtio'/>
      <serial>${at === 0 ? VOLUME : `other-${at}`}</serial>
      <alias name='virtio-disk${at}'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x04' function='0x0'/>
    </disk>`;
  return `<domain type='qemu' id='1'>
  <name>instance-00000001</name>
  <uuid>${SERVER}</uuid>
  <devices>
${Array.from({ length: disks }, (_, at) => disk(at)).join('\n')}
  </devices>
</domain>`;
}

function view(xml: string): DiskView {
  const domain = parseDomain(xml);
  if (!domain.ok) throw new Error(domain.error);
  const disk = diskOf(domain.value, VOLUME);
  if ('kind' in disk) throw new Error('no disk');
  return viewOf(domain.value, disk, { process: 'one', saved: false, size: SIZE, job: null });
}

function header(backingFile: FileName | null, backingFormat: string | null): HeaderView {
  const plain = { dataFile: false, dirty: false, corrupt: false, bitmaps: false, snapshots: 0 };
  return ok({
    ...{ version: 3, clusterBits: 16, size: SIZE, headerLength: 112, fileBytes: 196_624 },
    ...{ encryption: 'none', backingFile, backingFormat, ...plain },
  } as never);
}

function sightOf(guest: DiskView): Sight {
  const headers: Record<string, HeaderView> = {};
  for (let layer: DiskView['chain'] | null = guest.chain; layer !== null; layer = layer.on) {
    headers[layer.file] = header(layer.on?.file ?? null, layer.on?.format ?? null);
  }
  headers.new = header(guest.chain.file, guest.chain.format);
  return { guest, headers, cinder: null, known: new Map(), late: false };
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

/** Operations that are over, on ever new volumes; `OPEN` of them are not. */
const OPEN = 500;

async function journals(sizes: readonly number[]): Promise<Curve[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ck-bench-'));
  const found = new Map<string, Point[]>();
  try {
    for (const x of sizes) {
      tell(`a journal of ${x} operations`);
      const path = join(folder, `${x}.sqlite`);
      fill(path, x);
      const began = performance.now();
      const opened = SqliteJournal.open(path, systemClock);
      if (!opened.ok) throw new Error(opened.error);
      await using journal = opened.value;
      const note = (name: string, y: number) =>
        found.set(name, [...(found.get(name) ?? []), { x, y }]);
      note('open the journal', performance.now() - began);
      for (const [name, use] of Object.entries(uses(journal, x))) {
        const times: number[] = [];
        for (let at = 0; at < 15; at++) {
          const from = performance.now();
          await use(at);
          times.push(performance.now() - from);
        }
        note(name, median(times));
      }
      await rm(path);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return [...found].map(([name, points]) => curve(name, 'operations in the journal', points));
}

const idOf = (at: number) => `op-${at}` as OperationId;
const ofNumber = (at: number) => ({
  volume: `volume-${at >> 2}` as VolumeId,
  snapshot: `snapshot-${at >> 1}` as SnapshotId,
  server: SERVER,
});

const requestOf = (at: number) => ({
  ...ofNumber(at),
  fileToMerge: named(0),
  mergeTarget: null,
});

const ended = (at: number): Operation['saga'] => ({
  ...{ kind: 'delete', request: requestOf(at), at: 'end', outcome: 'merged' },
  ...{ reason: 'it is done', formats: [], gone: named(1) },
});

const operationOf = (at: number, saga: Operation['saga']): Operation => ({
  ...{ id: idOf(at), saga, accepted: true, requestId: `req-${at}`, globalRequestId: null },
  ...{ askedAt: at, updatedAt: at },
});

/** What an operation costs the journal, and what is asked of it. */
function uses(journal: Journal, size: number): Record<string, (at: number) => Promise<unknown>> {
  const fresh = (at: number) => size * 2 + at;
  const detail = 'vda has the predicted chain';
  return {
    'write an operation down': async (at) => {
      const saga = ended(fresh(at));
      const id = idOf(fresh(at));
      await journal.ask({ ...operationOf(fresh(at), saga), accepted: false });
      await journal.accept(id);
      const evidence = [{ kind: 'completed', detail } as const];
      const tell = { kind: 'deleted', formats: [] } as const;
      const notice = await journal.commit(id, { saga, evidence, tell, formats: [], chain: null });
      await journal.settle(notice!.seq, 'accepted');
    },
    'list the newest 100': () => journal.operations({ limit: 100 }),
    'find what is known of a snapshot': (at) =>
      journal.operations({ ...ofNumber(at * 7), kind: 'delete', limit: 8 }),
    'find what Cinder has yet to hear': () => journal.notices({ state: 'pending' }),
    'find the 500 that are open': () => journal.unfinished(),
    'forget 25': () => journal.prune(size, 25, () => true),
  };
}

/** By SQL, since each entry of the journal's own waits for the disk. */
function fill(path: string, count: number): void {
  using db = new DatabaseSync(path);
  db.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; BEGIN; ${SCHEMA}`);
  const operation = db.prepare('INSERT INTO operation VALUES (?,?,?,?,?,?,1,?,NULL,?,?,?)');
  const evidence = db.prepare(
    "INSERT INTO evidence (operation, at, kind, detail) VALUES (?, ?, 'completed', 'as predicted')",
  );
  const notice = db.prepare(
    "INSERT INTO notice (operation, snapshot, body, state) VALUES (?, ?, '{}', 'accepted')",
  );
  for (let at = 0; at < count; at++) {
    const open = at >= count - OPEN;
    const saga = open ? { kind: 'delete', request: requestOf(at), at: 'accepted' } : ended(at);
    const { volume, snapshot } = ofNumber(at);
    const text = JSON.stringify(saga);
    operation.run(
      idOf(at),
      'delete',
      volume,
      snapshot,
      open ? 'accepted' : 'end',
      text,
      'req',
      at,
      at,
      at,
    );
    for (let row = 0; row < 3; row++) evidence.run(idOf(at), at);
    if (!open) notice.run(idOf(at), snapshot);
  }
  db.exec(`PRAGMA user_version=${SCHEMA_VERSION}; COMMIT`);
}

/** The machine does other things too: the middle one counts. */
const AGAIN = 5;

/** A process takes up so many operations, each with a block job that goes on and on. */
async function openOperations(sizes: readonly number[]): Promise<Curve[]> {
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
async function watchedVolumes(sizes: readonly number[]): Promise<Curve[]> {
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
  const runner = new Runner({ ...ports, sender, createTimeoutMs: 540_000, pollMs: 1000 });
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
