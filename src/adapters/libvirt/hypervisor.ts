import type { Fault } from '#domain/failure.ts';
import type { ServerId, VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { GuestView } from '#domain/sight.ts';
import type {
  ActiveCommitOrder,
  DiskOf,
  FlushOrder,
  Happening,
  Hypervisor,
  ListedDisk,
  LookOrder,
  MergeOrder,
  SeenDisk,
  SeenGuest,
  SnapshotOrder,
  UnchainOrder,
} from '#ports/hypervisor.ts';
import { Recent } from '../system/recent.ts';
import { quiescedSnapshot, thaw } from './agent.ts';
import { flushActive, flushBase } from './barriers.ts';
import { type Facts, locate, NO_SOURCE, nameOf, viewOf, within } from './disk-view.ts';
import { parseDomain } from './domain-xml.ts';
import { LibvirtEvents } from './events.ts';
import { changed, done, faultOf, isGone, restarted, unreadable } from './faults.ts';
import { Finder, type Found } from './finder.ts';
import type { GuestCalls, JobInfo } from './guest-calls.ts';
import { Lanes } from './lanes.ts';
import { patiently } from './remote-disk.ts';
import { Sizes } from './sizes.ts';
import { fileIn, snapshotXml } from './snapshot-xml.ts';
import { unchain } from './unchaining.ts';

// virDomainSnapshotCreateFlags: NO_METADATA, DISK_ONLY, REUSE_EXT, ATOMIC.
const SNAPSHOT_FLAGS = 4 | 16 | 32 | 128;
// Without RELATIVE the header gets an absolute name, which Cinder then refuses (LP 2119353).
const COMMIT_RELATIVE = 8;
const COMMIT_ACTIVE = 4;
const ABORT_PIVOT = 2;
const REBASE_RELATIVE = 16;

const MOST_DISKS = 4096;

const UNASKED = { saved: false, size: null, job: null, unasked: true } as const;

/** Before the turns of other guests that wait as well. */
const FIRST = true;

type Change = (calls: GuestCalls, found: Found) => Promise<Result<null, Fault>>;

/** What an operator sets of libvirt. */
export interface LibvirtOptions {
  readonly connectionUri: string;
  /** Of a merge; 0 is without limit. */
  readonly bandwidthMib: number;
  /** For each command of a guest's agent. */
  readonly agentTimeoutMs: number;
  /** Where volumes may lie; empty is wherever the live XML says. */
  readonly volumeDirectories: readonly string[];
}

/** libvirt's QEMU driver, over lanes for calls and one connection for events. */
export class LibvirtHypervisor implements Hypervisor {
  readonly #options: LibvirtOptions;
  readonly #lanes: Lanes;
  readonly #events: LibvirtEvents;
  readonly #finder: Finder;
  readonly #sizes = new Sizes();
  /** Where a disk was when it was last looked at. */
  readonly #last = new Recent<Pick<Found, 'process'> & { readonly target: string }>(MOST_DISKS);

  private constructor(options: LibvirtOptions, events: LibvirtEvents) {
    this.#options = options;
    this.#lanes = new Lanes(options.connectionUri);
    this.#finder = new Finder(options.connectionUri);
    this.#events = events;
  }

  static async connect(options: LibvirtOptions): Promise<LibvirtHypervisor> {
    return new LibvirtHypervisor(options, await LibvirtEvents.start(options.connectionUri));
  }

  look(wanted: LookOrder): Promise<Result<GuestView, Fault>> {
    return this.#lanes.turn(wanted.server, async (calls) => {
      const settled = await this.#finder.settled(calls, wanted);
      if (!settled.ok) return settled;
      if (settled.value !== null) return ok(this.#viewed(settled.value, UNASKED));
      // A job that is gone has already changed the XML (measured), so the XML is read after it;
      // a finished job would otherwise look like one that never was. Where the disk is, the last
      // look knows; whether it is still there, in the same QEMU, the XML says.
      const key = `${wanted.server} ${wanted.volume}`;
      const last = this.#last.get(key);
      const early = last === undefined ? null : await calls.jobInfo(last.target);
      if (early?.ok === false && early.error.kind !== 'rejected') return err(faultOf(early.error));
      const found = await this.#finder.disk(calls, wanted);
      if (!found.ok) return found;
      if ('kind' in found.value) return ok(found.value);
      const { disk, process } = found.value;
      if (process !== null) this.#last.set(key, { process, target: disk.target });
      const same = last?.process === process && last.target === disk.target;
      if (early?.ok && same) return this.#view(calls, found.value, early.value);
      return this.#lookTwice(calls, wanted, found.value);
    });
  }

  /** At a disk that nobody has looked at before, or not since its guest was started. */
  async #lookTwice(
    calls: GuestCalls,
    wanted: DiskOf,
    first: Found,
  ): Promise<Result<GuestView, Fault>> {
    const { disk, process } = first;
    if (process === null) return this.#view(calls, first, null);
    const job = await calls.jobInfo(disk.target);
    if (!job.ok) return err(faultOf(job.error));
    if (job.value !== null) return this.#view(calls, first, job.value);
    const again = await this.#finder.disk(calls, wanted);
    if (!again.ok) return again;
    if ('kind' in again.value) return ok(again.value);
    if (again.value.process !== process) return err(restarted(wanted.server));
    return this.#view(calls, again.value, null);
  }

  async #view(
    calls: GuestCalls,
    found: Found,
    job: JobInfo | null,
  ): Promise<Result<GuestView, Fault>> {
    const { process } = found;
    const saved = process !== null ? ok(false) : await calls.isSaved();
    if (!saved.ok) return err(faultOf(saved.error));
    // Asked at the end of a pull, QEMU 7.2.22 dies (10 of 10): libvirt reads all nodes for it.
    const size = job === null ? await this.#sizes.of(calls, found) : ok(null);
    if (!size.ok) return err(faultOf(size.error));
    return ok(this.#viewed(found, { saved: saved.value, size: size.value, job }));
  }

  #viewed({ domain, disk, process }: Found, facts: Omit<Facts, 'process'>): GuestView {
    const view = viewOf(domain, disk, { process, ...facts });
    return within(view, this.#options.volumeDirectories);
  }

  async disks(): Promise<Result<readonly ListedDisk[], Fault>> {
    const domains = await this.#lanes.listDomains();
    if (!domains.ok) return err(faultOf(domains.error));
    const found: ListedDisk[] = [];
    for (const { uuid, name } of domains.value) {
      const xml = await this.#lanes.domainXml(uuid, false);
      // A guest that went away since the list was made has no disks.
      if (!xml.ok && isGone(xml.error)) continue;
      if (!xml.ok) return err(faultOf(xml.error));
      const domain = parseDomain(xml.value);
      if (!domain.ok) return err(unreadable(domain.error));
      for (const { serial, target } of domain.value.disks) {
        if (serial === null) continue;
        found.push({ server: uuid as ServerId, guest: name, volume: serial as VolumeId, target });
      }
    }
    return ok(found);
  }

  snapshot(order: SnapshotOrder): Promise<Result<null, Fault>> {
    const change: Change = async (calls, { domain, disk }) => {
      const active = nameOf(disk.layers[0]?.source ?? NO_SOURCE);
      if (active === order.file) return ok(null);
      if (active !== order.active) return err(changed(order, `${active} is active`));
      const path = fileIn(order.directory, order.file);
      const xml = snapshotXml(domain, order.target, path, order.key);
      if (!order.quiesce) return done(await calls.snapshotCreate(xml, SNAPSHOT_FLAGS));
      return done(await quiescedSnapshot(calls, xml, SNAPSHOT_FLAGS, this.#options));
    };
    // Cinder waits for a create for ten minutes, and for a delete for two hours.
    return this.#change(order, change, FIRST);
  }

  thaw(seen: SeenGuest): Promise<Result<null, Fault>> {
    const thawing = async (calls: GuestCalls): Promise<Result<null, Fault>> => {
      const found = await this.#finder.domain(calls, seen.server);
      if (!found.ok) return found;
      if ('kind' in found.value) return err(changed(seen, 'it is gone'));
      if (found.value.process !== seen.process) return err(changed(seen, 'it was restarted'));
      return done(await thaw(calls, this.#options));
    };
    return this.#lanes.turn(seen.server, thawing, FIRST);
  }

  merge(order: MergeOrder): Promise<Result<null, Fault>> {
    const { merge, target } = order;
    const { bandwidthMib } = this.#options;
    const change: Change = async (calls, { disk }) => {
      if (merge.kind === 'pull') {
        const base = merge.onto === null ? null : locate(disk, merge.onto);
        const flags = base === null ? 0 : REBASE_RELATIVE;
        return done(await calls.blockRebase(target, base, bandwidthMib, flags));
      }
      const base = locate(disk, merge.into);
      const top = locate(disk, merge.top);
      return done(await calls.blockCommit(target, base, top, bandwidthMib, COMMIT_RELATIVE));
    };
    return this.#change(order, change);
  }

  commitActive(order: ActiveCommitOrder): Promise<Result<null, Fault>> {
    const change: Change = async (calls, { disk }) => {
      const [, base] = order.chain;
      if (base === undefined) return err(changed(order, 'it has one layer'));
      const into = locate(disk, base);
      const { bandwidthMib } = this.#options;
      return done(await calls.blockCommit(order.target, into, null, bandwidthMib, COMMIT_ACTIVE));
    };
    return this.#change(order, change);
  }

  pivot(order: ActiveCommitOrder): Promise<Result<null, Fault>> {
    return this.#endActive(order, ABORT_PIVOT);
  }

  cancelCommit(order: ActiveCommitOrder): Promise<Result<null, Fault>> {
    return this.#endActive(order, 0);
  }

  flush(order: FlushOrder): Promise<Result<null, Fault>> {
    return this.#change(order, async (calls, found) => {
      const { into } = order;
      const flushed = into
        ? await flushBase(calls, found.disk, into)
        : await flushActive(calls, order, found, this.#sizes);
      if (!flushed.ok) return flushed;
      // Each call waits for the guest's lock, up to 30 s: another QEMU may have been flushed.
      const still = await this.#finder.same(calls, order);
      return still.ok ? ok(null) : still;
    });
  }

  unchain(order: UnchainOrder): Promise<Result<null, Fault>> {
    return this.#change(order, async (calls, { process, disk }) => {
      if (process !== null) return err(changed(order, 'it is running'));
      return unchain(calls, disk, order);
    });
  }

  listen(listener: (happening: Happening) => void): () => void {
    return this.#events.on((event) => {
      switch (event.kind) {
        case 'job': {
          const { uuid, target, status } = event;
          return listener({ kind: 'job', server: uuid as ServerId, target, how: status });
        }
        case 'lifecycle':
          return listener({ kind: 'guest', server: event.uuid as ServerId });
        case 'connected':
          return listener({ kind: 'reconnected' });
        case 'disconnected':
          return;
      }
    });
  }

  get waiting(): number {
    return this.#lanes.waiting;
  }

  async about(): Promise<Result<string, Fault>> {
    const version = await this.#lanes.libVersion();
    if (!version.ok) return err(faultOf(version.error));
    const number = version.value;
    const parts = [Math.floor(number / 1e6), Math.floor(number / 1e3) % 1e3, number % 1e3];
    const events = this.#events.connected ? '' : ', events not connected';
    return ok(`libvirt ${parts.join('.')} at ${this.#options.connectionUri}${events}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lanes[Symbol.asyncDispose]();
    await this.#events[Symbol.asyncDispose]();
  }

  /** A change of a disk that was seen, in a turn in which it is proven to be the same one. */
  #change(order: SeenDisk, change: Change, first = false): Promise<Result<null, Fault>> {
    const turn = async (calls: GuestCalls) => {
      const found = await this.#finder.same(calls, order);
      return found.ok ? change(patiently(calls, found.value.disk), found.value) : found;
    };
    return this.#lanes.turn(order.server, turn, first);
  }

  /** Only of the mirror that was asked for: one of somebody else's is left alone. */
  #endActive(order: ActiveCommitOrder, flags: number): Promise<Result<null, Fault>> {
    return this.#change(order, async (calls, { disk: { mirror } }) => {
      const into = mirror === null ? null : nameOf(mirror.source);
      if (mirror?.job !== 'active-commit' || into !== order.chain[1]) {
        return err(changed(order, `it is mirrored into ${into ?? 'nothing'}`));
      }
      return done(await calls.blockJobAbort(order.target, flags));
    });
  }
}
