import type { FileName, Format, ServerId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { SimDisk } from './disk.ts';

/** A persistent guest of this host. */
export class SimGuest {
  readonly server: ServerId;
  readonly name: string;
  readonly disks: SimDisk[];
  /** Which QEMU process runs it; another one after each start. */
  process: string | null = null;
  #starts = 0;

  constructor(server: ServerId, disks: readonly SimDisk[], name = 'instance-00000001') {
    this.server = server;
    this.disks = [...disks];
    this.name = name;
  }

  /** All disks or none. */
  start(): Result<null, string> {
    if (this.process !== null) return ok(null);
    for (const disk of this.disks) {
      const started = disk.start();
      if (started.ok) continue;
      for (const one of this.disks) one.kill();
      return err(`${disk.target}: ${started.error.message}`);
    }
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
    disk.note({ file, format, on: null });
    this.disks.push(disk);
    return this.process === null ? ok(null) : disk.start();
  }

  /** Ends QEMU: told to, so that it writes what it holds, or killed. */
  end(how: 'stopped' | 'killed'): void {
    if (this.process === null) return;
    this.process = null;
    for (const disk of this.disks) {
      if (how === 'stopped') disk.stop();
      else disk.kill();
    }
  }
}
