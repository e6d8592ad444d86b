import type { Clock } from '#ports/clock.ts';
import type { DriverWorld } from './cinder-driver.ts';
import type { SnapshotRow } from './cinder-rows.ts';

const CREATE_TIMEOUT_S = 600;
const DELETE_TIMEOUT_S = 7200;

/** The end of _create_snapshot_online: looks first, sleeps then, and counts what it has slept. */
export async function awaitCreated(world: DriverWorld, row: SnapshotRow): Promise<string | null> {
  const { clock, life, cinder, hung } = world;
  const wait = new Wait(clock);
  for (;;) {
    const { status, progress } = row;
    if (status === 'creating_compute_complete') return null;
    if (status === 'creating' && progress === '90%') return null;
    if (status === 'error') return 'Nova returned "error" status while creating snapshot.';
    if (status === 'deleting' || status === 'error_deleting') {
      return `Snapshot ${row.id} has been asked to be deleted while waiting.`;
    }
    if (status !== 'creating') {
      // No branch is for any other status: it spins, without sleep and without count.
      hung.push(row.id);
      await life.see(cinder.changed(row.id));
      hung.splice(hung.indexOf(row.id), 1);
      continue;
    }
    await life.see(wait.next());
    if (wait.seconds > CREATE_TIMEOUT_S) return 'Timed out while waiting for Nova update';
  }
}

/** The end of _nova_assisted_vol_snap_delete. */
export async function awaitDeleted(world: DriverWorld, row: SnapshotRow): Promise<string | null> {
  const wait = new Wait(world.clock);
  for (;;) {
    const { status, progress } = row;
    if (status === 'deleting_compute_complete') return null;
    if (status === 'deleting' && progress === '90%') return null;
    if (status !== 'deleting') return `Unable to delete snapshot ${row.id}, status: ${status}.`;
    await world.life.see(wait.next());
    if (wait.seconds > DELETE_TIMEOUT_S) return 'Timed out while waiting for Nova update';
  }
}

/** Sleeps 1 s up to 10 s, 2 s up to 20, 5 s up to 60, then 10 s. */
class Wait {
  readonly #clock: Clock;
  #step = 1;
  seconds = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async next(): Promise<void> {
    await this.#clock.sleep(this.#step * 1000);
    this.seconds += this.#step;
    if (this.seconds > 60) this.#step = 10;
    else if (this.seconds > 20) this.#step = 5;
    else if (this.seconds > 10) this.#step = 2;
  }
}
