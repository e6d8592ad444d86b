import type { SeenLayer } from '#domain/chain.ts';
import type { Fault } from '#domain/failure.ts';
import {
  type OperationId,
  QCOW2,
  RAW,
  type ServerId,
  type SnapshotId,
  type VolumeId,
} from '#domain/ids.ts';
import type { KnownChain } from '#domain/known-chain.ts';
import type { Quiesce } from '#domain/quiesce.ts';
import type { Saga } from '#domain/saga.ts';
import { SimClock } from '../clock.ts';
import { SimCloud, type VolumeKind } from '../cloud.ts';
import type { SimImages } from '../images.ts';
import type { BlockJob } from '../job.ts';
import { SimJournal } from '../journal.ts';
import { giveAgents } from './agents.ts';
import type { Choices } from './choices.ts';
import { cinderSteps } from './cinder-hands.ts';
import { Doorway } from './doorway.ts';
import { clockOf, heard, Process } from './ears.ts';
import { Swarm } from './faults.ts';
import type { MissingGuard } from './laws.ts';
import { imagesOn, type Ports, type Program, program } from './program.ts';
import { DiskTruth } from './truth.ts';
import type { Broken, SeenCall, Watcher } from './watcher.ts';

export interface WorldOptions {
  readonly choices: Choices;
  /** Keeps every line of the story; else only its digest. */
  readonly recording?: boolean;
  /** What the program gets instead of its ports. */
  readonly bind?: (ports: Ports) => Ports;
}

const SEALED: readonly VolumeKind[] = [
  { format: QCOW2, luks: true },
  { format: RAW, luks: true },
];

/** By the number drawn: volumes that are encrypted, on a network, or refused whatever is asked. */
const ODD_VOLUMES: Readonly<Record<number, readonly VolumeKind[]>> = {
  8: SEALED,
  10: SEALED,
  11: [{ format: RAW, protocol: 'nbd' }],
  12: [{ format: QCOW2, luks: true, cipher: 'qcow' }],
  13: [{ format: QCOW2, luks: true }],
  14: [{ format: RAW, luks: true }],
  15: [{ format: QCOW2, protocol: 'gluster' }],
};

/** States in which a process may have asked and died before the answer. */
const ASKING: readonly string[] = ['switching', 'merging', 'committing', 'pivoting', 'canceling'];
const isCopying = (saga: Saga) => saga.at === 'offline' && saga.doing === 'copy';

const PAUSES_MS = [10, 120, 700, 2_500, 9_000, 31_000, 150_000] as const;

/**
 * A whole cloud and the program in it, in which the choices decide everything: what users, guests
 * and operators do, what breaks, and when. Nothing here knows what the program should do; that is
 * for the watchers.
 */
export class World {
  readonly choices: Choices;
  readonly swarm: Swarm;
  readonly clock: SimClock;
  readonly cloud: SimCloud;
  readonly journal: SimJournal;
  readonly images: SimImages;
  readonly truths: readonly DiskTruth[];
  readonly watchers: Watcher[] = [];
  readonly recording: boolean;
  readonly lines: string[] = [];
  readonly broken: Broken[] = [];
  readonly defects: unknown[] = [];
  /** What this history had in it, for the laws that must not hold only because nothing happened. */
  readonly sometimes = new Map<string, number>();
  /** By volume: guards that are not there, without which it cannot end well. */
  readonly excuses = new Map<VolumeId, Set<MissingGuard>>();
  /** Volumes of which a change got no clear answer. */
  readonly unclearVolumes = new Set<VolumeId>();
  /** Snapshots whose status somebody else changed. */
  readonly meddled = new Set<SnapshotId>();
  /** When each operation that nobody can tell the outcome of was parked. */
  readonly parked = new Map<OperationId, number>();
  /** Volumes of which Cinder, misled by somebody else, has removed a file in use. */
  readonly lost = new Set<VolumeId>();
  readonly foreignJobs = new Set<BlockJob>();
  /** Snapshots that were asked for while nobody had the volume attached. */
  readonly offline = new Set<SnapshotId>();
  readonly doorway: Doorway;
  /** Whether libvirt asks the boot guard before it starts a guest. */
  readonly guarded: boolean;
  /** What was known when an operator said that the guest may start all the same. */
  readonly allowed = new Map<VolumeId, KnownChain>();
  /** As the operator has set it. */
  readonly quiesce: Quiesce;
  operations = 0;
  digest = 0x811c9dc5;
  /** No effect that was put off comes after this. */
  lateUntil = 0;
  /** How far the program's wall clock is off. */
  skewMs = 0;
  libvirtAway = false;
  downMs: number | null = null;
  life = new Process(false);
  /** A guest's QEMU answers nobody, for a while. */
  hang: (server: ServerId) => void = () => {};
  program: Program | null = null;
  readonly #bind: (ports: Ports) => Ports;
  #over = false;
  #up = new AbortController();

  constructor({ choices, recording = false, bind = (ports) => ports }: WorldOptions) {
    this.choices = choices;
    this.guarded = choices.pick('boot guard', 4) !== 0;
    this.recording = recording;
    this.#bind = bind;
    this.swarm = new Swarm(choices);
    this.clock = new SimClock({ seed: choices.seed });
    const { clock } = this;
    // Of 11 the last but one is 90% of the way, which no live progress may say.
    const clusters = choices.of('clusters', [4, 5, 6, 7, 8, 11]);
    const clustersPerTick = 1 + choices.pick('clusters per tick', 3);
    const tickMs = choices.of('tick of a job', [100, 20, 700, 5_000]);
    const knows = choices.of('Cinder knows', ['stock', 'stock', 'spec', 'format', 'status']);
    const oldLibvirt = choices.pick('old libvirt', 6) === 5;
    const baseFormat = choices.of('base', [RAW, RAW, QCOW2]);
    const luks = choices.pick('volume is encrypted', 24) === 23;
    const pace = { luks, clusters, clustersPerTick, tickMs };
    this.cloud = new SimCloud({ clock, knows, oldLibvirt, baseFormat, ...pace });
    if (choices.pick('second guest', 2) === 1) {
      const more = ODD_VOLUMES[choices.pick('odd volume', 16)] ?? [];
      const sealed = more.filter(({ luks }) => luks);
      const others = more.filter(({ luks }) => !luks);
      const guest = this.cloud.addGuest([RAW, QCOW2, ...others], clusters);
      guest.transient = choices.pick('transient guest', 4) === 3;
      // Apart: whoever makes a transient guest anew names no keys but that of the topmost file.
      if (sealed.length > 0) this.cloud.addGuest(sealed, clusters);
    }
    this.quiesce = giveAgents(this);
    // A newer libvirt on an older QEMU.
    if (choices.pick('raw layers have no driver', 24) === 23) {
      for (const { disk } of this.cloud.disks) disk.dropRawDriver();
    }
    this.journal = new SimJournal(clock);
    this.images = imagesOn(this.cloud.share);
    this.doorway = new Doorway(this);
    cinderSteps(this);
    this.truths = this.cloud.disks.map((it) => new DiskTruth(it));
    clock.watch = () => {
      for (const watcher of this.watchers) watcher.moment?.();
    };
  }

  /** Starts the service, and starts it again whenever it has ended. */
  async boot(recovering = false): Promise<void> {
    const life = new Process(recovering);
    this.life = life;
    this.program = null;
    const ended = new Promise<void>((resolve) => life.atEnd(resolve));
    life.atEnd(() => {
      this.cloud.serve(null);
      this.program = null;
      for (const watcher of this.watchers) watcher.ended?.();
      // Whatever it was asking for when it died may still come.
      for (const { saga } of this.journal.all) {
        const asking = ASKING.includes(saga.at) || isCopying(saga);
        if (asking) this.unclearVolumes.add(saga.request.volume);
      }
      if (!this.#over) void this.#reboot();
    });
    this.journal.reopen();
    const { cloud } = this;
    const ports = {
      hypervisor: heard(this, life, 'libvirt', cloud.hypervisor),
      volumes: heard(this, life, 'cinder', cloud.volumes),
      images: heard(this, life, 'images', this.images),
      journal: heard(this, life, 'journal', this.journal),
      clock: clockOf(this, life),
      telemetry: { log: (_: string, text: string) => this.tell('log', text) },
    };
    const made = program(this.#bind(ports), this.quiesce, (defect) => {
      this.defects.push(defect);
      this.tell('world', `the service contradicts itself: ${defect}`);
      life.end();
    });
    await Promise.race([made.resume(), ended]);
    if (life.over) return;
    this.program = made;
    cloud.serve(this.doorway.open(life, made.service));
  }

  /** SIGTERM: it finishes what is in flight, and is started again. */
  async stopInGoodOrder(): Promise<void> {
    const { life, program } = this;
    if (program === null || life.over) return;
    this.cloud.serve(null);
    this.program = null;
    await program.stop();
    life.end();
  }

  /** Whoever keeps it down lets it go. */
  bringUp(): void {
    this.#up.abort();
    this.#up = new AbortController();
  }

  /** It is never started again. */
  close(): void {
    this.#over = true;
    this.life.end();
  }

  /** Why a port cannot be reached at all just now, or null. */
  away(port: SeenCall['port']): Fault | null {
    if (port === 'libvirt' && this.libvirtAway) {
      return { kind: 'unreachable', who: 'libvirt', detail: 'Failed to connect socket' };
    }
    return null;
  }

  /** Whether a call would get stuck in a QEMU that hangs. */
  hangs({ port, method, args }: SeenCall): boolean {
    if (port !== 'libvirt' || method === 'thaw') return false;
    const [order] = args as [{ server?: ServerId } | undefined];
    const guest = this.cloud.hypervisor.guests.find((one) => one.server === order?.server);
    return guest?.monitor.hangs === true;
  }

  /** How long something takes. */
  pause(where: string): number {
    return this.choices.of(where, PAUSES_MS);
  }

  /** It happens, but later than anyone knows. */
  later(ms: number, does: () => unknown): void {
    this.lateUntil = Math.max(this.lateUntil, this.clock.now() + ms);
    void this.clock.sleep(ms).then(does);
  }

  /** Nobody can say whether this call had its effect. */
  unclear({ args }: SeenCall): void {
    const [order] = args as [{ volume?: VolumeId; chain?: SeenLayer } | undefined];
    const volume = order?.volume ?? this.volumeOf(order?.chain?.file ?? '');
    if (volume !== undefined) this.unclearVolumes.add(volume);
  }

  /** Whose file it is, by its name. */
  volumeOf(file: string): VolumeId | undefined {
    return this.cloud.disks.find(({ volume }) => file.includes(volume))?.volume;
  }

  excuse(volume: VolumeId, guard: MissingGuard): void {
    const known = this.excuses.get(volume);
    if (known === undefined) this.excuses.set(volume, new Set([guard]));
    else known.add(guard);
  }

  saw(what: string): void {
    this.sometimes.set(what, (this.sometimes.get(what) ?? 0) + 1);
  }

  /** A law is broken. */
  break(law: number, words: string, volume: VolumeId | null, guard: MissingGuard | null = null) {
    if (volume !== null && this.lost.has(volume)) return;
    this.tell('LAW', `${law} is broken: ${words}`);
    this.broken.push({ law, words, volume, guard, at: this.clock.now() });
  }

  /** One line of the story. */
  tell(who: string, words: string): void {
    const line = `${this.clock.now()} ${who} ${words}`;
    let { digest } = this;
    for (let at = 0; at < line.length; at++) {
      digest = Math.imul(digest ^ line.charCodeAt(at), 0x01000193);
    }
    this.digest = digest >>> 0;
    if (this.recording) this.lines.push(line);
  }

  async #reboot(): Promise<void> {
    const downMs = this.downMs ?? this.choices.of('down for', [1_500, 300, 12_000, 70_000]);
    this.downMs = null;
    await this.clock.sleep(this.swarm.quiet ? 1_500 : downMs, this.#up.signal);
    if (!this.#over) await this.boot(true);
  }
}
