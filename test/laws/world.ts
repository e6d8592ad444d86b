/** One story on the sim, told through a service that can die at any call and come back. */

import type { Runner } from '#app/runner.ts';
import { filesOf } from '#domain/chain.ts';
import type { FileName, SnapshotId } from '#domain/ids.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { err } from '#domain/result.ts';
import type {
  Answer,
  AssistedCreate,
  AssistedSnapshots,
  Caller,
} from '#ports/assisted-snapshots.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud } from '#sim/cloud.ts';
import { type Call, type Fate, faulty, Life } from '#sim/faulty.ts';
import { SimImages } from '#sim/images.ts';
import { SimJournal } from '#sim/journal.ts';
import { program } from '#sim/world/program.ts';

export interface WorldOptions {
  /** The lives of the service in turn; after the last one it lives on. */
  readonly lives?: readonly Life[];
  /** What becomes of each call of a port of the first life. */
  readonly fate?: (port: string, call: Call) => Fate;
  readonly seed?: number;
  /** The guest has written a qcow2 header into its raw volume, and Cinder believes it. */
  readonly attack?: boolean;
}

const DOWN_MS = 1500;

export class World {
  readonly clock: SimClock;
  readonly cloud: SimCloud;
  readonly journal: SimJournal;
  readonly log: string[] = [];
  readonly #lives: Life[];
  readonly #fate: WorldOptions['fate'];
  readonly defects: unknown[] = [];
  #service: AssistedSnapshots | null = null;
  deaths = 0;
  runner: Runner | null = null;

  constructor({ lives = [], fate, seed = 7, attack = false }: WorldOptions = {}) {
    this.clock = new SimClock({ seed });
    this.cloud = new SimCloud({ clock: this.clock, clusters: 6 });
    this.journal = new SimJournal(this.clock);
    this.#lives = [...lives];
    this.#fate = fate;
    // Without a backing file: Cinder itself refuses a header that names a foreign one.
    if (attack) this.cloud.disk.forge({});
  }

  /** Starts the service, and again whenever it has died. */
  async boot(): Promise<void> {
    const life = this.#lives.shift() ?? new Life();
    this.journal.reopen();
    const { clock } = this;
    const port = <T extends object>(name: string, it: T): T => {
      const fate = this.#fate;
      const flawed = fate === undefined ? it : faulty(it, (call) => fate(name, call));
      return life.holds(name, flawed, (method) => method !== 'listen');
    };
    const hypervisor = port('libvirt', this.cloud.hypervisor);
    const volumes = port('cinder', this.cloud.volumes);
    const images = port('images', new SimImages(this.cloud.share, parseHeader));
    const journal = life.holds('journal', this.journal);
    const ports = { hypervisor, volumes, images, journal };
    const time = life.holds('clock', clock, () => false);
    const telemetry = { log: (_: string, text: string) => void this.log.push(text) };
    const die = (defect: unknown) => {
      this.defects.push(defect);
      life.end();
    };
    const made = program({ ...ports, clock: time, telemetry }, 'never', die);
    const { service, runner, resume } = made;
    this.#service = whileAlive(life, service);
    this.cloud.serve(this.#service);
    this.runner = runner;
    void life.ended.then(() => this.#reboot());
    // A death on the way up is a death like any other: nobody waits for it here.
    await Promise.race([resume(), life.ended]);
  }

  async #reboot(): Promise<void> {
    this.deaths++;
    this.cloud.serve(null);
    await this.clock.sleep(DOWN_MS);
    await this.boot();
  }

  /** A request from nowhere, as a client repeats it that has heard nothing. */
  async again(request: AssistedCreate, caller: Caller): Promise<Answer | null> {
    return (await this.#service?.create(request, caller)) ?? null;
  }

  /** As an operator would: a snapshot that failed is deleted and taken again. */
  async take(): Promise<SnapshotId> {
    for (let attempt = 0; attempt < 8; attempt++) {
      const ended = await this.cloud.cinder.createSnapshot(this.cloud.volume);
      if (ended.status === 'available') return ended.snapshot;
      this.log.push(`create failed: ${ended.problem}`);
      await this.cloud.cinder.deleteSnapshot(ended.snapshot);
      await this.clock.sleep(3000);
    }
    throw new Error(`no snapshot could be taken:\n${this.log.join('\n')}`);
  }

  async remove(id: SnapshotId): Promise<void> {
    for (let attempt = 0; attempt < 8; attempt++) {
      const ended = await this.cloud.cinder.deleteSnapshot(id);
      if (ended.status === 'deleted') return;
      this.log.push(`delete failed: ${ended.problem}`);
      this.cloud.cinder.resetState(id, 'error');
      await this.clock.sleep(3000);
    }
    throw new Error(`snapshot ${id} could not be deleted:\n${this.log.join('\n')}`);
  }

  /** Every file that the volume is made of: as QEMU has it, by the headers, by Cinder's .info. */
  witnesses(): { live: readonly FileName[]; headers: readonly FileName[]; cinder: FileName } {
    const { disk, share, cinder, volume } = this.cloud;
    const live = filesOf(disk.chain());
    const headers: FileName[] = [];
    for (let at = live[0] ?? null; at !== null; ) {
      headers.push(at);
      at = (share.file(at)?.header?.backing ?? null) as FileName | null;
    }
    const base = `volume-${volume}` as FileName;
    return { live, headers, cinder: cinder.info(volume)?.active ?? base };
  }

  /** Runs the service and `story` to its end, and until everything has come to rest. */
  async tell<T>(story: (world: World) => Promise<T>): Promise<T> {
    await this.clock.until(this.boot());
    const end = this.clock.until(story(this));
    const result = await end;
    await this.clock.advance(120_000);
    return result;
  }
}

/** Whoever was being answered when the process died sees the connection break. */
function whileAlive(life: Life, service: AssistedSnapshots): AssistedSnapshots {
  const broken = (): Answer =>
    err({ kind: 'fault', fault: { kind: 'unknown', who: 'Cinder', detail: 'connection reset' } });
  const guarded = (answer: Promise<Answer>) =>
    Promise.race([answer, life.ended.then(broken)]).then((it) => (life.over ? broken() : it));
  return {
    create: (request, caller) => guarded(service.create(request, caller)),
    delete: (request, caller) => guarded(service.delete(request, caller)),
  };
}
