import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault } from '#domain/failure.ts';
import { err, type Result } from '#domain/result.ts';
import type { JobInfo } from './guest-calls.ts';
import type { Answer } from './lane.ts';

// virDomainBlockJobType.
const PULL = 1;
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
type Work = 'pull asked for' | 'pull' | 'call';

/** What is at work on a disk, as libvirt says it. */
type Ask = (server: string, target: string) => Promise<Answer<JobInfo | null>>;

interface Disk {
  readonly server: string;
  readonly target: string;
}

/**
 * The pulls at work on one guest's disks, as far as they were begun or seen here. When a pull ends
 * while QEMU 7.2.22 is told to begin something on another disk of the same guest, it dies: of
 * guests with ten disks that were pulled at once 3 of 3, of pulls beside snapshots 3 of 3, beside
 * commits 2 of 3; one after the other none of 30 (measured, with the bare calls too). So whoever
 * begins something waits until no other disk of the guest is being pulled.
 */
export class Pulls {
  readonly #ask: Ask;
  readonly #patience: Patience;
  /** By guest and disk: what is at work there. */
  readonly #guests = new Map<string, Map<string, Work>>();
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(ask: Ask, patience = PATIENCE) {
    this.#ask = ask;
    this.#patience = patience;
  }

  /** A look has shown what is at work on a disk. */
  note(server: string, target: string, job: JobInfo | null): void {
    if (job?.type === PULL) this.#set({ server, target }, 'pull');
    else if (this.#guests.get(server)?.get(target) === 'pull') this.#end({ server, target });
  }

  /** Begins a merge once no other disk of the guest is being pulled; else it is `NOT_NOW`. */
  async merge(
    disk: Disk,
    kind: 'pull' | 'commit',
    begin: () => Promise<Result<null, Fault>>,
  ): Promise<Result<null, Fault>> {
    const work = kind === 'pull' ? 'pull asked for' : 'call';
    if (!(await this.#clear(disk, work, this.#patience.mergeMs))) return NOT_NOW;
    const begun = await begin();
    const pulled = kind === 'pull' && (begun.ok || begun.error.kind === 'unknown');
    if (pulled) this.#set(disk, 'pull');
    else this.#end(disk);
    return begun;
  }

  /** Takes a snapshot after that, or when a create can wait no longer. */
  async snapshot<T>(disk: Disk, take: () => Promise<T>): Promise<T> {
    const alone = await this.#clear(disk, 'call', this.#patience.createMs);
    return alone ? take().finally(() => this.#end(disk)) : take();
  }

  #end({ server, target }: Disk): void {
    const targets = this.#guests.get(server);
    if (targets?.delete(target) !== true) return;
    if (targets.size === 0) this.#guests.delete(server);
    for (const wake of this.#waiting.get(server) ?? []) wake();
  }

  /**
   * Resolves to true when no other disk of the guest is being pulled, and to false when that is not
   * so within `ms`. What is begun is noted at once: of those who wait the next one knows of it.
   */
  async #clear(disk: Disk, work: Work, ms: number): Promise<boolean> {
    const { server, target } = disk;
    const until = performance.now() + ms;
    for (;;) {
      const others = [...(this.#guests.get(server) ?? [])]
        .filter(([one, at]) => one !== target && (work !== 'call' || at !== 'call'))
        .map(([one]) => one);
      if (others.length === 0) {
        this.#set(disk, work);
        return true;
      }
      const left = until - performance.now();
      if (left <= 0) return false;
      if (await this.#woken(server, Math.min(left, this.#patience.lookEveryMs))) continue;
      // Nobody may be looking at it any more. A guest that is gone has no job.
      for (const one of others) {
        const job = await this.#ask(server, one);
        if (job.ok || job.error.kind === 'rejected')
          this.note(server, one, job.ok ? job.value : null);
      }
    }
  }

  #set({ server, target }: Disk, work: Work): void {
    const works = this.#guests.get(server) ?? new Map<string, Work>();
    this.#guests.set(server, works.set(target, work));
  }

  /** Whether a pull of this guest has ended before the time was over. */
  async #woken(server: string, ms: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const over = new AbortController();
    const wake = () => resolve(true);
    const waiting = this.#waiting.get(server) ?? new Set();
    this.#waiting.set(server, waiting.add(wake));
    sleep(ms, null, { signal: over.signal, ref: false }).then(
      () => resolve(false),
      () => {},
    );
    try {
      return await promise;
    } finally {
      over.abort();
      waiting.delete(wake);
      if (waiting.size === 0 && this.#waiting.get(server) === waiting) this.#waiting.delete(server);
    }
  }
}
