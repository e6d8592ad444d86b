import type { FileName, Format, ServerId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { SimAgent } from './agent.ts';
import type { SimDisk, StartFrom } from './disk.ts';
import { Indexes } from './indexes.ts';
import { Monitor } from './monitor.ts';

/** A guest of this host. */
export class SimGuest {
  readonly server: ServerId;
  readonly name: string;
  readonly disks: SimDisk[];
  /** Which QEMU process runs it; another one after each start. */
  process: string | null = null;
  /** Shut off with its memory saved. */
  saved = false;
  /** Its processors are stopped; a job goes on. */
  paused = false;
  /** libvirt forgets a transient guest with its QEMU; a persistent one stays, shut off. */
  transient = false;
  readonly monitor = new Monitor();
  /** What answers in its channel for an agent, or null where it has none. */
  agent: SimAgent | null = null;
  readonly #indexes = new Indexes();
  #starts = 0;

  constructor(server: ServerId, disks: readonly SimDisk[], name = 'instance-00000001') {
    this.server = server;
    this.disks = [...disks];
    this.name = name;
    for (const disk of disks) disk.indexes = this.#indexes;
  }

  /** Whether libvirt knows it. */
  get known(): boolean {
    return this.process !== null || !this.transient;
  }

  /** All disks or none. The layers are numbered from the last disk on, each top-down (measured). */
  start(from: StartFrom = 'the top file'): Result<null, string> {
    if (this.process !== null) return ok(null);
    this.#indexes.restart();
    for (const disk of [...this.disks].reverse()) {
      const started = disk.start(from);
      if (started.ok) continue;
      for (const one of this.disks) one.kill();
      return err(`${disk.target}: ${started.error.message}`);
    }
    this.saved = false;
    this.process = `${this.name}/${++this.#starts}`;
    return ok(null);
  }

  /** Takes a disk out, of a running QEMU as well, which then writes what it holds of it. */
  unplug(disk: SimDisk): void {
    disk.stop();
    this.disks.splice(this.disks.indexOf(disk), 1);
  }

  /** Gives a disk back, as Nova does with what Cinder's attachment says: the topmost file alone. */
  plug(disk: SimDisk, file: FileName, format: Format): Result<null, string> {
    disk.configure(file, format);
    this.disks.push(disk);
    if (this.process === null) return ok(null);
    const started = disk.start();
    return started.ok ? started : err(started.error.message);
  }

  /**
   * virDomainSuspend. QEMU flushes every node when it stops a guest (`do_vm_stop`), and libvirt
   * asks it for nothing when the guest is paused already (measured).
   */
  suspend(): void {
    if (this.process === null || this.paused) return;
    this.paused = true;
    for (const disk of this.disks) disk.flushAll();
  }

  resume(): void {
    this.paused = false;
  }

  /** Ends QEMU: told to, so that it writes what it holds, or killed. */
  end(how: 'stopped' | 'killed'): void {
    if (this.process === null) return;
    this.process = null;
    this.paused = false;
    for (const disk of this.disks) {
      if (how === 'stopped') disk.stop();
      else disk.kill();
    }
    this.monitor.end('dies');
    this.agent?.end();
  }
}
