import { Aftercare } from '#app/aftercare.ts';
import { Operator } from '#app/operate.ts';
import type { RunnerWorld } from '#app/runner.ts';
import { Runner } from '#app/runner.ts';
import { Sender } from '#app/sender.ts';
import { Service } from '#app/service.ts';
import { type FileName, type QCOW2, RAW, type SnapshotId, type VolumeId } from '#domain/ids.ts';
import { parseHeader } from '#domain/qcow2.ts';
import type { Answer, Caller } from '#ports/assisted-snapshots.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud, type SimCloudOptions } from '#sim/cloud.ts';
import type { SimDisk } from '#sim/disk.ts';
import { Life, wrapped } from '#sim/faulty.ts';
import { SimImages } from '#sim/images.ts';
import { SimJournal } from '#sim/journal.ts';
import { nodesFrom } from '#sim/node.ts';

export type PortName = 'libvirt' | 'cinder' | 'images' | 'journal';

/** A call of a port on its way: let it through, answer instead of it, or never answer. */
export type Between = (
  port: PortName,
  method: string,
  call: () => unknown,
  args: readonly unknown[],
) => unknown;

export interface DeskOptions extends Partial<Omit<SimCloudOptions, 'clock'>> {
  readonly maxChainDepth?: number;
  /** Whether somebody looks after creates once they are over. */
  readonly aftercare?: boolean;
}

export const CALLER: Caller = { requestId: 'req-1', globalRequestId: null };
export const NEVER: Promise<never> = new Promise(() => {});

interface Parts {
  readonly runner: Runner;
  readonly sender: Sender;
  readonly service: Service;
  readonly operator: Operator;
  readonly aftercare: Aftercare | null;
}

function missing(): never {
  throw new Error('this desk has none');
}

/**
 * The service as it is, over a simulated cloud and in virtual time, and every seam within reach:
 * `between` sees each call of a port, `boot` ends the process and starts another one on the same
 * journal.
 */
export class Desk {
  readonly clock = new SimClock({ seed: 11 });
  readonly journal = new SimJournal(this.clock);
  readonly cloud: SimCloud;
  readonly images: SimImages;
  readonly defects: unknown[] = [];
  readonly log: string[] = [];
  /** The same lines with their levels and what they are about. */
  readonly lines: Parameters<Telemetry['log']>[] = [];
  /** What is thrown and is no mistake of ours. */
  isDefect: RunnerWorld['isDefect'] = () => true;
  between: Between = (_port, _method, call) => call();
  readonly #maxChainDepth: number;
  #life = new Life();
  readonly #cares: boolean;
  #parts: Parts | null = null;

  constructor({ maxChainDepth = 64, aftercare = false, ...cloud }: DeskOptions = {}) {
    this.#maxChainDepth = maxChainDepth;
    this.#cares = aftercare;
    this.cloud = new SimCloud({ clock: this.clock, clusters: 4, ...cloud });
    this.images = new SimImages(this.cloud.share, parseHeader);
    this.build();
  }

  get runner(): Runner {
    return this.#built.runner;
  }

  get sender(): Sender {
    return this.#built.sender;
  }

  get operator(): Operator {
    return this.#built.operator;
  }

  get service(): Service {
    return this.#built.service;
  }

  get aftercare(): Aftercare {
    return this.#built.aftercare ?? missing();
  }

  /** Another process: whatever the one before had not yet done, it never does. */
  build(): void {
    this.#life.end();
    const life = new Life();
    this.#life = life;
    this.journal.reopen();
    const hold = <T extends object>(name: PortName, port: T): T => {
      const seam = wrapped(port, (method, args, call) =>
        method === 'listen' ? call(args) : this.between(name, method, () => call(args), args),
      );
      return life.holds(name, seam);
    };
    const ports = {
      hypervisor: hold('libvirt', this.cloud.hypervisor),
      volumes: hold('cinder', this.cloud.volumes),
      images: hold('images', this.images),
      journal: hold('journal', this.journal),
    };
    const clock = life.holds('clock', this.clock);
    const telemetry: Telemetry = {
      log: (...line) => {
        this.log.push(line[1]);
        this.lines.push(line);
      },
    };
    const sender = new Sender({ ...ports, clock, telemetry });
    const die = (defect: unknown) => {
      this.defects.push(defect);
      life.end();
    };
    const times: Pick<RunnerWorld, 'createTimeoutMs' | 'pollMs'> = {
      createTimeoutMs: 540_000,
      pollMs: 1000,
    };
    const { isDefect } = this;
    const runner = new Runner({ ...ports, ...times, clock, telemetry, sender, die, isDefect });
    const limits = { maxChainDepth: this.#maxChainDepth };
    const service = new Service({ ...ports, clock, runner, sender, limits });
    const aftercare = this.#cares
      ? new Aftercare({ ...ports, clock, telemetry, runner, die })
      : null;
    const operator = new Operator({ ...ports, clock, telemetry, runner, sender, service });
    this.#parts = { runner, sender, service, operator, aftercare };
    this.cloud.serve(service);
  }

  async boot(): Promise<void> {
    this.build();
    await this.clock.until(this.runner.resume());
    await this.clock.until(this.#parts?.aftercare?.resume() ?? Promise.resolve());
  }

  /** A row of Cinder's, as it is while Cinder asks us. */
  row(status: string, volume = this.cloud.volume, progress = '0%'): SnapshotId {
    const id = this.clock.uuid() as SnapshotId;
    this.cloud.cinder.snapshots.set(id, { id, volume, status, progress, fileFormat: {} });
    return id;
  }

  /** An empty overlay over a disk's active file, as Cinder prepares it. */
  overlay(snapshot: SnapshotId, disk = this.cloud.disk, says: OverlaySays = {}): FileName {
    const newFile = `volume-${disk.volume}.${snapshot}` as FileName;
    this.cloud.share.create(newFile, {
      clusters: 4,
      backing: disk.xml.file,
      backingFormat: disk.xml.format ?? RAW,
      ...says,
    });
    return newFile;
  }

  /** All that Cinder does before it asks for a create. */
  prepared(disk: SimDisk = this.cloud.disk, says: OverlaySays = {}) {
    const snapshot = this.row('creating', disk.volume);
    return { volume: disk.volume, snapshot, newFile: this.overlay(snapshot, disk, says) };
  }

  /** `count` snapshots taken by Cinder, the oldest first, with a write after each. */
  async taken(count: number): Promise<readonly SnapshotId[]> {
    const ids: SnapshotId[] = [];
    for (let at = 0; at < count; at++) {
      this.cloud.disk.write(at % 4, 0x10 + at);
      const ended = await this.clock.until(this.cloud.cinder.createSnapshot(this.cloud.volume));
      if (ended.status !== 'available') throw new Error(`no snapshot: ${ended.problem}`);
      ids.push(ended.snapshot);
    }
    this.cloud.disk.write(3, 0x77);
    return ids;
  }

  file(snapshot: SnapshotId | null, volume: VolumeId = this.cloud.volume): FileName {
    const base = `volume-${volume}`;
    return (snapshot === null ? base : `${base}.${snapshot}`) as FileName;
  }

  /** A delete of one of `ids`, with the arguments that Cinder reckons, its row `deleting`. */
  deletion(ids: readonly SnapshotId[], which: number) {
    const snapshot = ids[which]!;
    Object.assign(this.cloud.cinder.snapshots.get(snapshot)!, { status: 'deleting' });
    const under = (at: number) => this.file(at > 0 ? ids[at - 1]! : null);
    const { volume } = this.cloud;
    if (which < ids.length - 1) {
      return { volume, snapshot, fileToMerge: this.file(snapshot), mergeTarget: under(which) };
    }
    const fileToMerge = which === 0 ? null : under(which - 1);
    return { volume, snapshot, fileToMerge, mergeTarget: null };
  }

  /** Waits for an answer; 'none' when there is none in the time given. */
  async answered(answer: Promise<Answer>, withinMs = 30_000): Promise<Answer | 'none'> {
    const over = new AbortController();
    const none = this.clock.sleep(withinMs, over.signal).then(() => 'none' as const);
    const said = await this.clock.until(Promise.race([answer, none]));
    over.abort();
    return said;
  }

  async idle(): Promise<void> {
    await this.clock.until(this.runner.idle());
    await this.clock.advance(2_000);
  }

  /** How a snapshot's operations of the newest one's kind stand, the newest first. */
  async standing(snapshot: SnapshotId): Promise<readonly string[]> {
    const all = await this.journal.operations({ snapshot, limit: 100 });
    const found = all.filter(({ saga }) => saga.kind === all[0]?.saga.kind);
    return found.map(({ saga }) => (saga.at === 'end' ? saga.outcome : saga.at));
  }

  /** What Cinder was told of a snapshot and accepted, in order. */
  told(snapshot: SnapshotId): readonly string[] {
    return this.cloud.cinder.updates
      .filter((one) => one.snapshot === snapshot && one.accepted)
      .map(({ body }) => {
        const { status, progress } = Object.values(body as object)[0];
        return `${status} ${progress}`;
      });
  }

  /** Everything that a request could change, as a value of its own. */
  everything(): unknown {
    const { share, guest, cinder } = this.cloud;
    return structuredClone({
      process: guest.process,
      disks: guest.disks.map(({ target, xml, config, top, job }) => ({
        target,
        xml,
        config,
        job: job && { kind: job.kind, phase: job.phase },
        open: [...nodesFrom(top)].map(({ file, driver, unflushed }) => ({
          file: file.name,
          driver,
          unflushed,
        })),
      })),
      files: [...share.files.values()],
      elsewhere: share.elsewhere,
      volumes: cinder.volumes,
      attachments: cinder.attachments,
      snapshots: cinder.snapshots,
      updates: cinder.updates,
      info: cinder.infoFiles,
      journal: this.journal.snapshot(),
    });
  }

  get #built() {
    if (this.#parts === null) throw new Error('not built');
    return this.#parts;
  }
}

export interface OverlaySays {
  readonly backing?: string | null;
  readonly backingFormat?: string | null;
  readonly clusters?: number;
  readonly features?: number;
  readonly format?: typeof RAW | typeof QCOW2;
}
