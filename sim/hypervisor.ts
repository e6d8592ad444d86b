import type { SeenLayer } from '#domain/chain.ts';
import type { Fault, Refusal } from '#domain/failure.ts';
import { type FileName, QCOW2, type ServerId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { DiskView, GuestView, Job } from '#domain/sight.ts';
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
import type { SimDisk } from './disk.ts';
import type { SimGuest } from './guest.ts';
import { type BlockJob, SimJob } from './job.ts';
import { SimNode } from './node.ts';
import { type No, no } from './refusal.ts';
import { forged } from './share.ts';

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
  /** Happenings are lost while it is deaf, as with a connection that is down. */
  deaf = false;

  constructor({ clock, guests, ...rest }: SimHypervisorOptions) {
    const { oldLibvirt = false, tickMs = 100, clustersPerTick = 1 } = rest;
    this.guests = [...guests];
    this.#options = { clock, oldLibvirt, tickMs, clustersPerTick };
  }

  async look(wanted: DiskOf): Promise<Result<GuestView, Fault>> {
    const found = this.#find(wanted);
    return ok(found.ok ? this.#view(found.value) : { kind: 'absent', why: found.error });
  }

  async disks() {
    const all = this.guests.flatMap(({ server, name, disks }) =>
      disks.map(({ volume, target }) => ({ server, guest: name, volume, target })),
    );
    return ok(all);
  }

  async snapshot(order: SnapshotOrder): Promise<Result<null, Fault>> {
    const found = this.#seen(order);
    if (!found.ok) return found;
    const { disk } = found.value;
    const active = disk.xml.file;
    if (active === order.file) return ok(null);
    if (active !== order.active) return changed(order, `${active} is active`);
    const idle = free(disk);
    if (!idle.ok) return rejected(idle.error.code, idle.error.message);
    const missing = `missing existing file for disk ${disk.target}: ${order.file}`;
    const { share } = disk;
    const file = order.directory === share.directory ? share.file(order.file) : null;
    if (file === null) return rejected(38, `${missing}: No such file or directory`);
    if (disk.top === null) {
      disk.note({ file: order.file, format: QCOW2, on: disk.config });
      return ok(null);
    }
    const header = file.header ?? forged(file);
    const cannot = "unable to execute QEMU command 'blockdev-add'";
    if (header === null) return rejected(1, `${cannot}: Image is not in qcow2 format`);
    if (share.isOpen(file)) return rejected(1, `${cannot}: Failed to get "write" lock`);
    if (header.features & CORRUPT) return rejected(1, `${cannot}: qcow2: Image is corrupt`);
    disk.attach(new SimNode(share, file, QCOW2, null));
    return ok(null);
  }

  async merge(order: MergeOrder): Promise<Result<null, Fault>> {
    const found = this.#seen(order);
    if (!found.ok) return found;
    const { guest, disk } = found.value;
    const chain = files(disk.xml);
    if (chain.join('/') !== order.chain.join('/')) {
      return changed(order, `the chain is ${chain.join(' on ')}`);
    }
    const begun = this.#begin(guest, disk, () => SimJob.merge(disk, order.merge));
    return begun.ok ? begun : rejected(begun.error.code, begun.error.message);
  }

  async flush(order: SeenDisk): Promise<Result<null, Fault>> {
    const found = this.#seen(order);
    if (!found.ok) return found;
    const { disk } = found.value;
    if (disk.top === null) return rejected(55, 'domain is not running');
    // It is a resize to the same size, which a job forbids.
    if (disk.job !== null) return rejected(1, "'block_resize': Device '(null)' is in use");
    disk.flush();
    return ok(null);
  }

  async unchain(order: SeenDisk): Promise<Result<null, Fault>> {
    const found = this.#seen(order);
    if (!found.ok) return found;
    const { disk } = found.value;
    if (disk.top !== null) return changed(order, 'it is running');
    disk.note({ ...disk.config, on: null });
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

  /** Starts a guest from its disks' topmost files. */
  start(server: ServerId): Result<null, string> {
    const guest = this.#guest(server);
    const started = guest.start();
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
    if (disk === undefined) return no(8, 'disk not found in domain');
    return this.#begin(guest, disk, () => begin(disk));
  }

  /** virDomainBlockJobAbort: a job is cancelled, or with `pivot` a ready active commit finished. */
  abort(where: DiskOf, { pivot }: { readonly pivot: boolean }): Result<null, No> {
    const guest = this.#guest(where.server);
    const disk = guest.disks.find((one) => one.volume === where.volume);
    if (disk === undefined) return no(8, 'disk not found in domain');
    if (disk.top === null) return no(55, 'domain is not running');
    const { job, target } = disk;
    if (job === null) return no(8, `disk ${target} does not have an active block job`);
    if (!pivot && !['copying', 'ready'].includes(job.phase)) {
      return no(1, `Job in state 'concluded' cannot accept command verb 'cancel'`);
    }
    if (!pivot) this.cancel(where);
    else if (job instanceof ActiveCommit && job.phase === 'ready') {
      job.pivot();
      void this.#run(guest, disk, job);
    } else return no(83, `block job on disk ${target} not ready for pivot yet`);
    return ok(null);
  }

  /** Somebody ends the disk's block job, as `virsh blockjob --abort` does. */
  cancel({ server, volume }: DiskOf): void {
    const disk = this.#guest(server).disks.find((one) => one.volume === volume);
    if (disk?.job == null) return;
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
    const idle = free(disk);
    if (!idle.ok) return idle;
    disk.job = job.value;
    void this.#run(guest, disk, job.value);
    return ok(null);
  }

  /** A job goes on by the clock until it is ready or over, cancelled, or its QEMU is gone. */
  async #run(guest: SimGuest, disk: SimDisk, job: BlockJob): Promise<void> {
    const { clock, tickMs, clustersPerTick } = this.#options;
    while (disk.job === job) {
      await clock.sleep(tickMs);
      if (disk.job !== job) return;
      const before = job.phase;
      job.step(clustersPerTick);
      const told = { kind: 'job', server: guest.server, target: disk.target } as const;
      if (before === 'telling') this.tell({ ...told, how: job.failed ? 'failed' : 'completed' });
      if (job.phase === 'ready') return this.tell({ ...told, how: 'ready' });
      if (job.phase === 'over') disk.job = null;
    }
  }

  #view({ guest, disk }: Found): DiskView {
    const { share, target } = disk;
    return {
      kind: 'disk',
      server: guest.server,
      target,
      process: guest.process,
      source: { kind: 'files', directory: share.directory },
      stray: null,
      encrypted: false,
      chain: this.#shown(disk.xml, true),
      size: disk.bytes,
      job: disk.job?.info() ?? null,
    };
  }

  #shown({ file, format, on }: SeenLayer, active: boolean): SeenLayer {
    const named = active || !this.#options.oldLibvirt;
    return { file, format: named ? format : null, on: on && this.#shown(on, false) };
  }

  #find({ server, volume }: DiskOf): Result<Found, Refusal> {
    const guest = this.guests.find((one) => one.server === server);
    if (guest === undefined) return err({ kind: 'guest-not-found', server });
    const disks = guest.disks.filter((one) => one.volume === volume);
    const [disk, ...others] = disks;
    if (disk === undefined) return err({ kind: 'disk-not-found', server, volume });
    if (others.length === 0) return ok({ guest, disk });
    const targets = disks.map((one) => one.target);
    return err({ kind: 'ambiguous-disk', server, volume, targets });
  }

  /** The disk, if it is still the one that was seen. */
  #seen(order: SeenDisk): Result<Found, Fault> {
    const found = this.#find(order);
    if (!found.ok) return changed(order, 'the disk is gone');
    const { guest, disk } = found.value;
    if (guest.process !== order.process) return changed(order, 'it was restarted');
    if (disk.target !== order.target) return changed(order, `the disk is ${disk.target}`);
    return found;
  }

  #guest(server: ServerId): SimGuest {
    const guest = this.guests.find((one) => one.server === server);
    if (guest === undefined) throw new Error(`no simulated guest ${server}`);
    return guest;
  }
}

interface Found {
  readonly guest: SimGuest;
  readonly disk: SimDisk;
}

/** The incompatible feature bit of a corrupt image. */
const CORRUPT = 2;

const files = (chain: SeenLayer): readonly FileName[] => [
  chain.file,
  ...(chain.on === null ? [] : files(chain.on)),
];

const rejected = (code: number | string, detail: string): Result<never, Fault> =>
  err({ kind: 'rejected', who: 'libvirt', code, detail });

const changed = (order: SeenDisk, what: string): Result<never, Fault> =>
  rejected('changed', `guest ${order.server} is not as it was seen: ${what}`);

/** VIR_ERR_BLOCK_COPY_ACTIVE for a job with a mirror, else VIR_ERR_OPERATION_UNSUPPORTED. */
function free({ job, target }: SimDisk): Result<null, No> {
  if (job === null) return ok(null);
  const mirror = job.kind === 'copy' || job.kind === 'active-commit';
  return no(mirror ? 83 : 84, `disk '${target}' already in active block job`);
}
