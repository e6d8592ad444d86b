import type { ServerId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { SimDisk } from './disk.ts';

/** A persistent guest of this host. */
export class SimGuest {
  readonly server: ServerId;
  readonly name: string;
  readonly disks: readonly SimDisk[];
  /** Which QEMU process runs it; another one after each start. */
  process: string | null = null;
  #starts = 0;

  constructor(server: ServerId, disks: readonly SimDisk[], name = 'instance-00000001') {
    this.server = server;
    this.disks = disks;
    this.name = name;
  }

  /** All disks or none. */
  start(): Result<null, string> {
    if (this.process !== null) return ok(null);
    for (const disk of this.disks) {
      const started = disk.start();
      if (started.ok) continue;
      for (const one of this.disks) one.kill();
      return err(`${disk.target}: ${started.error}`);
    }
    this.process = `${this.name}/${++this.#starts}`;
    return ok(null);
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
