import type { SnapshotId, VolumeId } from '#domain/ids.ts';
import { OVER } from '#ports/clock.ts';
import type { Ended, SnapshotRow } from '../cinder-rows.ts';
import type { CloudDisk } from '../cloud.ts';
import { attach, detach } from './cinder-hands.ts';
import type { World } from './world.ts';

const STEPS = 14;
const PAUSES_MS = [0, 300, 2_000, 11_000, 45_000, 200_000] as const;
/** Cinder waits 7200 s for a delete, and another request of the same volume waits for that one. */
export const LONGEST_WAIT_MS = 4 * 7_300_000;
/** Nobody keeps more snapshots than this for long. */
const MANY = 5;

/** What users ask of Cinder. Nobody waits for an answer before asking for the next thing. */
export class People {
  readonly #world: World;
  readonly #pending = new Set<Promise<unknown>>();
  /** Volumes with a base that an old libvirt does not name and that nobody has seen being used. */
  readonly #unknown = new Set<VolumeId>();

  constructor(world: World) {
    this.#world = world;
  }

  /** What they asked for is done, one way or the other; but some waits of Cinder never end. */
  async done(): Promise<void> {
    const { clock } = this.#world;
    const patience = new AbortController();
    const tired = clock.sleep(LONGEST_WAIT_MS, patience.signal);
    const all = async () => {
      while (this.#pending.size > 0) await Promise.all(this.#pending);
    };
    await Promise.race([all(), tired]);
    patience.abort(OVER);
  }

  async live(): Promise<void> {
    const { choices, clock, cloud } = this.#world;
    for (let step = 0; step < STEPS; step++) {
      await clock.sleep(choices.of('user waits', PAUSES_MS));
      this.act(choices.of('user picks a volume', cloud.disks));
    }
  }

  /** One thing that somebody wants of a volume. */
  act(which: CloudDisk): void {
    const { choices } = this.#world;
    const what = choices.pick('user', 9);
    if (what === 0) return;
    const rows = snapshotsOf(this.#world, which);
    const there = rows.filter(({ status }) => DELETABLE.includes(status));
    if (what === 8) this.backup(which);
    else if (there.length > 0 && (what >= 5 || rows.length >= MANY)) {
      this.remove(choices.of('user picks a snapshot', there).id);
    } else if (rows.length < MANY) void this.take(which);
  }

  take({ volume }: CloudDisk): Promise<Ended> {
    const world = this.#world;
    world.operations++;
    const id = world.clock.uuid() as SnapshotId;
    world.tell('user', `takes snapshot ${id} of ${volume}`);
    if (world.cloud.cinder.attachmentsOf(volume).length === 0) world.offline.add(id);
    return this.#ask(world.cloud.cinder.createSnapshot(volume, id));
  }

  backup({ volume }: CloudDisk): void {
    const world = this.#world;
    world.operations++;
    const id = world.clock.uuid() as SnapshotId;
    world.tell('user', `backs ${volume} up, by way of snapshot ${id}`);
    if (world.cloud.cinder.attachmentsOf(volume).length === 0) world.offline.add(id);
    void this.#ask(world.cloud.cinder.backup(volume, id));
  }

  remove(id: SnapshotId): void {
    const world = this.#world;
    world.operations++;
    world.tell('user', `deletes snapshot ${id}`);
    // Only an admin gets it out of there, and the progress stays what it was.
    const { cinder } = world.cloud;
    if (cinder.snapshots.get(id)?.status === 'error_deleting') cinder.resetState(id, 'error');
    void this.#ask(world.cloud.cinder.deleteSnapshot(id));
  }

  /** When the dust has settled somebody tries everything again, until all snapshots are gone. */
  async tidy(disk: CloudDisk, attempts = 4): Promise<void> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (this.#unknown.has(disk.volume) && detach(this.#world, disk)) {
        this.#world.saw('what cannot be told online is deleted offline');
      }
      const rows = snapshotsOf(this.#world, disk);
      const newestFirst = this.#world.choices.pick('tidied from the newest on', 2) === 1;
      for (const { id, status } of newestFirst ? [...rows].reverse() : rows) {
        if (DELETABLE.includes(status)) this.remove(id);
        else if (!this.#world.cloud.cinder.service.busy(disk.volume)) this.#force(id, status);
        await this.done();
      }
      attach(this.#world, disk);
      if (snapshotsOf(this.#world, disk).length === 0) return;
      await this.#world.clock.sleep(5_000);
    }
  }

  /** Nobody works on it, and nobody ever will. */
  #force(id: SnapshotId, status: string): void {
    this.#world.tell('admin', `force-deletes snapshot ${id}, left ${status}`);
    this.#world.saw(`a snapshot left ${status} is force-deleted`);
    void this.#ask(this.#world.cloud.cinder.forceDelete(id));
  }

  /** Stock Cinder probes a raw base, and believes what the guest wrote into it. */
  #probed(id: SnapshotId): void {
    const { cloud } = this.#world;
    const volume = cloud.cinder.snapshots.get(id)?.volume;
    if (cloud.cinder.formats !== null) return;
    this.#world.saw('Cinder, probing, refuses');
    if (volume !== undefined) this.#world.excuse(volume, 'Cinder uses the reported formats');
  }

  /** Who is told that it failed, though it may be under way, sometimes tries again at once. */
  #insist(id: SnapshotId): void {
    const { choices, swarm, cloud } = this.#world;
    if (swarm.quiet || choices.pick('user tries again at once', 3) !== 2) return;
    const row = cloud.cinder.snapshots.get(id);
    const disk = cloud.disks.find(({ volume }) => volume === row?.volume);
    if (row?.status === 'error_deleting') this.remove(id);
    else if (disk && snapshotsOf(this.#world, disk).length < MANY) void this.take(disk);
  }

  async #ask(asked: Promise<Ended>): Promise<Ended> {
    const told = asked.then(({ snapshot, status, problem }) => {
      if (problem?.includes('invalid backing file')) this.#probed(snapshot);
      const { volume } = this.#world.cloud.cinder.snapshots.get(snapshot) ?? {};
      if (problem?.includes('unknown-format') && volume) this.#unknown.add(volume);
      const why = problem === null ? '' : `: ${problem}`;
      this.#world.tell('cinder', `snapshot ${snapshot} is ${status}${why}`);
      if (problem !== null) this.#insist(snapshot);
      return { snapshot, status, problem };
    });
    this.#pending.add(told);
    void told.finally(() => this.#pending.delete(told));
    return told;
  }
}

const DELETABLE: readonly string[] = ['available', 'error', 'error_deleting'];

export const snapshotsOf = ({ cloud }: World, { volume }: CloudDisk): readonly SnapshotRow[] =>
  [...cloud.cinder.snapshots.values()].filter((row) => row.volume === volume);
