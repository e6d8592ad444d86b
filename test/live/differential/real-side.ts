import { randomUUID } from 'node:crypto';
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileName, ServerId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { DiskView } from '#domain/sight.ts';
import type { Act, Made } from '../../support/acts.ts';
import type { History } from '../../support/histories.ts';
import { qcow2 } from '../../support/qcow2-bytes.ts';
import { ANYTHING, codeOf, type Outcome, type State } from '../../support/side.ts';
import { CLUSTER, cell, emptyImage, type OnDisk, onDisk } from '../../support/tables.ts';
import { disksOf, domainXml } from '../lab/guest-xml.ts';
import { readExport } from '../lab/nbd.ts';
import { alive, OWN_ID, removeFolder, waitFor } from '../lab/processes.ts';
import { Qmp, qmpArguments } from '../lab/qmp.ts';
import type { Machine } from './machine.ts';

interface QemuJob {
  readonly device: string;
  readonly type: string;
  readonly offset: number;
  readonly len: number;
  readonly ready: boolean;
  readonly status: string;
}

const QDEV = '/machine/peripheral/virtio-disk0/virtio-backend';
const SHUT_OFF = 5;
/** Codes of starts that are refused; any other is told with its words. */
const EXPECTED: readonly number[] = [1, 38, 55];
const COMMIT = { relative: 8, shallow: 1, active: 4, bytes: 16 };
const PULL = { relative: 16, bytes: 64 };
const PIVOT = 2;
const SOON = { everyMs: 5, timeoutMs: 15_000 };

/** A guest of libvirt and QEMU, which never runs: what it "does" is done through its own disk. */
export class RealSide implements AsyncDisposable {
  readonly #machine: Machine;
  readonly #server = randomUUID() as ServerId;
  readonly #volume = randomUUID() as VolumeId;
  readonly directory: string;
  readonly #past: History;
  readonly #formats = new Map<string, 'raw' | 'qcow2'>();
  #qmp: Qmp | null = null;
  /** As it was seen when no job was at work. */
  #size = 0;
  #heard: string[] = [];
  /** There is a job that is held up. */
  #held = false;
  readonly #deafen: () => void;

  private constructor(machine: Machine, past: History) {
    this.#machine = machine;
    this.#past = past;
    this.directory = join(machine.images, this.#server.slice(0, 8));
    this.#deafen = machine.hypervisor.listen((one) => {
      if (one.kind === 'job' && one.server === this.#server) this.#heard.push(one.how);
    });
  }

  static async start(machine: Machine, past: History): Promise<RealSide> {
    const side = new RealSide(machine, past);
    await mkdir(side.directory);
    await chmod(side.directory, 0o777); // QEMU, as libvirt-qemu, makes sockets in it
    const { baseFormat: format, clusters } = past;
    await side.#make('base', { format, clusters, says: { backing: null, format: null } });
    const started = await side.#start('base', format);
    if (started !== 'ok') throw new Error(`the guest does not start: ${started}`);
    return side;
  }

  async perform(act: Act): Promise<Outcome> {
    this.#heard = [];
    const code = await this.#do(act);
    await this.#rest();
    const guest = await this.#guest();
    // Whatever makes QEMU drain its queues, as reading does, gives a job that is held up a push.
    const done = await this.#rest();
    return { code, heard: this.#heard, done, state: await this.#state(guest) };
  }

  /**
   * While a commit runs QEMU lets no export read what stands on the layers between ("Permission
   * conflict"), so the device is read. While a pull runs it is not read at all: when one ends
   * under a reader QEMU crashes (7.2.22).
   */
  async #guest(): Promise<readonly string[] | null> {
    if (this.#qmp === null) return null;
    const job = await this.#job();
    if (job?.type === 'stream') return [ANYTHING];
    return job === null ? this.#read() : this.#glimpse();
  }

  async #state(guest: readonly string[] | null): Promise<State> {
    const { chain, job } = await this.#look();
    const layers: string[] = [];
    for (let at: typeof chain | null = chain; at !== null; at = at.on) {
      layers.push(`${at.file} ${at.format}`);
    }
    const files: Record<string, OnDisk> = {};
    for (const [name, format] of this.#formats) {
      files[name] = onDisk(await readFile(this.#path(name)), format);
    }
    const ready = job !== null && job.done === job.total;
    return {
      chain: layers,
      clusters: this.#size / CLUSTER,
      job: job === null ? 'none' : `${job.kind}${ready ? ' ready' : ''}`,
      guest,
      files,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#deafen();
    if (this.#qmp !== null) await this.#end('kill').catch(() => {});
    await this.#machine.starter.forget(this.#server);
    await rm(`/var/log/libvirt/qemu/${this.#name}.log`, { force: true });
    await removeFolder(this.directory);
  }

  /** What QEMU said last: why it ended, if it did. */
  log(): Promise<string> {
    const log = `/var/log/libvirt/qemu/${this.#name}.log`;
    return readFile(log, 'utf8').then(
      (text) => text.trimEnd().split('\n').slice(-6).join('\n'),
      () => 'no log',
    );
  }

  async #do(act: Act): Promise<number | string> {
    const { lanes } = this.#machine;
    switch (act.do) {
      case 'write':
        return this.#io(`write -P ${act.byte} ${act.at * CLUSTER} ${CLUSTER}`);
      case 'zero':
        return this.#io(`write -z ${act.at * CLUSTER} ${CLUSTER}`);
      case 'unmap':
        return this.#io(`write -z -u ${act.at * CLUSTER} ${CLUSTER}`);
      case 'discard':
        return this.#io(`discard ${act.at * CLUSTER} ${CLUSTER}`);
      case 'flush':
        return this.#io('flush');
      case 'forge':
        return this.#forge(act.says);
      case 'barrier': {
        const flushed = await this.#machine.hypervisor.flush(await this.#seen());
        return codeOf(flushed);
      }
      case 'snapshot':
        return this.#snapshot(act.file, act.make);
      case 'pull': {
        const flags = (act.relative ? PULL.relative : 0) | (act.held ? PULL.bytes : 0);
        const base = act.base && this.#path(act.base);
        const rate = act.held ? 1 : 0;
        const asked = await lanes.blockRebase(this.#server, 'vda', base, rate, flags);
        return this.#begun(callCode(asked), act.held);
      }
      case 'commit': {
        let flags = act.held ? COMMIT.bytes : 0;
        if (act.relative) flags |= COMMIT.relative;
        if (act.shallow) flags |= COMMIT.shallow;
        if (act.active) flags |= COMMIT.active;
        const [base, top] = [act.base && this.#path(act.base), act.top && this.#path(act.top)];
        const rate = act.held ? 1 : 0;
        const asked = await lanes.blockCommit(this.#server, 'vda', base, top, rate, flags);
        return this.#begun(callCode(asked), act.held);
      }
      case 'abort': {
        const asked = await lanes.blockJobAbort(this.#server, 'vda', act.pivot ? PIVOT : 0);
        if (asked.ok) await this.#hear();
        return callCode(asked);
      }
      case 'release': {
        const job = await this.#job();
        if (job === null) throw new Error('no job to release');
        await this.#call('block-job-set-speed', { device: job.device, speed: 0 });
        await this.#hear();
        return 'ok';
      }
      case 'kill':
      case 'stop':
        return this.#end(act.do);
      case 'start': {
        const [disk] = disksOf(await this.#xml(true));
        if (disk?.path == null || disk.format === null) throw new Error('no disk');
        return this.#start(disk.path.slice(this.directory.length + 1), disk.format);
      }
    }
  }

  /** A job that is let run is over, or ready, when this returns. */
  async #begun(code: number | string, held: boolean): Promise<number | string> {
    if (code !== 'ok') return code;
    if (!held) await this.#hear();
    // One that has nothing to do is over at once.
    else for (let ms = 0; ms < 400 && this.#heard.length === 0; ms += 20) await sleep(20);
    this.#held = held;
    return code;
  }

  /** Returns once the job does not move any more: how many clusters it has done, if it goes on. */
  async #rest(): Promise<number | null> {
    let job = await this.#job();
    const ends = ({ status, type, offset, len }: QemuJob) =>
      status !== 'running' || (type === 'stream' && offset === len);
    for (let still = 0, last = -1; job !== null && !job.ready; job = await this.#job()) {
      still = job.offset === last && !ends(job) ? still + 1 : 0;
      if (still === 4) break;
      last = job.offset;
      await sleep(25);
    }
    const held = job !== null && !job.ready;
    if (this.#held && !held && this.#qmp !== null) await this.#hear();
    this.#held = held;
    return held ? (job?.offset ?? 0) / CLUSTER : null;
  }

  /** Waits for the news of the job, and for libvirt to be done with it. */
  async #hear(): Promise<void> {
    await waitFor('news of the job', () => this.#heard.length > 0, SOON);
    await this.#settled();
  }

  async #settled(): Promise<void> {
    await waitFor(
      'the job to be over',
      async () => {
        const { job } = await this.#look();
        return job === null || job.done === job.total;
      },
      SOON,
    );
  }

  async #snapshot(file: string, make: Made | null): Promise<number | string> {
    if (make !== null) await this.#make(file, make);
    const { process, chain } = await this.#look();
    const order = {
      ...{ server: this.#server, volume: this.#volume, target: 'vda', process },
      ...{ directory: this.directory, file: file as FileName, active: chain.file },
    };
    return codeOf(await this.#machine.hypervisor.snapshot(order));
  }

  /** A guest's forgery is a whole, empty qcow2 image: what is taken for one can be read. */
  async #forge(says: { backing: string | null; format: string | null }): Promise<string> {
    const { clusters } = await this.#sizes();
    const file = this.#path('forgery');
    const { page } = qcow2({ size: clusters * CLUSTER, ...says });
    const whole = Buffer.alloc(CLUSTER);
    whole.set(page.subarray(0, CLUSTER));
    await writeFile(file, whole, { mode: 0o644 });
    await this.#io(`write -s ${file} 0 ${CLUSTER}`);
    for (let at = 1; at < 4; at++) await this.#io(`write -P 0 ${at * CLUSTER} ${CLUSTER}`);
    return 'ok';
  }

  async #make(file: string, { format, clusters, says }: Made): Promise<void> {
    const size = clusters * CLUSTER;
    const bytes = format === 'raw' ? Buffer.alloc(size) : emptyImage(qcow2({ size, ...says }).page);
    await writeFile(this.#path(file), bytes);
    this.#formats.set(file, format);
  }

  async #start(file: string, format: string): Promise<number | string> {
    const socket = join(this.directory, 'qmp');
    await rm(socket, { force: true });
    const discard = this.#past.unmaps ? { discard: 'unmap' } : {};
    const xml = domainXml({
      name: this.#name,
      uuid: this.#server,
      disks: [{ path: this.#path(file), format, serial: this.#volume, ...discard }],
      extraDevices: '',
      qemuArguments: qmpArguments(socket),
    });
    const started = await this.#machine.starter.start(xml);
    if (!started.ok) {
      const { code, message } = started.error;
      return EXPECTED.includes(code) ? code : `${code} (${message})`;
    }
    this.#qmp = await Qmp.open(socket);
    const data = { path: join(this.directory, 'nbd') };
    await rm(data.path, { force: true });
    return 'ok';
  }

  /** Told to quit it writes what it holds, as on SIGTERM; killed it does not. */
  async #end(how: 'kill' | 'stop'): Promise<string> {
    const file = `/run/libvirt/qemu/${this.#name}.pid`;
    const pid = Number(await readFile(file, 'utf8').catch(() => '0'));
    if (pid === 0) throw new Error('QEMU is gone');
    if (how === 'kill') process.kill(pid, 'SIGKILL');
    else await this.#call('quit').catch(() => {});
    await waitFor(`QEMU ${pid} to end`, () => !alive(pid), SOON);
    await waitFor('libvirt to notice', () => this.#isOff(), SOON);
    this.#qmp?.[Symbol.dispose]();
    this.#qmp = null;
    return 'ok';
  }

  async #isOff(): Promise<boolean> {
    const state = await this.#machine.lanes.state(this.#server);
    return state.ok && state.value.state === SHUT_OFF;
  }

  /** QEMU's last word on it is what the guest reads afterwards, which is compared. */
  async #io(command: string): Promise<string> {
    await this.#qemuIo(command);
    const job = await this.#job();
    if (job?.ready) await this.#mirrored();
    return 'ok';
  }

  /**
   * A ready mirror looks every 100 ms for what the guest wrote (QEMU 7.2): its bitmap says what is
   * left, its progress what is under way.
   */
  async #mirrored(): Promise<void> {
    type Node = { readonly 'dirty-bitmaps'?: readonly { readonly count: number }[] };
    const dirty = async () => {
      const nodes = await this.#call<Node[]>('query-named-block-nodes', { flat: true });
      return nodes.some((node) => node['dirty-bitmaps']?.some(({ count }) => count > 0));
    };
    const mirrored = async () => {
      if (await dirty()) return false;
      await sleep(5);
      const job = await this.#job();
      return job === null || (job.offset === job.len && !(await dirty()));
    };
    await waitFor('the mirror', mirrored, SOON);
  }

  async #read(): Promise<string[]> {
    const socket = join(this.directory, 'nbd');
    const addr = { type: 'unix', data: { path: socket } };
    await this.#call('nbd-server-start', { addr });
    try {
      type Block = { qdev?: string; inserted?: { 'node-name': string } };
      const blocks = await this.#call<Block[]>('query-block');
      const node = blocks.find(({ qdev }) => qdev === QDEV)?.inserted?.['node-name'];
      const to = { type: 'nbd', id: 'reader', 'node-name': node, name: 'disk' };
      await this.#call('block-export-add', to);
      const bytes = await readExport(socket, 'disk');
      return Array.from({ length: bytes.length / CLUSTER }, (_, at) => cell(bytes, at));
    } finally {
      await this.#call('nbd-server-stop');
    }
  }

  /** The first bytes of each cluster, through the guest's own device. */
  async #glimpse(): Promise<string[]> {
    const { clusters } = await this.#sizes();
    const log = `/var/log/libvirt/qemu/${this.#name}.log`;
    const { size: from } = await stat(log);
    for (let at = 0; at < clusters; at++) await this.#qemuIo(`read -v ${at * CLUSTER} 4`);
    const bytes = /^[0-9a-f]{8}: {2}((?:[0-9a-f]{2} ){4})/gm;
    return waitFor(
      'what QEMU read',
      async () => {
        const said = (await readFile(log)).subarray(from).toString();
        const read = [...said.matchAll(bytes)].map(([, hex = '']) => hex.trim().split(' '));
        if (read.length < clusters) return null;
        return read.map(([one, two]) => (one === two ? String(Number(`0x${one}`)) : ANYTHING));
      },
      SOON,
    );
  }

  async #qemuIo(command: string): Promise<void> {
    const line = `qemu-io -d ${QDEV} "${command}"`;
    const said = await this.#call<string>('human-monitor-command', { 'command-line': line });
    if (said.trim() !== '') throw new Error(`${command}: ${said}`);
  }

  async #job(): Promise<QemuJob | null> {
    if (this.#qmp === null) return null;
    const jobs = await this.#call<QemuJob[]>('query-block-jobs');
    return jobs[0] ?? null;
  }

  async #look(): Promise<DiskView> {
    const where = { server: this.#server, volume: this.#volume };
    // While libvirt finds out that QEMU is dead, calls may fail that were just about to ask it.
    return waitFor(
      'libvirt to answer',
      async () => {
        const view = await this.#machine.hypervisor.look(where);
        if (!view.ok || view.value.kind !== 'disk') throw new Error(JSON.stringify(view));
        this.#size = view.value.size ?? this.#size;
        return view.value;
      },
      { ...SOON, timeoutMs: 5_000 },
    );
  }

  async #seen() {
    const { process } = await this.#look();
    return { server: this.#server, volume: this.#volume, target: 'vda', process };
  }

  async #sizes() {
    await this.#look();
    return { clusters: this.#size / CLUSTER };
  }

  async #xml(inactive: boolean): Promise<string> {
    const xml = await this.#machine.lanes.domainXml(this.#server, inactive);
    if (!xml.ok) throw new Error(JSON.stringify(xml.error));
    return xml.value;
  }

  #call<T>(execute: string, args: object = {}): Promise<T> {
    if (this.#qmp === null) throw new Error('the guest is off');
    return this.#qmp.call<T>(execute, args);
  }

  #path(file: string): string {
    return join(this.directory, file);
  }

  get #name(): string {
    return `ck-${OWN_ID}-${this.#server.slice(0, 8)}`;
  }
}

type Refused = { readonly kind: string; readonly error?: { readonly code: number } };

const callCode = (answer: Result<unknown, Refused>): number | string =>
  answer.ok ? 'ok' : (answer.error.error?.code ?? answer.error.kind);
