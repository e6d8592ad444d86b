import type { SnapshotId } from '#domain/ids.ts';
import { OVER } from '#ports/clock.ts';
import type { Ended } from '../cinder-rows.ts';
import type { Guests } from '../world/guests.ts';
import type { DiskTruth } from '../world/truth.ts';
import type { World } from '../world/world.ts';

/** A wait of Cinder's is over by then, or it never is: 7200 s for a delete, and some. */
const LONGEST_WAIT_MS = 8_000_000;
const BETWEEN_MS = 3_000;
const ATTEMPTS = 6;

/** Tells a short tale of one volume: what its user, its guest and its operator do, one by one. */
export class Teller {
  #problem = '';
  readonly world: World;
  readonly guests: Guests;
  /** The snapshots by their names in the tale; of several attempts, the last. */
  readonly names = new Map<string, SnapshotId>();
  /** Attempts that Cinder called failed and the user made again. */
  readonly failed = new Set<SnapshotId>();
  /** Why something had to be asked for once more, each time. */
  readonly retries: string[] = [];
  /** Whether its user knows that the guest is down, and asks for nothing until it is back. */
  guestIsDown = false;
  /** Whether somebody gave up asking. */
  gaveUp = false;
  /** Told when what leads up to the tale is over. */
  began: () => void = () => {};

  constructor(world: World, guests: Guests) {
    this.world = world;
    this.guests = guests;
  }

  get truth(): DiskTruth {
    const [truth] = this.world.truths;
    if (truth === undefined) throw new Error('there is no volume');
    return truth;
  }

  get disk() {
    return this.truth.it;
  }

  /** All before this is only there to be built upon; from here on everything may die. */
  async begin(): Promise<void> {
    await this.atRest();
    this.began();
  }

  /** As an operator would: a snapshot that failed is deleted and taken again. */
  async take(name: string, attempts = ATTEMPTS): Promise<void> {
    const { cinder } = this.world.cloud;
    for (let attempt = 1; ; attempt++) {
      const id = this.world.clock.uuid() as SnapshotId;
      this.names.set(name, id);
      const ended = await this.#patiently(cinder.createSnapshot(this.disk.volume, id));
      if (ended === 'available') return;
      if (attempt >= attempts) break;
      this.retries.push(this.#problem);
      this.failed.add(id);
      await this.#patiently(cinder.deleteSnapshot(id));
      await this.#later();
    }
    if (attempts > 1) this.gaveUp = true;
  }

  async remove(name: string, attempts = ATTEMPTS): Promise<void> {
    const id = this.names.get(name);
    if (id === undefined) return;
    for (let attempt = 1; ; attempt++) {
      const { cinder } = this.world.cloud;
      // Of an error_deleting snapshot an admin has to take care: Cinder lets no user delete it.
      const { status } = cinder.snapshots.get(id) ?? {};
      if (status === 'error_deleting') cinder.resetState(id, 'error');
      const ended = await this.#patiently(cinder.deleteSnapshot(id));
      if (ended === 'deleted') return;
      if (attempt >= attempts) break;
      this.retries.push(this.#problem);
      await this.#later();
    }
    if (attempts > 1) this.gaveUp = true;
  }

  /** The guest writes, and its bytes are on disk when it goes on. */
  async write(at: number, byte: number): Promise<void> {
    await this.#running();
    this.truth.write(at, byte);
    this.truth.flush();
  }

  /** The guest writes and lets QEMU keep it in memory. */
  async scribble(at: number, byte: number): Promise<void> {
    await this.#running();
    this.truth.write(at, byte);
  }

  /** What is going on in the meantime. */
  async meanwhile(ms: number, does: () => Promise<void>): Promise<void> {
    await this.world.clock.sleep(ms);
    await does();
  }

  /** Until nothing is left to do or to say. */
  async atRest(): Promise<void> {
    const { clock, journal, doorway } = this.world;
    for (let second = 0; second < 600; second++) {
      const open = journal.all.some(({ accepted, saga }) => accepted && saga.at !== 'end');
      const unsaid = journal.told.some(({ state }) => state === 'pending');
      if (!open && !unsaid && doorway.asking === 0 && this.world.program !== null) return;
      await clock.sleep(1_000);
    }
  }

  /** Nobody asks again while the service or the guest is away. */
  async #later(): Promise<void> {
    do await this.world.clock.sleep(BETWEEN_MS);
    while (this.world.program === null || this.guestIsDown);
  }

  async #running(): Promise<void> {
    while (!this.truth.running) await this.world.clock.sleep(500);
  }

  async #patiently(asked: Promise<Ended>): Promise<string> {
    const { clock } = this.world;
    const patience = new AbortController();
    const tired = clock.sleep(LONGEST_WAIT_MS, patience.signal).then(() => null);
    const ended = await Promise.race([asked, tired]);
    patience.abort(OVER);
    this.#problem = ended === null ? 'never answered' : (ended.problem ?? '');
    if (this.guestIsDown) this.#problem += ' (the guest is down)';
    if (ended === null) return 'never answered';
    const why = ended.problem === null ? '' : `: ${ended.problem}`;
    this.world.tell('cinder', `snapshot ${ended.snapshot} is ${ended.status}${why}`);
    return ended.status;
  }
}
