import type { Fault } from '#domain/failure.ts';
import type { ServerId, VolumeId } from '#domain/ids.ts';
import { err, type Result } from '#domain/result.ts';
import type { Saga } from '#domain/saga.ts';
import type { GuestView } from '#domain/sight.ts';
import { type Clock, OVER } from '#ports/clock.ts';
import type { DiskOf, Hypervisor, LookOrder } from '#ports/hypervisor.ts';
import type { Operation } from '#ports/journal.ts';
import { over } from './over.ts';

export interface Patience {
  /** How often one who waits looks whether the pull that is in the way still goes on. */
  readonly lookEveryMs: number;
  /** Of a merge; then its saga looks around, and asks again. */
  readonly mergeMs: number;
  /**
   * Of a snapshot, which is taken then: Cinder waits for ten minutes, and a pull that has gone on
   * for so long hardly ends in that very moment.
   */
  readonly createMs: number;
}

const PATIENCE: Patience = { lookEveryMs: 1_000, mergeMs: 5_000, createMs: 10_000 };

/** As libvirt says it of a job on the same disk: "not now". */
const NOT_NOW = err<Fault>({
  kind: 'rejected',
  who: 'libvirt',
  code: 84,
  detail: 'another disk of the guest is being pulled, whose end QEMU may not survive',
});

/**
 * A pull that is only asked for no look has seen yet. A call that begins something else is as short
 * as a call, and only pulls wait for it.
 */
interface Work {
  readonly what: 'pull asked for' | 'pull' | 'call';
  /** By the count of looks: only those that began later say that it is over. */
  readonly since: number;
}

/** Whether it may have begun a pull: a delete has, and a create heals a header by one. */
const pulls = (saga: Saga): boolean =>
  saga.at === 'merging' ? saga.plan.merge.kind === 'pull' : saga.at === 'switching' && !!saga.heals;

type Clocked = Pick<Clock, 'monotonic' | 'sleep'>;

/**
 * The pulls at work on one guest's disks, as far as they were begun or seen here. When a pull ends
 * while QEMU 7.2.22 is told to begin something on another disk of the same guest, it dies: of
 * guests with ten disks that were pulled at once 3 of 3, of pulls beside snapshots 3 of 3, beside
 * commits 2 of 3; one after the other none of 30 (measured, with the bare calls too). So whoever
 * begins something waits until no other disk of the guest is being pulled.
 */
export class Pulls {
  readonly #clock: Clocked;
  readonly #patience: Patience;
  #looks = 0;
  /** By guest and volume: what is at work there. */
  readonly #guests = new Map<ServerId, Map<VolumeId, Work>>();
  readonly #asking = new Set<string>();
  readonly #waiting = new Map<ServerId, Set<() => void>>();

  constructor(clock: Clocked, patience = PATIENCE) {
    this.#clock = clock;
    this.#patience = patience;
  }

  /** The hypervisor, which begins nothing at the end of a pull. */
  guard(hypervisor: Hypervisor): Hypervisor {
    const look = (order: LookOrder) => this.#look(hypervisor, order);
    const merge = (
      order: DiskOf,
      what: 'pull asked for' | 'call',
      begin: () => Promise<Result<null, Fault>>,
    ) => this.#merge(order, what, begin, look);
    return over(hypervisor, {
      look,
      snapshot: async (order) => {
        const alone = await this.#clear(order, 'call', this.#patience.createMs, look);
        const taken = hypervisor.snapshot(order);
        return alone ? taken.finally(() => this.#end(order, 'call')) : taken;
      },
      merge: (order) => {
        const what = order.merge.kind === 'pull' ? 'pull asked for' : 'call';
        return merge(order, what, () => hypervisor.merge(order));
      },
      commitActive: (order) => merge(order, 'call', () => hypervisor.commitActive(order)),
    });
  }

  /** Pulls that an earlier process may have begun, until somebody has looked. */
  expect(operations: readonly Operation[]): void {
    for (const { saga } of operations) if (pulls(saga)) this.#set(saga.request, 'pull');
  }

  async #look(hypervisor: Hypervisor, disk: LookOrder): Promise<Result<GuestView, Fault>> {
    const began = ++this.#looks;
    const seen = await hypervisor.look(disk);
    // A guest that is gone is seen to be; whoever was refused a look has seen nothing.
    if (!seen.ok) return seen;
    if (seen.value.kind === 'disk' && seen.value.unasked) return seen;
    const job = seen.value.kind === 'disk' ? seen.value.job : null;
    if (job?.kind === 'pull') this.#set(disk, 'pull');
    else this.#end(disk, 'pull', began);
    return seen;
  }

  /** Begins a merge once no other disk of the guest is being pulled; else it is `NOT_NOW`. */
  async #merge(
    disk: DiskOf,
    what: 'pull asked for' | 'call',
    begin: () => Promise<Result<null, Fault>>,
    look: Hypervisor['look'],
  ): Promise<Result<null, Fault>> {
    if (!(await this.#clear(disk, what, this.#patience.mergeMs, look))) return NOT_NOW;
    const begun = await begin();
    const pulled = what !== 'call' && (begun.ok || begun.error.kind === 'unknown');
    if (pulled) this.#set(disk, 'pull');
    else this.#end(disk, what);
    return begun;
  }

  #end({ server, volume }: DiskOf, what: Work['what'], before = Infinity): void {
    const works = this.#guests.get(server);
    const work = works?.get(volume);
    if (works === undefined || work?.what !== what || work.since >= before) return;
    works.delete(volume);
    if (works.size === 0) this.#guests.delete(server);
    for (const wake of this.#waiting.get(server) ?? []) wake();
  }

  /**
   * Resolves to true when no other disk of the guest is being pulled, and to false when that is not
   * so within `ms`. What is begun is noted at once: of those who wait the next one knows of it.
   */
  async #clear(
    disk: DiskOf,
    what: Work['what'],
    ms: number,
    look: Hypervisor['look'],
  ): Promise<boolean> {
    const { server, volume } = disk;
    const until = this.#clock.monotonic() + ms;
    for (;;) {
      const others = [...(this.#guests.get(server) ?? [])]
        .filter(([one, at]) => one !== volume && (what !== 'call' || at.what !== 'call'))
        .map(([one]) => one);
      if (others.length === 0) {
        // One that is being pulled itself is so until it is seen not to be.
        if (this.#guests.get(server)?.get(volume)?.what !== 'pull') this.#set(disk, what);
        return true;
      }
      const left = until - this.#clock.monotonic();
      if (left <= 0) return false;
      if (await this.#woken(server, Math.min(left, this.#patience.lookEveryMs))) continue;
      for (const one of others) this.#ask({ server, volume: one }, look);
    }
  }

  /**
   * Nobody may be looking at it any more. Nobody waits for the answer either, which may never come:
   * when it says that the pull is over, whoever waits for that is woken.
   */
  #ask(disk: DiskOf, look: Hypervisor['look']): void {
    const key = `${disk.server} ${disk.volume}`;
    if (this.#asking.has(key)) return;
    this.#asking.add(key);
    const over = () => this.#asking.delete(key);
    // The disk's own operation meets the same defect, and says so.
    look(disk).then(over, over);
  }

  #set({ server, volume }: DiskOf, what: Work['what']): void {
    const works = this.#guests.get(server) ?? new Map<VolumeId, Work>();
    this.#guests.set(server, works.set(volume, { what, since: this.#looks }));
  }

  /** Whether something at work on this guest has ended before the time was over. */
  async #woken(server: ServerId, ms: number): Promise<boolean> {
    const over = new AbortController();
    let woken = false;
    const wake = () => {
      woken = true;
      over.abort(OVER);
    };
    const waiting = this.#waiting.get(server) ?? new Set();
    this.#waiting.set(server, waiting.add(wake));
    await this.#clock.sleep(ms, over.signal);
    waiting.delete(wake);
    if (waiting.size === 0 && this.#waiting.get(server) === waiting) this.#waiting.delete(server);
    return woken;
  }
}
