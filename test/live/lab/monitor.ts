/**
 * QEMU's own monitor, through libvirt. It taints the guest ("custom-monitor") and changes
 * nothing else: libvirt does not see an export, nor what qemu-io writes.
 */
import { chmod, mkdtemp, readFile, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hashSource } from './images.ts';
import { virsh } from './libvirt.ts';
import { removeFolder, waitFor } from './processes.ts';

interface Block {
  readonly qdev?: string;
  readonly inserted?: {
    readonly 'node-name'?: string;
    readonly cache?: { readonly writeback: boolean };
  };
}

export class Monitor {
  readonly #guest: string;
  /** QEMU has one NBD server and one log: one user at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(guest: string) {
    this.#guest = guest;
  }

  /** QEMU's stdout and stderr. */
  get log(): string {
    return `/var/log/libvirt/qemu/${this.#guest}.log`;
  }

  async qmp<T>(execute: string, args: object = {}): Promise<T> {
    const command = JSON.stringify({ execute, arguments: args });
    const answer = JSON.parse(await virsh('qemu-monitor-command', this.#guest, command));
    if ('error' in answer) throw new Error(`${execute}: ${answer.error.desc}`);
    return answer.return;
  }

  /**
   * A qemu-io command on the disk's own backend, so it goes the way of the guest's requests
   * (cache and discard as configured). By qdev path: naming the node instead would open a
   * second writer, which the node refuses ("Permission conflict"), and on QEMU 7.2 the plain
   * device id has "no block device backend". What qemu-io prints goes to QEMU's stdout,
   * not to the monitor: the verdict is read from the log.
   */
  qemuIo(qdev: string, command: string): Promise<string> {
    return this.#alone(async () => {
      const from = await stat(this.log).then(
        (it) => it.size,
        () => 0,
      );
      const line = `qemu-io -d ${qdev} "${command}"`;
      const refused = (await virsh('qemu-monitor-command', '--hmp', this.#guest, line)).trim();
      if (refused !== '') throw new Error(`${command}: ${refused}`);
      const said = await waitFor(
        `qemu-io's word on "${command}"`,
        async () => {
          const text = (await readFile(this.log)).subarray(from).toString();
          return /^\d+.*ops; .*\)$|fail|error|invalid|unknown|usage/im.test(text) ? text : null;
        },
        { timeoutMs: 10_000, everyMs: 10 },
      );
      if (!/^(wrote|read|discard) (\d+)\/\2 bytes/m.test(said) || /fail/i.test(said)) {
        throw new Error(`${command}: ${said.trim()}`);
      }
      return said;
    });
  }

  /** qemu-io prints nothing when a flush works, so only the monitor's answer can be had. */
  flush(qdev: string): Promise<void> {
    return this.#alone(async () => {
      const line = `qemu-io -d ${qdev} flush`;
      const refused = (await virsh('qemu-monitor-command', '--hmp', this.#guest, line)).trim();
      if (refused !== '') throw new Error(`flush: ${refused}`);
    });
  }

  /** Whether the guest's processor sleeps: a firmware that found nothing to boot does. */
  async halted(): Promise<boolean> {
    const line = 'info registers';
    return /HLT=1/.test(await virsh('qemu-monitor-command', '--hmp', this.#guest, line));
  }

  /**
   * Whether QEMU holds writes back until the guest flushes. SeaBIOS's driver does not offer
   * to flush, so QEMU turns it off for a guest that runs no more than that.
   */
  async writeCache(qdev: string): Promise<boolean> {
    const blocks = await this.qmp<Block[]>('query-block');
    return blocks.find((block) => block.qdev === qdev)?.inserted?.cache?.writeback ?? true;
  }

  /** The active layer's node: what the guest's device reads from. */
  async activeNode(qdev: string): Promise<string> {
    const blocks = await this.qmp<Block[]>('query-block');
    const node = blocks.find((block) => block.qdev === qdev)?.inserted?.['node-name'];
    if (!node) throw new Error(`${this.#guest}: nothing inserted in ${qdev}`);
    return node;
  }

  /**
   * Served read-only over a unix socket and read back: only QEMU knows what the guest sees,
   * since its qcow2 tables are in memory (libvirt.md section 0, fact 5).
   */
  hash(qdev: string, length?: number): Promise<string> {
    return this.#alone(async () => {
      const dir = await mkdtemp(join(tmpdir(), 'ck-nbd-'));
      await chmod(dir, 0o777); // QEMU, as libvirt-qemu, makes the socket
      const socket = join(dir, 'socket');
      const data = { path: socket };
      await this.qmp('nbd-server-start', { addr: { type: 'unix', data } });
      try {
        const node = await this.activeNode(qdev);
        const id = 'chainkeeper-hash';
        await this.qmp('block-export-add', { type: 'nbd', id, 'node-name': node, name: 'disk' });
        const nbd = `file.driver=nbd,file.server.type=unix,file.server.path=${socket}`;
        const size = length === undefined ? '' : `,size=${length}`;
        const source = `driver=raw${size},${nbd},file.export=disk`;
        return await hashSource(['--image-opts', source], join(dir, 'copy'));
      } finally {
        await this.qmp('nbd-server-stop'); // and with it the export
        await removeFolder(dir);
      }
    });
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}
