import type { ServerId } from '#domain/ids.ts';
import type { CloudDisk } from '../cloud.ts';
import { attach, cinderDies, detach, mendInfo } from './cinder-hands.ts';
import { HAPPENINGS, MISCHIEF } from './faults.ts';
import type { Guests } from './guests.ts';
import { posting, resetting, somebody } from './meddling.ts';
import { abort, settle } from './operators.ts';
import type { People } from './people.ts';
import { forgetSecrets } from './secrets.ts';
import type { Watcher } from './watcher.ts';
import type { World } from './world.ts';

const STEPS = 24;
const PAUSES_MS = [2_000, 100, 500, 8_000, 40_000, 120_000] as const;
type Happens = (world: World, guests: Guests, disk: CloudDisk, people: People) => void;

/** What machines, operators, admins and tenants do, beside what the program's calls meet. */
export async function happenings(world: World, guests: Guests, people: People): Promise<void> {
  const { choices, clock, swarm, cloud } = world;
  for (let step = 0; step < STEPS; step++) {
    await clock.sleep(choices.of('world waits', PAUSES_MS));
    for (const kind of HAPPENINGS) {
      if (!swarm.strikes(kind)) continue;
      const disk = choices.of('it happens to', cloud.disks);
      world.operations++;
      world.tell('world', kind);
      HAPPEN[kind](world, guests, disk, people);
    }
  }
}

/** What happens just while a block job runs, which a clock of its own would seldom hit. */
export class Mischief implements Watcher {
  readonly #world: World;
  readonly #guests: Guests;
  readonly #people: People;

  constructor(world: World, guests: Guests, people: People) {
    this.#world = world;
    this.#guests = guests;
    this.#people = people;
    world.hang = (server) => hang(world, guests, server);
  }

  moment(): void {
    const { cloud, swarm } = this.#world;
    if (swarm.quiet) return;
    for (const disk of cloud.disks) {
      if (disk.disk.job === null) continue;
      for (const kind of MISCHIEF) {
        if (disk.disk.job === null || !swarm.strikes(kind)) continue;
        this.#world.tell('world', kind);
        HAPPEN[kind](this.#world, this.#guests, disk, this.#people);
      }
    }
  }
}

/** Time for the service to look at guests that are down, and to make whole what they left. */
const LOOKED_WITHIN_MS = 100_000;

/** Puts an end to all that went wrong, so that what follows can only go well. */
export async function heal(world: World, guests: Guests): Promise<void> {
  const { swarm, cloud } = world;
  swarm.quiet = true;
  world.libvirtAway = false;
  cloud.hypervisor.deaf = false;
  cloud.volumes.away = false;
  cloud.share.space = Number.POSITIVE_INFINITY;
  for (const file of cloud.share.files.values()) {
    if (file.access !== 'folder') file.access = 'free';
  }
  for (const { guest, volume, disk } of cloud.disks) {
    cloud.hypervisor.goOn(guest.server);
    guest.resume();
    disk.hasSecret = true;
    if (disk.job === null || !world.foreignJobs.has(disk.job)) continue;
    cloud.hypervisor.cancel({ server: guest.server, volume });
  }
  // A create loop that spins is ended by whoever sees the load.
  if (cloud.cinder.service.hung.length > 0) cloud.cinder.service.kill();
  cloud.cinder.service.start();
  for (const { volume } of cloud.disks) mendInfo(world, volume);
  cloud.hypervisor.tell({ kind: 'reconnected' });
  world.bringUp();
  const down = cloud.hypervisor.guests.filter(({ process }) => process === null);
  if (down.length === 0) return;
  await world.clock.sleep(LOOKED_WITHIN_MS);
  for (const guest of down) guests.start(guest);
}

type Kind = (typeof HAPPENINGS)[number] | (typeof MISCHIEF)[number];

const HAPPEN: Readonly<Record<Kind, Happens>> = {
  'QEMU killed in a job': (world, guests, disk, people) =>
    HAPPEN['QEMU killed'](world, guests, disk, people),
  'guest shut down in a job': (world, guests, disk, people) =>
    HAPPEN['guest shut down'](world, guests, disk, people),
  'job cancelled in the middle': (world, guests, disk, people) =>
    HAPPEN['job cancelled by hand'](world, guests, disk, people),
  'disk full in a job': (world, guests, disk, people) =>
    HAPPEN['disk full'](world, guests, disk, people),
  'the service killed in a job': (world) => world.life.end(),
  'guest writes in a job': (_world, guests) => guests.act(),
  'cinder-volume killed in a job': (world) => cinderDies(world),
  'admin force-deletes in a job': (world, guests, disk, people) =>
    HAPPEN['admin force-deletes'](world, guests, disk, people),
  'cinder-volume killed': (world) => cinderDies(world),
  'cinder-volume away for long': (world) => cinderDies(world, 900_000),
  'admin force-deletes': (world, _guests, { volume }) => {
    const { cinder } = world.cloud;
    const row = somebody(world, cinder, volume);
    if (row === null) return;
    world.saw(`an admin force-deletes what is ${row.status}`);
    void cinder.forceDelete(row.id).then(({ snapshot, status, problem }) => {
      world.tell('cinder', `snapshot ${snapshot} is ${status}${problem ? `: ${problem}` : ''}`);
    });
  },
  'volume detached': (world, _guests, disk, people) => {
    if (!detach(world, disk)) return;
    for (let left = world.choices.pick('offline requests', 5); left > 0; left--) people.act(disk);
    const back = () => {
      if (!attach(world, disk)) afterAWhile(world, 'volume detached for', back);
    };
    afterAWhile(world, 'volume detached for', back);
  },
  'QEMU killed': (world, guests, { guest }) => {
    guests.end(guest, 'killed');
    afterAWhile(world, 'guest down for', () => guests.start(guest));
  },
  'guest shut down': (world, guests, { guest }) => {
    guests.end(guest, 'stopped');
    afterAWhile(world, 'guest down for', () => guests.start(guest));
  },
  'guest shut down and asked of': (world, guests, disk, people) => {
    guests.end(disk.guest, 'stopped');
    const asks = (left: number): void => {
      people.act(disk);
      if (left > 0) afterAWhile(world, 'user of a stopped guest waits', () => asks(left - 1));
      else afterAWhile(world, 'guest down for', () => guests.start(disk.guest));
    };
    asks(2 + world.choices.pick('requests of a stopped guest', 5));
  },
  'guest restarted': (_world, guests, { guest }) => {
    guests.end(guest, 'stopped');
    guests.start(guest);
  },
  'guest paused': (world, _guests, { guest }) => {
    // An agent that is not heard for so long is another story.
    if (guest.process === null || guest.paused || guest.agent !== null) return;
    guest.suspend();
    afterAWhile(world, 'guest paused for', () => guest.resume());
  },
  'guest paused in a job': (world, guests, disk, people) =>
    HAPPEN['guest paused'](world, guests, disk, people),
  'QEMU hangs': (world, guests, { guest }) => hang(world, guests, guest.server),
  'libvirtd away': (world) => {
    const { hypervisor } = world.cloud;
    world.libvirtAway = true;
    hypervisor.deaf = true;
    forgetSecrets(world);
    afterAWhile(world, 'libvirtd away for', () => {
      world.libvirtAway = false;
      hypervisor.deaf = false;
      hypervisor.tell({ kind: 'reconnected' });
    });
  },
  'Cinder away': (world) => {
    world.cloud.volumes.away = true;
    afterAWhile(world, 'Cinder away for', () => {
      world.cloud.volumes.away = false;
    });
  },
  'the service killed': (world) => world.life.end(),
  'the service stopped in good order': (world) => void world.stopInGoodOrder(),
  'the service away for long': (world) => {
    world.downMs = 900_000;
    world.life.end();
  },
  'job cancelled by hand': (world, _guests, { guest, volume, disk }) => {
    // Once QEMU has rewritten the header the job can only be waited for.
    if (disk.job?.phase !== 'copying') return;
    world.saw(`a ${disk.job.kind} cancelled by hand`);
    world.cloud.hypervisor.cancel({ server: guest.server, volume });
  },
  'job of somebody else': (world, _guests, { guest, volume, disk }) => {
    if (disk.job !== null || disk.top === null) return;
    const where = { server: guest.server, volume };
    const kind = world.choices.of('their job', ['copy', 'commit', 'pull', 'active-commit']);
    world.cloud.hypervisor.startForeignJob(where, kind);
    const theirs = disk.job;
    if (theirs !== null) world.foreignJobs.add(theirs);
    afterAWhile(world, 'their job takes', () => {
      if (disk.job === theirs) world.cloud.hypervisor.cancel(where);
    });
  },
  'disk full': (world) => {
    const { share } = world.cloud;
    share.space = world.choices.pick('clusters left', 4);
    afterAWhile(world, 'disk full for', () => {
      share.space = Number.POSITIVE_INFINITY;
    });
  },
  'clock jumps ahead': (world) => {
    world.skewMs += world.choices.of('jumps by', [60_000, 3_600_000, 31_536_000_000]);
  },
  'clock jumps back': (world) => {
    world.skewMs -= world.choices.of('jumps by', [60_000, 3_600_000, 31_536_000_000]);
  },
  'tenant says 90%': posting((row) => ({ status: row.status, progress: '90%' })),
  'tenant says error': posting((row) => ({
    status: row.status === 'creating' ? 'error' : 'error_deleting',
  })),
  'tenant says progress': posting((row) => ({ status: row.status, progress: '42%' })),
  'tenant says available': posting(() => ({ status: 'available' })),
  'admin resets to available': resetting('available'),
  'admin resets to error': resetting('error'),
  'admin resets to error_deleting': resetting('error_deleting'),
  'request for a snapshot nobody knows': (world, _guests, { volume, disk }) => {
    const request = { volume, snapshot: world.clock.uuid(), newFile: `${disk.xml.file}.x` };
    void world.doorway.again({ kind: 'create', ...request, requestId: '', at: 0 } as never);
  },
  'request with other arguments': (world, _guests, { disk }) => {
    const found = world.doorway.past.at(-1)?.asked;
    if (found === undefined) return;
    const other = world.choices.pick('other arguments', 2);
    const changed =
      found.kind === 'create'
        ? { ...found, newFile: disk.xml.file }
        : other === 0
          ? { ...found, fileToMerge: null, mergeTarget: null }
          : { ...found, fileToMerge: found.mergeTarget, mergeTarget: null };
    void world.doorway.again(changed);
  },
  'request of long ago': (world) => {
    const { choices } = world;
    const { past } = world.doorway;
    const found = past[choices.pick('request of long ago is', Math.max(1, past.length))];
    if (found !== undefined) void world.doorway.again(found.asked);
  },
  'operator aborts': (world, _guests, { volume }) => abort(world, volume),
  'operator settles': (world, _guests, { volume }) => void settle(world, volume),
};

/** On storage that does not answer, say; some lose patience with it. */
function hang(world: World, guests: Guests, server: ServerId): void {
  const { hypervisor } = world.cloud;
  const guest = hypervisor.guests.find((one) => one.server === server);
  if (guest === undefined || guest.process === null || guest.monitor.hangs) return;
  const { process } = guest;
  hypervisor.hang(server);
  const how = world.choices.of('a hang ends', ['goes on', 'goes on', 'killed']);
  // Nova asks for statistics all the time, and may be the one who gets stuck.
  if (world.choices.pick('Nova is stuck first', 2) === 1) {
    void guest.monitor.reach('BlockStats', world.clock);
  }
  const ms = world.choices.of('QEMU hangs for', [40_000, 700, 9_000, 150_000]);
  void world.clock.sleep(ms).then(() => {
    if (guest.process !== process || world.swarm.quiet) return;
    if (how === 'goes on') return hypervisor.goOn(server);
    guests.end(guest, how);
    guests.start(guest);
  });
}

function afterAWhile(world: World, where: string, then: () => void): void {
  const ms = world.pause(where);
  void world.clock.sleep(ms).then(() => {
    if (!world.swarm.quiet) then();
  });
}
