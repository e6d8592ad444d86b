import type { SimDisk } from '../disk.ts';
import type { BlockJob } from '../job.ts';
import type { Guests } from './guests.ts';
import type { SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

/** How long a create waits for a pull of another disk (docs/HAZARDS.md, F14). */
const CREATE_WAITS_MS = 10_000;
const DOWN_MS = 2_000;

/** Law 21: no job ends because the program begins something on another disk of the guest. */
export class PullLaws implements Watcher {
  readonly #world: World;
  /** Since when each job that was seen runs. */
  readonly #since = new WeakMap<BlockJob, number>();
  #call: SeenCall | null = null;

  constructor(world: World, guests: Guests) {
    this.#world = world;
    world.cloud.hypervisor.dies = (guest, begun, pulled) => {
      this.#died(begun, pulled);
      guests.end(guest, 'killed');
      void world.clock.sleep(DOWN_MS).then(() => guests.start(guest));
    };
  }

  reaching(call: SeenCall): void {
    if (call.port === 'libvirt') this.#call = call;
  }

  moment(): void {
    for (const { disk, guest } of this.#world.cloud.disks) {
      if (disk.job === null) continue;
      if (!this.#since.has(disk.job)) this.#since.set(disk.job, this.#world.clock.now());
      const others = guest.disks.filter((one) => one !== disk && one.job !== null);
      if (others.length > 0) this.#world.saw('two jobs on one guest');
    }
  }

  #died(begun: SimDisk, pulled: SimDisk): void {
    const { clock, unclearVolumes } = this.#world;
    const { job } = pulled;
    const since = (job && this.#since.get(job)) ?? clock.now();
    // By then a create waits no longer; and of what nobody answered nobody knows when it begins.
    const late = this.#call?.method === 'snapshot' && clock.now() - since >= CREATE_WAITS_MS;
    if (late || [begun, pulled].some(({ volume }) => unclearVolumes.has(volume))) {
      this.#world.saw('QEMU dies of what begins at the end of a pull');
      return;
    }
    const what = `${this.#call?.method} of ${begun.target}`;
    this.#world.break(21, `QEMU dies: ${what}, a pull of ${pulled.target} ends`, begun.volume);
  }
}
