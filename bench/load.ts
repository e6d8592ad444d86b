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
import { Ears } from './ears.ts';
import { HttpCinder } from './http-cinder.ts';
import { packed } from './packed.ts';
import { Remote } from './remote.ts';
import { Served } from './served.ts';
import { type Summary, summarize } from './statistics.ts';

/** How much there is; half of the disks of each guest are worked on at once. */
export interface Load {
  readonly guests: number;
  readonly disks: number;
}

interface How {
  readonly what: string;
  readonly kind: Order['kind'];
  readonly disks: readonly Disk[];
  /** The guest that is stopped meanwhile. */
  readonly stopped?: number;
  /** Each only when the one before it is over. */
  readonly inTurn?: boolean;
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
  /** The most that it had meanwhile. */
  readonly peakMb: number;
  /** From the end of the block job, as libvirt tells it, to the accepted update, in ms. */
  readonly afterEvent: Summary | null;
}

const MIB = 1024 * 1024;
const CINDER_TAKES_MS = 10;
const ONE_BY_ONE = 100;
/** Of the disks of a guest, as the lab names them. */
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

/** A volume, and the files that are ready to be put on top of it, the next one first. */
interface Disk {
  readonly guest: number;
  readonly target: string;
  readonly volume: Attached;
  readonly chain: FileName[];
}

/**
 * Much at once, of the service as it is packed: a create of half of the disks of each guest, of the
 * other half, a delete of each of the first half; some creates and deletes one by one; and creates
 * while the QEMU of one guest is stopped. Cinder answers in 10 ms.
 */
export async function load(lab: Lab<null>, { guests, disks }: Load): Promise<readonly Wave[]> {
  await using open = new AsyncDisposableStack();
  const cinder = open.use(await HttpCinder.open());
  cinder.delayMs = CINDER_TAKES_MS;
  const program = packed(join(lab.dir, 'package'));
  const served = open.use(await Served.start(join(lab.dir, 'loaded'), cinder.endpoint, program));
  const ears = open.use(await Ears.open());
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
    for (const [index, id] of own.entries()) {
      const chain = [file(id)];
      const volume = { id, server: guest.uuid as ServerId, active: () => chain[0]! };
      fleet.push({ guest: at, target: `vd${LETTERS[index]}`, volume, chain });
    }
  }
  const waves: Wave[] = [];
  const wave = async ({ what, kind, disks: chosen, stopped, inTurn = false }: How) => {
    const orders = await Promise.all(
      chosen.map(async (disk) => ({ disk, order: await orderOf(disk, kind, lab.images) })),
    );
    tell(`${what}: ${orders.length}`);
    const cpu = served.cpuMs();
    const began = performance.now();
    const took: number[] = [];
    const heard: number[] = [];
    served.peakMb();
    const errors: string[] = [];
    const one = async ({ disk, order }: (typeof orders)[number]) => {
      const perform = await side.prepare(order);
      const from = performance.now();
      const answer = await perform().catch((error: Error) => error);
      if (answer instanceof Error) {
        if (disk.guest !== stopped) errors.push(answer.message);
        return;
      }
      if (disk.guest !== stopped) took.push(answer.ms);
      const { volume, target } = disk;
      const ended = order.kind === 'delete' ? ears.ended(volume.server, target, from) : null;
      if (ended !== null) heard.push(from + answer.ms - ended);
      if (order.kind === 'create') disk.chain.unshift(order.file);
      else disk.chain.splice(1, 1);
    };
    const all: Promise<void>[] = [];
    for (const order of orders) {
      all.push(one(order));
      if (inTurn) await all.at(-1);
    }
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
      peakMb: served.peakMb(),
      afterEvent: heard.length > 0 ? summarize(heard) : null,
    });
    return all;
  };
  const half = (which: 0 | 1) => fleet.filter((_, at) => at % 2 === which);
  await wave({ what: 'create', kind: 'create', disks: half(0) });
  await wave({ what: 'create on the others', kind: 'create', disks: half(1) });
  await wave({ what: 'delete', kind: 'delete', disks: half(0) });
  const some = half(1).slice(0, ONE_BY_ONE);
  await wave({ what: 'create, one by one', kind: 'create', disks: some, inTurn: true });
  await wave({ what: 'delete, one by one', kind: 'delete', disks: some, inTurn: true });
  const pid = await started[0]!.pid();
  process.kill(pid, 'SIGSTOP');
  let rest: Promise<unknown>[] = [];
  try {
    rest = await wave({
      what: 'create, one guest stopped',
      kind: 'create',
      disks: half(0),
      stopped: 0,
    });
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
