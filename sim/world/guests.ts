import type { FileName, ServerId } from '#domain/ids.ts';
import type { StartFrom } from '../disk.ts';
import type { SimGuest } from '../guest.ts';
import { nodesFrom } from '../node.ts';
import type { Header } from '../share.ts';
import { allow, bootRefusal, goBack, isGuarded, isInDoubt } from './boot-guard.ts';
import { coldFiles, type DiskTruth, restarted, setBack } from './truth.ts';
import type { World } from './world.ts';

const STEPS = 60;
/** How soon somebody tries again whose guest the boot guard did not start. */
const ASK_AGAIN_MS = 1_000;
const PAUSES_MS = [100, 0, 30, 900, 4_000, 17_000, 60_000] as const;

/** What a guest writes into its raw disk to be taken for something else. */
const FORGERIES: readonly Partial<Header>[] = [
  {},
  { backing: '/etc/shadow', format: 'raw' },
  { backing: '/etc/shadow' },
  { features: 4 },
];

const WAYS = ['the top file', 'the top file', 'the configuration'] as const;

/** What guests do with their disks, and how their QEMU comes and goes. */
export class Guests {
  readonly #world: World;
  /** Told when QEMU was killed, and before a guest starts from what is on disk. */
  killed: (truth: DiskTruth) => void = () => {};
  starting: (truth: DiskTruth, from: StartFrom) => void = () => {};

  /** The file that was active when its QEMU last ended. */
  readonly #left = new Map<DiskTruth, FileName | undefined>();

  /** Those that the boot guard does not let start. */
  readonly kept = new Set<SimGuest>();

  /** An idle guest has nothing to flush, so that nobody but us makes anything durable. */
  readonly #neverFlushes: boolean;

  constructor(world: World) {
    this.#world = world;
    this.#neverFlushes = world.choices.pick('guest never flushes', 3) === 2;
    if (this.#neverFlushes) world.swarm.saw('guest never flushes');
  }

  async live(): Promise<void> {
    const { choices, clock } = this.#world;
    for (let step = 0; step < STEPS; step++) {
      await clock.sleep(choices.of('guest waits', PAUSES_MS));
      this.act();
    }
  }

  act(): void {
    const { choices, swarm, truths } = this.#world;
    const truth = choices.of('guest picks a disk', truths);
    const what = choices.pick('guest', 10);
    if (what === 0 || !truth.running || truth.it.guest.monitor.hangs) return;
    if (truth.it.guest.agent?.frozen || truth.it.guest.paused) return;
    const at = choices.pick('guest picks a cluster', truth.bytes.length);
    this.#world.operations++;
    if (what === 1 && truth.disk.top?.backing === null && swarm.strikes('guest forges a header')) {
      truth.forge(choices.of('forgery', FORGERIES));
      this.#world.saw('a guest writes a header into its raw disk');
    } else if (what <= 2) {
      if (!this.#neverFlushes) truth.flush();
    } else if (what <= 4) truth.writeZeroes(at);
    else truth.write(at, 1 + choices.pick('guest writes', 250));
    if (this.#world.recording) {
      const names = ['', 'forges', 'flushes', 'clears', 'clears'];
      const { target } = truth.disk;
      this.#world.tell('guest', `${names[what] ?? 'writes'} cluster ${at} of ${target}`);
    }
  }

  /** Its QEMU ends: told to, so that it writes what it holds, or killed. */
  end(guest: SimGuest, asked: 'stopped' | 'killed'): void {
    const world = this.#world;
    if (guest.process === null) return;
    // One that hangs does not hear a SIGTERM.
    const how = guest.monitor.hangs ? 'killed' : asked;
    world.tell('world', `guest ${guest.name} is ${how}`);
    const mine = world.truths.filter(({ it, attached }) => it.guest === guest && attached);
    for (const truth of mine) {
      const { job } = truth.disk;
      if (job !== null) world.saw(`QEMU ${how} while a ${job.kind} is ${job.phase}`);
      if (how === 'stopped') truth.durable();
    }
    for (const truth of mine) this.#left.set(truth, truth.disk.top?.file.name);
    world.cloud.hypervisor.end(guest.server, how);
    for (const truth of mine) this.killed(truth);
  }

  /** Starts it from what is on disk, which is from then on what it has. */
  start(guest: SimGuest): void {
    const world = this.#world;
    if (guest.process !== null) return;
    if (guest.transient && !this.#madeAnew(guest)) return;
    // From the headers of encrypted layers libvirt starts no guest.
    const sealed = guest.disks.some(({ keys }) => keys.size > 0);
    const ways = guest.transient ? WAYS.slice(0, 1) : sealed ? WAYS.slice(2) : WAYS;
    const from = world.choices.of('guest starts from', ways);
    const mine = world.truths.filter(({ it, attached }) => it.guest === guest && attached);
    this.kept.delete(guest);
    if (mine.some((truth) => this.#refused(truth))) {
      this.kept.add(guest);
      void world.clock.sleep(ASK_AGAIN_MS).then(() => this.start(guest));
      return;
    }
    for (const truth of mine) this.#backwards(truth, from);
    for (const truth of mine) {
      // Nova defines the secrets anew.
      truth.disk.hasSecret = true;
      this.starting(truth, from);
    }
    const copying = world.journal.all.some(({ saga }) => {
      return saga.at === 'offline' && mine.some(({ it }) => it.volume === saga.request.volume);
    });
    if (copying) world.saw('a guest starts while qemu-img is at work');
    const started = world.cloud.hypervisor.start(guest.server as ServerId, from);
    const how = started.ok ? 'ok' : started.error;
    world.tell('world', `guest ${guest.name} starts from ${from}: ${how}`);
    if (!started.ok) return;
    world.saw(`a guest starts from ${from}`);
    if (guest.transient) world.saw('a transient guest comes anew');
    for (const truth of mine) {
      truth.startedOn(truth.disk.view());
      this.#compare(truth);
    }
  }

  /**
   * A transient guest has no configuration: whoever makes it anew takes the files that Cinder
   * names, and waits until it has made up its mind.
   */
  #madeAnew(guest: SimGuest): boolean {
    const { truths, cloud, clock } = this.#world;
    const mine = truths.filter(({ it, attached }) => it.guest === guest && attached);
    if (mine.some(({ it }) => cloud.cinder.service.busy(it.volume))) {
      void clock.sleep(1_000).then(() => this.start(guest));
      return false;
    }
    for (const { it, disk } of mine) {
      const [attachment] = cloud.cinder.attachmentsOf(it.volume);
      const file = attachment?.name ?? null;
      const format = file && disk.share.file(file)?.format;
      if (!file || !format) continue;
      // It was on an overlay that Cinder has given up, and is so no more.
      const back = !coldFiles(disk.share, file).includes(disk.config.file);
      if (back && !isGuarded(this.#world, it)) this.#world.excuse(it.volume, 'boot guard');
      disk.configure(file, format);
    }
    return true;
  }

  /** Law 2: it is given a file below the one that it wrote to, which has not all of it. */
  #backwards(truth: DiskTruth, from: StartFrom): void {
    const { it, disk } = truth;
    const left = this.#left.get(truth);
    const { file } = disk.config;
    if (left === undefined || left === file) return;
    if (!coldFiles(disk.share, left).includes(file)) return;
    const view = restarted(disk, from);
    if (typeof view !== 'string' && truth.lost(view) === null) return;
    const words = `${disk.target} starts on ${file}, without what it wrote to ${left}`;
    const guard = isGuarded(this.#world, it) ? null : 'boot guard';
    this.#world.break(2, words, it.volume, guard);
  }

  /** The boot guard's answer, and what its operator does about it. */
  #refused(truth: DiskTruth): boolean {
    const world = this.#world;
    const { file } = truth.disk.config;
    const refusal = bootRefusal(world, truth, file);
    if (refusal === null) return false;
    world.saw(`the boot guard refuses a file that is ${refusal.kind}`);
    world.tell('libvirt', `does not start a guest on ${file}, which is ${refusal.kind}`);
    // Nobody has a guest that could be looked at, until Cinder has given up perhaps.
    if (truth.it.guest.transient) world.unclearVolumes.add(truth.it.volume);
    if (refusal.kind === 'held') {
      const open = world.journal.all.some(
        ({ saga }) => saga.at !== 'end' && saga.request.volume === truth.it.volume,
      );
      if (open) return true;
      if (!isInDoubt(world, truth)) {
        world.break(17, `${truth.disk.target} is held, and no merge is in doubt`, truth.it.volume);
      }
      // Nobody will see to it any more: a person sets the headers right, and lets it start.
      const view = restarted(truth.disk);
      if (typeof view === 'string' || truth.lost(view) !== null) this.repair(truth);
      world.saw('a guest let start by a person');
      world.tell('operator', `lets ${truth.disk.target} start`);
      allow(world, truth.it.volume);
      return false;
    }
    const back = goBack(world, refusal.active);
    world.tell('operator', `commits ${refusal.active}: ${back ? 'done' : 'not now'}`);
    return true;
  }

  /** A merge can have changed the header, and libvirt not have come to know of it. */
  #compare({ it, disk }: DiskTruth): void {
    const live = [...nodesFrom(disk.top)].map(({ file }) => file.name);
    if (live.join() === coldFiles(disk.share, disk.xml.file).join()) return;
    this.#world.saw('a guest starts from a configuration that the headers have left behind');
    if (!isGuarded(this.#world, it)) this.#world.excuse(it.volume, 'boot guard');
  }

  /**
   * What a person does who finds that a merge had not reached the disk: sets the headers back to
   * what they were before it. Answers whether the disk is whole again.
   */
  repair(truth: DiskTruth, whole = () => true): boolean {
    const { share } = truth.disk;
    const headers = new Map([...share.files].map(([name, { header }]) => [name, header]));
    for (const { headers: before } of [...truth.unproven].reverse()) {
      setBack(truth.disk, before);
      const view = restarted(truth.disk);
      if (typeof view !== 'string' && truth.lost(view) === null && whole()) return true;
    }
    setBack(truth.disk, headers);
    return false;
  }
}
