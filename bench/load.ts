import { randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileName, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Guest } from '../test/live/lab/guest.ts';
import { createOverlay } from '../test/live/lab/images.ts';
import type { Lab } from '../test/live/lab/lab.ts';
import { tell } from './axes.ts';
import type { Attached } from './cinder.ts';
import type { Order } from './cycle.ts';
import { HttpCinder } from './http-cinder.ts';
import { Remote } from './remote.ts';
import { Served } from './served.ts';
import { type Summary, summarize } from './statistics.ts';

/** How much is asked for at once. */
export interface Load {
  readonly guests: number;
  readonly disks: number;
}

export interface Wave {
  readonly what: string;
  readonly requests: number;
  readonly errors: readonly string[];
  /** From the request to the accepted update, in ms: of the guests that are well. */
  readonly latency: Summary;
  readonly perSecond: number;
  /** Of the service's processor time, for each operation, in ms. */
  readonly cpuMs: number;
  readonly residentMb: number;
}

const MIB = 1024 * 1024;
const CINDER_TAKES_MS = 10;

/** A volume, and the files that are ready to be put on top of it, the next one first. */
interface Disk {
  readonly guest: number;
  readonly volume: Attached;
  readonly chain: FileName[];
}

/**
 * Everything at once: a create of each disk of each guest, a delete of each, and both again while
 * the QEMU of one guest is stopped. Cinder answers in 10 ms.
 */
export async function load(lab: Lab<null>, { guests, disks }: Load): Promise<readonly Wave[]> {
  await using open = new AsyncDisposableStack();
  const cinder = open.use(await HttpCinder.open());
  cinder.delayMs = CINDER_TAKES_MS;
  const served = open.use(await Served.start(join(lab.dir, 'loaded'), cinder.endpoint));
  const side = open.use(new Remote('http', served.url, cinder, 0));
  const fleet: Disk[] = [];
  const started: Guest[] = [];
  for (let at = 0; at < guests; at++) {
    tell(`starting guest ${at + 1} of ${guests}, with ${disks} disks`);
    const own = await Promise.all(Array.from({ length: disks }, () => rawDisk(lab.images)));
    const guest = await lab.guest({
      disks: own.map((id) => ({ path: join(lab.images, file(id)), format: 'raw', serial: id })),
    });
    started.push(guest);
    for (const id of own) {
      const chain = [file(id)];
      const volume = { id, server: guest.uuid as ServerId, active: () => chain[0]! };
      fleet.push({ guest: at, volume, chain });
    }
  }
  const waves: Wave[] = [];
  const wave = async (what: string, kind: Order['kind'], stopped: number | null = null) => {
    const orders = await Promise.all(
      fleet.map(async (disk) => ({ disk, order: await orderOf(disk, kind, lab.images) })),
    );
    tell(`${what}: ${orders.length} at once`);
    const cpu = served.cpuMs();
    const began = performance.now();
    const took: number[] = [];
    const errors: string[] = [];
    const all = orders.map(async ({ disk, order }) => {
      const perform = await side.prepare(order);
      const answer = await perform().catch((error: Error) => error);
      if (answer instanceof Error) {
        if (disk.guest !== stopped) errors.push(answer.message);
        return;
      }
      if (disk.guest !== stopped) took.push(answer.ms);
      if (order.kind === 'create') disk.chain.unshift(order.file);
      else disk.chain.splice(1, 1);
    });
    const well = all.filter((_, at) => orders[at]!.disk.guest !== stopped);
    await Promise.all(well);
    const seconds = (performance.now() - began) / 1000;
    waves.push({
      what,
      requests: well.length,
      errors,
      latency: summarize(took),
      perSecond: took.length / seconds,
      cpuMs: (served.cpuMs() - cpu) / Math.max(1, took.length),
      residentMb: served.residentMb(),
    });
    return all;
  };
  await wave('create', 'create');
  await wave('delete', 'delete');
  const pid = await started[0]!.pid();
  process.kill(pid, 'SIGSTOP');
  let rest: Promise<unknown>[] = [];
  try {
    rest = await wave('create, one guest stopped', 'create', 0);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
  await Promise.all(rest);
  return waves;
}

const file = (id: VolumeId) => `volume-${id}` as FileName;

async function rawDisk(folder: string): Promise<VolumeId> {
  const id = randomUUID() as VolumeId;
  await using made = await open(join(folder, file(id)), 'w');
  await made.truncate(8 * MIB);
  return id;
}

async function orderOf(
  { volume, chain }: Disk,
  kind: Order['kind'],
  folder: string,
): Promise<Order> {
  const snapshot = randomUUID() as SnapshotId;
  if (kind === 'delete') {
    const onto = chain[2] ?? null;
    return { kind, snapshot, volume, merge: { kind: 'pull', onto }, chain: [...chain] };
  }
  const name = `${file(volume.id)}.${snapshot}` as FileName;
  const format = chain[0] === file(volume.id) ? 'raw' : 'qcow2';
  await createOverlay(join(folder, name), { name: chain[0]!, format });
  return { kind, snapshot, volume, file: name, path: join(folder, name) };
}
