import type { Fault } from '#domain/failure.ts';
import type { ServerId } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import type { DiskView, GuestView, Job } from '#domain/sight.ts';
import type { Clock } from '#ports/clock.ts';
import type {
  ActiveCommitOrder,
  DiskOf,
  FlushOrder,
  Happening,
  Hypervisor,
  LookOrder,
  MergeOrder,
  SeenDisk,
  SeenGuest,
  SnapshotOrder,
  UnchainOrder,
} from '#ports/hypervisor.ts';
import { ActiveCommit } from './active-commit.ts';
import { flushActive, flushBase } from './barriers.ts';
import type { SimDisk, StartFrom } from './disk.ts';
import { Finding, type Found, type Order } from './finding.ts';
import type { SimGuest } from './guest.ts';
import { type BlockJob, type Phase, SimJob } from './job.ts';
import { quiesced, thawed } from './quiescing.ts';
import { changed, type No, no, refused } from './refusals.ts';
import { isSettled, seen } from './seen-disk.ts';
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
  readonly #finding: Finding;
  /** Happenings are lost while it is deaf, as with a connection that is down. */
  deaf = false;
  /** What becomes of a guest whose QEMU was told to begin something as a pull of another ended. */
  dies: (guest: SimGuest, begun: SimDisk, pulled: SimDisk) => void = ({ server }) =>
    this.end(server, 'killed');

  constructor({ clock, guests, ...rest }: SimHypervisorOptions) {
    const { oldLibvirt = false, tickMs = 100, clustersPerTick = 1 } = rest;
    this.guests = [...guests];
    this.#options = { clock, oldLibvirt, tickMs, clustersPerTick };
    this.#finding = new Finding(this.guests, clock);
  }

  async look(wanted: LookOrder): Promise<Result<GuestView, Fault>> {
    const found = this.#finding.find(wanted);
    if (!found.ok) return ok({ kind: 'absent', why: found.error });
    const { guest } = found.value;
    const view = this.#view(found.value);
    if (isSettled(view, wanted)) return ok({ ...view, size: null, job: null, unasked: true });
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

  snapshot(order: SnapshotOrder): Promise<Result<null, Fault>> {
    return this.#change(order, ({ guest, disk }) => {
      if (disk.xml.file === order.file) return ok(null);
      const alive = this.#survives(guest, disk);
      if (!alive.ok) return refused(alive.error);
      // Of a guest that is shut off there is nothing to freeze (measured).
      if (order.quiesce && disk.top !== null) return quiesced(guest, () => switchTo(disk, order));
      const switched = switchTo(disk, order);
      return switched.ok ? switched : refused(switched.error);
    });
  }

  async thaw(seen: SeenGuest): Promise<Result<null, Fault>> {
    return thawed(seen, this.guests);
  }

  merge(order: MergeOrder): Promise<Result<null, Fault>> {
    return this.#change(order, ({ guest, disk }) => {
      const begun = this.#begin(guest, disk, () => SimJob.merge(disk, order.merge));
      return begun.ok ? begun : refused(begun.error);
    });
  }

  flush(order: FlushOrder): Promise<Result<null, Fault>> {
    return this.#change(order, ({ guest, disk }) => {
      const { into } = order;
      const flushed = into ? flushBase(guest, disk, into.file) : flushActive(disk);
      if (!flushed.ok) return flushed;
      // It may be another QEMU than the one that was seen: it came while the call waited.
      if (guest.process !== order.process) return changed(order, 'it was restarted');
      return ok(null);
    });
  }

  commitActive(order: ActiveCommitOrder): Promise<Result<null, Fault>> {
    return this.#change(order, ({ guest, disk }) => {
      const [, base] = order.chain;
      const call = { top: null, base: base ?? null, active: true };
      const begun = this.#begin(guest, disk, () => ActiveCommit.of(disk, call));
      return begun.ok ? begun : refused(begun.error);
    });
  }

  pivot(order: ActiveCommitOrder): Promise<Result<null, Fault>> {
    return this.#endActive(order, true);
  }

  cancelCommit(order: ActiveCommitOrder): Promise<Result<null, Fault>> {
    return this.#endActive(order, false);
  }

  async unchain({ instead, ...order }: UnchainOrder): Promise<Result<null, Fault>> {
    const seen = instead ? { ...order, active: instead.chain.file } : order;
    const found = this.#finding.seen(seen);
    if (!found.ok) return found;
    if (found.value.disk.top !== null) return changed(order, 'it is running');
    found.value.disk.unchain(instead?.chain);
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

  #endActive(order: ActiveCommitOrder, pivot: boolean): Promise<Result<null, Fault>> {
    return this.#change(order, ({ disk }) => {
      const into = disk.job?.info()?.mirror?.into;
      if (into === undefined || into !== order.chain[1]) {
        return changed(order, `it is mirrored into ${into ?? 'nothing'}`);
      }
      const ended = this.abort(order, { pivot });
      return ended.ok ? ended : refused(ended.error);
    });
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
    const alive = this.#survives(guest, disk);
    const job = alive.ok ? make() : alive;
    if (!job.ok) return job;
    disk.job = job.value;
    void this.#run(guest, disk, job.value);
    return ok(null);
  }

  /** QEMU 7.2.22 does not, if another disk's pull is just ending (measured: see `Pulls`). */
  #survives(guest: SimGuest, disk: SimDisk): Result<null, No> {
    const pulled = guest.disks.find(({ job }) => job?.kind === 'pull' && ENDING.has(job.phase));
    if (disk.top === null || pulled === undefined || pulled === disk) return ok(null);
    this.dies(guest, disk, pulled);
    return no('QEMU dies in the call', disk.target);
  }

  /** At once unless its QEMU hangs: the sims change what they change before they first wait. */
  async #change(
    order: Order,
    change: (found: Found) => Result<null, Fault> | Promise<Result<null, Fault>>,
  ): Promise<Result<null, Fault>> {
    const here = this.#finding.here(order);
    const found = here instanceof Promise ? await here : here;
    return found.ok ? change(found.value) : found;
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
      // It may wait for long; a guest's write can still end it, on a full disk.
      if (job.phase === 'ready' && before !== 'ready') this.tell({ ...told, how: 'ready' });
      if (job.phase === 'over') disk.job = null;
    }
  }

  #view({ guest, disk }: Found): DiskView {
    return seen(guest, disk, this.#options.oldLibvirt);
  }

  /** Whether an order gets to its guest's QEMU, and when: see `Monitor`. */
  admit(order: SeenDisk, call: string): Promise<Result<null, Fault>> {
    return this.#finding.admit(order, call);
  }

  #guest(server: ServerId): SimGuest {
    const guest = this.guests.find((one) => one.server === server);
    if (guest === undefined) throw new Error(`no simulated guest ${server}`);
    return guest;
  }
}

const ENDING: ReadonlySet<Phase> = new Set<Phase>(['header', 'concluding']);

/** By how much an older libvirt tells, and knows of no job any more, before its XML has changed. */
const LATE_XML_MS = 150;
