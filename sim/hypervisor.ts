import type { SeenLayer } from '#domain/chain.ts';
import type { Fault, Refusal } from '#domain/failure.ts';
import type { FileName, ServerId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { GuestView, Job } from '#domain/sight.ts';
import type { Clock } from '#ports/clock.ts';
import type {
  DiskOf,
  Happening,
  Hypervisor,
  MergeOrder,
  SeenDisk,
  SnapshotOrder,
} from '#ports/hypervisor.ts';
import { ActiveCommit } from './active-commit.ts';
import type { SimDisk, StartFrom } from './disk.ts';
import type { SimGuest } from './guest.ts';
import { type BlockJob, SimJob } from './job.ts';
import { type No, no, REFUSALS } from './refusals.ts';
import { seen } from './seen-disk.ts';
import { switchTo } from './switching.ts';

export interface SimHypervisorOptions {
  readonly clock: Clock;
  readonly guests: readonly SimGuest[];
  /** Before 1.2.4 the live XML named no backing layers' formats. */
  readonly oldLibvirt?: boolean;
  /** The pace of a block job. */
  readonly tickMs?: number;
  readonly clustersPerTick?: number;
}

/** libvirt and QEMU over memory: libvirt 9.0 as it was measured, with its error codes. */
export class SimHypervisor implements Hypervisor {
  readonly guests: SimGuest[];
  readonly #options: Required<Omit<SimHypervisorOptions, 'guests'>>;
  readonly #listeners = new Set<(happening: Happening) => void>();
  /** Orders that have waited for a QEMU that hung, and the disk each was for. */
  readonly #admitted = new WeakMap<Order, Result<Found, Fault>>();
  /** Happenings are lost while it is deaf, as with a connection that is down. */
  deaf = false;

  constructor({ clock, guests, ...rest }: SimHypervisorOptions) {
    const { oldLibvirt = false, tickMs = 100, clustersPerTick = 1 } = rest;
    this.guests = [...guests];
    this.#options = { clock, oldLibvirt, tickMs, clustersPerTick };
  }

  async look(wanted: DiskOf): Promise<Result<GuestView, Fault>> {
    const found = this.#find(wanted);
    if (!found.ok) return ok({ kind: 'absent', why: found.error });
    const { guest } = found.value;
    if (!guest.monitor.hangs) return ok(this.#view(found.value));
    // The XML would be there at once, but the size and a job's progress are QEMU's to tell.
    const no = await guest.monitor.reach('GetBlockInfo', this.#options.clock);
    return no === null ? this.look(wanted) : refused(no);
  }

  async disks() {
    const known = this.guests.filter((guest) => guest.known);
    const all = known.flatMap(({ server, name, disks }) =>
      disks.map(({ volume, target }) => ({ server, guest: name, volume, target })),
    );
    return ok(all);
  }

  async snapshot(order: SnapshotOrder): Promise<Result<null, Fault>> {
    const here = this.#here(order);
    const found = here instanceof Promise ? await here : here;
    if (!found.ok) return found;
    const { disk } = found.value;
    if (disk.xml.file === order.file) return ok(null);
    const switched = switchTo(disk, order);
    return switched.ok ? switched : refused(switched.error);
  }

  async merge(order: MergeOrder): Promise<Result<null, Fault>> {
    const here = this.#here(order);
    const found = here instanceof Promise ? await here : here;
    if (!found.ok) return found;
    const { guest, disk } = found.value;
    const begun = this.#begin(guest, disk, () => SimJob.merge(disk, order.merge));
    return begun.ok ? begun : refused(begun.error);
  }

  async flush(order: SeenDisk): Promise<Result<null, Fault>> {
    const here = this.#here(order);
    const found = here instanceof Promise ? await here : here;
    if (!found.ok) return found;
    const { guest, disk } = found.value;
    if (disk.top === null) return refused(REFUSALS['guest shut off']());
    // It is a resize to the same size, which a job forbids.
    if (disk.job !== null) return refused(REFUSALS['resize during a job']());
    disk.flush();
    // Who is flushed may be another QEMU than the one that was seen: it came while the call waited.
    if (guest.process !== order.process) return changed(order, 'it was restarted');
    return ok(null);
  }

  async unchain(order: SeenDisk): Promise<Result<null, Fault>> {
    const found = this.#seen(order);
    if (!found.ok) return found;
    const { disk } = found.value;
    if (disk.top !== null) return changed(order, 'it is running');
    disk.configure();
    return ok(null);
  }

  listen(listener: (happening: Happening) => void): () => void {
    const mine = (happening: Happening) => listener(happening);
    this.#listeners.add(mine);
    return () => this.#listeners.delete(mine);
  }

  async about(): Promise<Result<string, Fault>> {
    return ok(`libvirt ${this.#options.oldLibvirt ? '1.2.2' : '9.0.0'} (simulated)`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear();
  }

  start(server: ServerId, from: StartFrom = 'the top file'): Result<null, string> {
    const guest = this.#guest(server);
    const started = guest.start(from);
    if (started.ok) this.tell({ kind: 'guest', server });
    return started;
  }

  /** Ends a guest's QEMU. Of its block jobs nothing is told: they are just gone (measured). */
  end(server: ServerId, how: 'stopped' | 'killed'): void {
    this.#guest(server).end(how);
    this.tell({ kind: 'guest', server });
  }

  /** Any of libvirt's own calls that begin a block job: `begin` makes it, or refuses. */
  begin(where: DiskOf, begin: (disk: SimDisk) => Result<BlockJob, No>): Result<null, No> {
    const guest = this.#guest(where.server);
    const disk = guest.disks.find((one) => one.volume === where.volume);
    if (disk === undefined) return no('disk unknown', where.volume);
    return this.#begin(guest, disk, () => begin(disk));
  }

  /** virDomainBlockJobAbort: a job is cancelled, or with `pivot` a ready active commit finished. */
  abort(where: DiskOf, { pivot }: { readonly pivot: boolean }): Result<null, No> {
    const guest = this.#guest(where.server);
    const disk = guest.disks.find((one) => one.volume === where.volume);
    if (disk === undefined) return no('disk unknown', where.volume);
    if (disk.top === null) return no('guest shut off', disk.target);
    const { job, target } = disk;
    if (job === null) return no('no job to end', target);
    if (!pivot && !['copying', 'ready'].includes(job.phase)) {
      return no('job past its cancelling', target);
    }
    if (!pivot) this.cancel(where);
    else if (job instanceof ActiveCommit && job.phase === 'ready') {
      job.pivot();
      void this.#run(guest, disk, job);
    } else return no('job not ready to pivot', target, job.kind, `${disk.top.index}`);
    return ok(null);
  }

  /** Its QEMU does not answer any more, and does nothing. */
  hang(server: ServerId): void {
    this.#guest(server).monitor.hang();
  }

  goOn(server: ServerId): void {
    this.#guest(server).monitor.end('goes on');
  }

  /** Somebody ends the disk's block job, as `virsh blockjob --abort` does. */
  cancel({ server, volume }: DiskOf): void {
    const disk = this.#guest(server).disks.find((one) => one.volume === volume);
    if (disk?.job == null) return;
    disk.job.canceled();
    disk.job = null;
    this.tell({ kind: 'job', server, target: disk.target, how: 'canceled' });
  }

  /** Somebody else's block job, which lasts until it is cancelled. */
  startForeignJob({ server, volume }: DiskOf, kind: Job['kind'] = 'copy'): void {
    const disk = this.#guest(server).disks.find((one) => one.volume === volume);
    if (disk) disk.job = SimJob.foreign(disk, kind);
  }

  tell(happening: Happening): void {
    if (this.deaf) return;
    for (const listener of [...this.#listeners]) listener(happening);
  }

  #begin(guest: SimGuest, disk: SimDisk, make: () => Result<BlockJob, No>): Result<null, No> {
    const job = make();
    if (!job.ok) return job;
    disk.job = job.value;
    void this.#run(guest, disk, job.value);
    return ok(null);
  }

  /** A job goes on by the clock until it is ready or over, cancelled, or its QEMU is gone. */
  async #run(guest: SimGuest, disk: SimDisk, job: BlockJob): Promise<void> {
    const { clock, tickMs, clustersPerTick } = this.#options;
    while (disk.job === job) {
      const late = disk.lateXml && (job.phase === 'telling' || job.phase === 'xml');
      await clock.sleep(late ? Math.min(tickMs, LATE_XML_MS) : tickMs);
      if (disk.job !== job) return;
      if (guest.monitor.hangs) continue;
      const before = job.phase;
      job.step(clustersPerTick);
      const told = { kind: 'job', server: guest.server, target: disk.target } as const;
      if (before === 'telling') this.tell({ ...told, how: job.failed ? 'failed' : 'completed' });
      if (job.phase === 'ready') return this.tell({ ...told, how: 'ready' });
      if (job.phase === 'over') disk.job = null;
    }
  }

  #view({ guest, disk }: Found): GuestView {
    return seen(guest, disk, this.#options.oldLibvirt);
  }

  #find({ server, volume }: DiskOf): Result<Found, Refusal> {
    const guest = this.guests.find((one) => one.server === server && one.known);
    if (guest === undefined) return err({ kind: 'guest-not-found', server });
    const disks = guest.disks.filter((one) => one.volume === volume);
    const [disk, ...others] = disks;
    if (disk === undefined) return err({ kind: 'disk-not-found', server, volume });
    if (others.length === 0) return ok({ guest, disk });
    const targets = disks.map((one) => one.target);
    return err({ kind: 'ambiguous-disk', server, volume, targets });
  }

  /**
   * The disk, if all is still as it was seen, and once its QEMU answers. Nothing is looked at
   * twice: what becomes of the guest while the call waits is libvirt's to deal with.
   */
  #here(order: Order): Result<Found, Fault> | Promise<Result<Found, Fault>> {
    const found = this.#admitted.get(order) ?? this.#seen(order);
    if (!found.ok || !found.value.guest.monitor.hangs) return found;
    return this.admit(order, 'Call').then((admitted) => (admitted.ok ? found : admitted));
  }

  /** Whether an order gets to its guest's QEMU, and when: see `Monitor`. */
  async admit(order: Order, call: string): Promise<Result<null, Fault>> {
    const found = this.#seen(order);
    if (!found.ok) return found;
    const { guest } = found.value;
    const no = await guest.monitor.reach(call, this.#options.clock);
    if (no !== null) return refused(no);
    if (!guest.known) return refused(REFUSALS['guest gone']('', guest.server, guest.name));
    this.#admitted.set(order, found);
    return ok(null);
  }

  /** The disk, if it is still the one that was seen. */
  #seen(order: Order): Result<Found, Fault> {
    const found = this.#find(order);
    if (!found.ok) return changed(order, 'the disk is gone');
    const { guest, disk } = found.value;
    if (guest.process !== order.process) return changed(order, 'it was restarted');
    if (disk.target !== order.target) return changed(order, `the disk is ${disk.target}`);
    const active = disk.xml.file;
    const { active: expected, file, chain } = order;
    if (expected !== undefined && ![file, expected].includes(active)) {
      return changed(order, `${active} is active`);
    }
    const there = files(disk.xml);
    if (!Array.isArray(chain) || there.join('/') === chain.join('/')) return found;
    return changed(order, `the chain is ${there.join(' on ')}`);
  }

  #guest(server: ServerId): SimGuest {
    const guest = this.guests.find((one) => one.server === server);
    if (guest === undefined) throw new Error(`no simulated guest ${server}`);
    return guest;
  }
}

/** By how much an older libvirt tells, and knows of no job any more, before its XML has changed. */
const LATE_XML_MS = 150;

interface Found {
  readonly guest: SimGuest;
  readonly disk: SimDisk;
}

/** Whatever is ordered of a disk that was seen. */
type Order = SeenDisk & Partial<SnapshotOrder> & Partial<MergeOrder>;

const files = (chain: SeenLayer): readonly FileName[] => [
  chain.file,
  ...(chain.on === null ? [] : files(chain.on)),
];

const rejected = (code: number | string, detail: string): Result<never, Fault> =>
  err({ kind: 'rejected', who: 'libvirt', code, detail });

const changed = (order: SeenDisk, what: string): Result<never, Fault> =>
  rejected('changed', `guest ${order.server} is not as it was seen: ${what}`);

const refused = ({ code, message }: No): Result<never, Fault> => rejected(code, message);
