/** A real guest without an operating system: what it "writes" is written through its own disk. */
import { randomUUID } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { disksOf, domainXml, type GuestDisk, targetOf, withoutBackingStores } from './guest-xml.ts';
import { virsh } from './libvirt.ts';
import { Monitor } from './monitor.ts';
import { alive, OWN_ID, waitFor } from './processes.ts';

export interface GuestOptions {
  readonly disks: readonly GuestDisk[];
  /** Unique on the machine; made up when left out. */
  readonly name?: string;
  /** Nova's server id (cinder-nova.md section 6). */
  readonly uuid?: string;
  /** A persistent guest outlives its QEMU; a transient one is forgotten with it. */
  readonly persistent?: boolean;
  /** Started paused unless false; snapshots and merges work all the same. */
  readonly paused?: boolean;
  readonly extraDevices?: string;
  readonly qemuArguments?: readonly string[];
}

export type Tops = Readonly<Record<string, { readonly path: string; readonly format: string }>>;

export class Guest implements AsyncDisposable {
  readonly name: string;
  readonly uuid: string;
  readonly persistent: boolean;
  readonly monitor: Monitor;
  readonly #options: GuestOptions;
  #defined = false;
  #tops: Tops = {};

  constructor(options: GuestOptions) {
    this.uuid = options.uuid ?? randomUUID();
    this.name = options.name ?? `ck-${OWN_ID}-${this.uuid.slice(0, 8)}`;
    this.persistent = options.persistent ?? false;
    this.monitor = new Monitor(this.name);
    this.#options = options;
  }

  static async started(options: GuestOptions): Promise<Guest> {
    const guest = new Guest(options);
    try {
      await guest.start();
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
    return guest;
  }

  /** A persistent guest starts as it is configured now, a transient one as it was made. */
  async start(): Promise<void> {
    if (!this.#defined) return this.#startAs(domainXml(this.#shape(this.#options.disks)));
    await virsh('start', this.name, ...this.#paused());
  }

  /**
   * Starts a stopped guest from its topmost files alone, as after a move to another host or
   * an edit by hand: libvirt forgets the chain and believes what the headers say. Tops are
   * what the guest had open when it was last stopped through this class, or as given.
   */
  async startFromTopOnly(tops: Tops = {}): Promise<void> {
    const known = { ...this.#tops, ...tops };
    if (this.persistent && this.#defined && Object.keys(tops).length === 0) {
      return this.#startAs(withoutBackingStores(await this.xml({ inactive: true })));
    }
    const disks = this.#options.disks.map((disk, index) => {
      const top = known[targetOf(disk, index)];
      const { extraXml: _chain, ...rest } = disk;
      return top === undefined ? rest : { ...rest, ...top };
    });
    await this.#startAs(domainXml(this.#shape(disks)));
  }

  /** Makes a persistent guest known without starting it. */
  async define(xml = domainXml(this.#shape(this.#options.disks))): Promise<void> {
    if (!this.persistent) throw new Error(`${this.name} is transient`);
    await virshWith(xml, 'define');
    this.#defined = true;
  }

  xml({ inactive = false } = {}): Promise<string> {
    return virsh('dumpxml', ...(inactive ? ['--inactive'] : []), this.name);
  }

  /** The file that each disk of the running guest writes to. */
  async tops(): Promise<Tops> {
    const disks = disksOf(await this.xml());
    return Object.fromEntries(
      disks.flatMap(({ target, path, format }) =>
        path === null || format === null ? [] : [[target, { path, format }]],
      ),
    );
  }

  /** As libvirt words it (running, paused, shut off), or `gone` when it knows no such guest. */
  async state(): Promise<string> {
    return virsh('domstate', this.name).then(
      (state) => state.trim(),
      (error: Error) => {
        if (/failed to get domain|Domain not found/i.test(error.message)) return 'gone';
        throw error;
      },
    );
  }

  /**
   * Writes `byte` over and over; throws unless QEMU says that it wrote all of it. Until a
   * flush the tables of a qcow2 stay in memory, but only while the guest has never run:
   * SeaBIOS makes QEMU write through (see `writeCache`).
   */
  async write(target: string, offset: number, length: number, byte: number): Promise<void> {
    await this.#io(target, `write -P ${byte} ${offset} ${length}`);
  }

  /** Writes what `file` holds, which QEMU's user must be able to read; whole sectors only. */
  async writeFile(target: string, offset: number, length: number, file: string): Promise<void> {
    await this.#io(target, `write -s ${file} ${offset} ${length}`);
  }

  /** Writes zeroes the way a guest's WRITE ZEROES does; `unmap` lets it discard instead. */
  async writeZeroes(target: string, offset: number, length: number, unmap = false): Promise<void> {
    await this.#io(target, `write -z ${unmap ? '-u ' : ''}${offset} ${length}`);
  }

  async discard(target: string, offset: number, length: number): Promise<void> {
    await this.#io(target, `discard ${offset} ${length}`);
  }

  /** The guest's own flush: what it wrote, and qcow2's tables, are in the files afterwards. */
  async flush(target: string): Promise<void> {
    await this.monitor.flush(await this.#qdev(target));
  }

  /** Throws unless the guest reads `byte` everywhere in this range. */
  async expectPattern(target: string, offset: number, length: number, byte: number) {
    await this.#io(target, `read -P ${byte} ${offset} ${length}`);
  }

  /** See `Monitor.writeCache`. */
  async writeCache(target: string): Promise<boolean> {
    return this.monitor.writeCache(await this.#qdev(target));
  }

  /** sha256 of what the guest can read from this disk now (1 s a GiB), asked of QEMU itself. */
  async hash(target: string, length?: number): Promise<string> {
    return this.monitor.hash(await this.#qdev(target), length);
  }

  /** QEMU's, from the file libvirt keeps it in. */
  async pid(): Promise<number> {
    return Number(await readFile(`/run/libvirt/qemu/${this.name}.pid`, 'utf8'));
  }

  /** QEMU dies at once, flushing nothing; returns when libvirt has noticed. */
  async kill9(): Promise<void> {
    const pid = await this.pid();
    this.#tops = await this.tops();
    process.kill(pid, 'SIGKILL');
    await waitFor(`QEMU ${pid} to die`, () => !alive(pid), { timeoutMs: 10_000, everyMs: 10 });
    const off = this.persistent ? 'shut off' : 'gone';
    const noticed = async () => (await this.state()) === off;
    await waitFor(`libvirt to notice ${this.name}'s death`, noticed, { timeoutMs: 15_000 });
  }

  async resume(): Promise<void> {
    await virsh('resume', this.name);
  }

  async suspend(): Promise<void> {
    await virsh('suspend', this.name);
  }

  /** The plug pulled by libvirt. QEMU gets SIGTERM first and flushes (libvirt.md section 7). */
  async destroy(): Promise<void> {
    this.#tops = await this.tops();
    await virsh('destroy', this.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const state = await this.state();
    if (state !== 'gone' && state !== 'shut off') await virsh('destroy', this.name);
    if ((await this.state()) !== 'gone') await virsh('undefine', this.name, '--snapshots-metadata');
    await rm(this.monitor.log, { force: true });
  }

  async #startAs(xml: string): Promise<void> {
    if (!this.persistent) return virshWith(xml, 'create', ...this.#paused());
    await this.define(xml);
    await virsh('start', this.name, ...this.#paused());
  }

  #paused(): string[] {
    return this.#options.paused === false ? [] : ['--paused'];
  }

  #shape(disks: readonly GuestDisk[]) {
    const { extraDevices = '', qemuArguments = [] } = this.#options;
    return { name: this.name, uuid: this.uuid, disks, extraDevices, qemuArguments };
  }

  async #io(target: string, command: string): Promise<void> {
    await this.monitor.qemuIo(await this.#qdev(target), command);
  }

  /** virtio-blk's backend hangs below the device that libvirt named. */
  async #qdev(target: string): Promise<string> {
    const alias = disksOf(await this.xml()).find((disk) => disk.target === target)?.alias;
    if (!alias) throw new Error(`${this.name} has no running disk ${target}`);
    return `/machine/peripheral/${alias}/virtio-backend`;
  }
}

/** Through a file: Node's stdin pipes are sockets, and /dev/stdin cannot open a socket. */
async function virshWith(xml: string, verb: string, ...flags: string[]): Promise<void> {
  const file = join(tmpdir(), `ck-${randomUUID()}.xml`);
  try {
    await writeFile(file, xml, { mode: 0o600 });
    await virsh(verb, file, ...flags);
  } finally {
    await rm(file, { force: true });
  }
}
