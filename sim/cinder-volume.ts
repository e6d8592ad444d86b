import type { FileName, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Clock } from '#ports/clock.ts';
import type { SimCinder } from './cinder.ts';
import { RemoteFsDriver } from './cinder-driver.ts';
import type { Info } from './cinder-info.ts';
import { CinderLife, type CinderStep } from './cinder-life.ts';
import type { Assist, FoundVolume, SnapshotRow } from './cinder-rows.ts';
import type { SimShare } from './share.ts';

export interface ServiceWorld {
  readonly cinder: SimCinder;
  readonly clock: Clock;
  readonly share: SimShare;
  readonly assist: Assist;
}

type Work = (run: Run) => Promise<string | null>;

/** A process, its driver and the locks that it holds. */
interface Run {
  readonly life: CinderLife;
  readonly driver: RemoteFsDriver;
  /** One operation per volume at a time, for as long as it takes. */
  readonly locks: Map<VolumeId, Promise<unknown>>;
}

/** How long copying a snapshot's content elsewhere takes. */
const COPY_MS = 20_000;

/**
 * cinder/volume/manager.py: what is done with a request, and what becomes of it when the process
 * is killed. Requests that were not begun wait in the message queue for the next one.
 */
export class VolumeService {
  readonly #world: ServiceWorld;
  /** Snapshots that a process has begun to create, by the workers table. */
  readonly #workers = new Set<SnapshotId>();
  readonly #queue: (() => void)[] = [];
  #run: Run | null = null;
  /** By volume: requests that have no answer yet. */
  readonly #open = new Map<VolumeId, number>();
  /** Snapshots whose create loop spins, its lock held (LP 1538496's class). */
  readonly hung: SnapshotId[] = [];
  /** What an operator has to write who finds that a process died in the middle. */
  readonly torn = new Map<VolumeId, Torn>();
  /** Told before each step; it may kill the service. */
  at: (step: CinderStep, snapshot: SnapshotId) => void = () => {};

  constructor(world: ServiceWorld) {
    this.#world = world;
    this.start();
  }

  get up(): boolean {
    return this.#run !== null;
  }

  busy(volume: VolumeId): boolean {
    return (this.#open.get(volume) ?? 0) > 0;
  }

  /** SIGKILL: its locks are free, what it waited for it does not wait for any more. */
  kill(): void {
    const run = this.#run;
    this.#run = null;
    this.hung.length = 0;
    run?.life.kill();
  }

  /** init_host, _do_cleanup: `creating` becomes `error`, `deleting` stays. */
  start(): void {
    if (this.#run !== null) return;
    const { cinder } = this.#world;
    for (const id of this.#workers) {
      const row = cinder.snapshots.get(id);
      // One that heeds the spec would not forget the snapshots that the spec's status is for.
      if (row && BEGUN.includes(row.status)) row.status = 'error';
    }
    this.#workers.clear();
    const life = new CinderLife((step, snapshot) => this.at(step, snapshot));
    const { hung, torn } = this;
    const driver = new RemoteFsDriver({ ...this.#world, life, hung, torn });
    this.#run = { life, driver, locks: new Map() };
    for (const deliver of this.#queue.splice(0)) deliver();
  }

  /** os-reset_status takes the worker's row away: nobody cleans up after it any more. */
  forget(id: SnapshotId): void {
    this.#workers.delete(id);
  }

  create(row: SnapshotRow, found: FoundVolume): Promise<string | null> {
    return this.#cast(row.volume, async ({ life, driver, locks }) => {
      this.#workers.add(row.id);
      const problem = await life.see(
        locked(locks, row.volume, life, () => driver.create(row, found)),
      );
      await life.step('before it saves the status', row.id);
      this.#workers.delete(row.id);
      if (problem === null) Object.assign(row, { status: 'available', progress: '100%' });
      else row.status = 'error';
      return problem;
    });
  }

  delete(row: SnapshotRow, found: FoundVolume): Promise<string | null> {
    return this.#cast(row.volume, async ({ life, driver, locks }) => {
      const problem = await life.see(
        locked(locks, row.volume, life, () => driver.delete(row, found)),
      );
      await life.step('before it saves the status', row.id);
      if (problem === null) this.#world.cinder.snapshots.delete(row.id);
      else row.status = 'error_deleting';
      return problem;
    });
  }

  /**
   * remotefs.py, _create_cloned_volume: with the volume's lock held, a snapshot that no manager
   * knows is taken, copied and deleted. Its status is set to `deleting` from what this process
   * had in memory: the progress that was reported for the create stays.
   */
  backup(row: SnapshotRow, found: FoundVolume): Promise<string | null> {
    const { cinder, clock } = this.#world;
    return this.#cast(row.volume, ({ life, driver, locks }) =>
      locked(locks, row.volume, life, async () => {
        cinder.snapshots.set(row.id, row);
        const problem = await life.see(driver.create(row, found));
        if (problem !== null) return problem;
        await life.see(clock.sleep(COPY_MS));
        row.status = 'deleting';
        const after = await life.see(driver.delete(row, found));
        if (after === null) cinder.snapshots.delete(row.id);
        return after;
      }),
    );
  }

  /** To whichever process is there: this one, or the next. */
  async #cast(volume: VolumeId, work: Work): Promise<string | null> {
    this.#open.set(volume, (this.#open.get(volume) ?? 0) + 1);
    const { promise, resolve } = Promise.withResolvers<string | null>();
    const deliver = () => {
      const run = this.#run;
      if (run === null) return void this.#queue.push(deliver);
      void run.life.ended.then(() => resolve(KILLED));
      void work(run).then(resolve);
    };
    deliver();
    const problem = await promise;
    this.#open.set(volume, (this.#open.get(volume) ?? 1) - 1);
    return problem;
  }
}

/** What is half done on the share, and what would make it whole. */
export interface Torn {
  /** What `.info` was to say, while what it says cannot be read. */
  readonly info?: Info;
  readonly gone: readonly Gone[];
}

/** A snapshot's file that is gone while `.info` names it, and the file that has what was in it. */
export interface Gone extends Merging {
  readonly id: SnapshotId;
}

/** A merge of Cinder's own. Our driver keeps a note of it on the share. */
export interface Merging {
  readonly file: FileName;
  readonly into: FileName;
  /** The file above it, which may still name it, and the format to write there. */
  readonly above: { readonly file: FileName; readonly format: string } | null;
}

export const KILLED = 'cinder-volume was killed';
const BEGUN: readonly string[] = ['creating', 'creating_compute_complete'];

function locked<T>(
  locks: Map<VolumeId, Promise<unknown>>,
  volume: VolumeId,
  life: CinderLife,
  work: () => Promise<T>,
): Promise<T> {
  const before = locks.get(volume) ?? Promise.resolve();
  const mine = life.see(before).then(work);
  const settled = mine.then(
    () => {},
    () => {},
  );
  locks.set(volume, settled);
  return mine;
}
