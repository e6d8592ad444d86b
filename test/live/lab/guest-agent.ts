import { randomUUID } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Guest, GuestOptions } from './guest.ts';
import type { Lab } from './lab.ts';
import { waitFor } from './processes.ts';
import { Qtest } from './qtest.ts';
import { SerialPort } from './serial-port.ts';

/** What the agent does when it is told to freeze or to thaw; `silence` is to answer never. */
export type Manner = 'obeys' | 'refuses' | 'silence' | { readonly slowMs: number };

/**
 * A guest's agent, played from outside: what it is told is real, as is all of QEMU and libvirt;
 * only that nothing is behind the file systems which it freezes. One command at a time, as the
 * real one, which hangs as long as its freeze does.
 */
export class GuestAgent implements AsyncDisposable {
  freeze: Manner = 'obeys';
  thaw: Manner = 'obeys';
  frozen = false;
  /** It is at a command that it has not answered. */
  busy = false;
  /** The commands that came in, without the synchronizing ones. */
  readonly heard: string[] = [];
  readonly #qtest: Qtest;
  readonly #port: SerialPort;
  readonly #serving: Promise<void>;
  #over = false;

  private constructor(qtest: Qtest, port: SerialPort) {
    this.#qtest = qtest;
    this.#port = port;
    this.#serving = this.#serve().catch(() => {});
  }

  /** Begins to answer in a guest that `withAgent` has started. */
  static async start(guest: Guest, socket: string): Promise<GuestAgent> {
    await waitFor("the guest's firmware to be done", () => guest.monitor.halted(), SOON);
    const qtest = await Qtest.connect(socket);
    const agent = new GuestAgent(qtest, await SerialPort.open(qtest));
    const connected = async () => (await guest.xml()).includes(`name='${NAME}' state='connected'`);
    await waitFor('libvirt to see the agent', connected, SOON);
    return agent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    await this.#serving;
    await this.#port.close().catch(() => {});
    this.#qtest[Symbol.dispose]();
  }

  async #serve(): Promise<void> {
    for (let text = ''; !this.#over; await sleep(5)) {
      text += await this.#port.read();
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        await this.#answer(JSON.parse(text.slice(0, end).replace(/^\xff/, '')));
        text = text.slice(end + 1);
      }
    }
  }

  async #answer({ execute, arguments: given }: Command): Promise<void> {
    const say = (answer: object) => {
      this.busy = false;
      return this.#port.write(`${JSON.stringify(answer)}\n`);
    };
    this.busy = true;
    if (execute === 'guest-sync') return say({ return: given?.id });
    this.heard.push(execute);
    const freezes = execute === 'guest-fsfreeze-freeze';
    const manner = freezes ? this.freeze : this.thaw;
    if (manner === 'refuses') {
      return say({ error: { class: 'GenericError', desc: 'failed to freeze /mnt' } });
    }
    // Nothing else is answered meanwhile either.
    while (!this.#over && (freezes ? this.freeze : this.thaw) === 'silence') await sleep(5);
    if (typeof manner === 'object') await sleep(manner.slowMs);
    this.frozen = freezes;
    await say({ return: 1 });
  }
}

interface Command {
  readonly execute: string;
  readonly arguments?: { readonly id: number };
}

const NAME = 'org.qemu.guest_agent.0';
const SOON = { timeoutMs: 20_000, everyMs: 20 };

/** A running guest with a channel for an agent, and where its devices are reached. */
export async function guestWithChannel(
  lab: Lab,
  options: GuestOptions,
): Promise<{ guest: Guest; socket: string }> {
  const folder = join(lab.dir, `qtest-${randomUUID().slice(0, 8)}`);
  await mkdir(folder);
  await chmod(folder, 0o777); // QEMU, as libvirt-qemu, makes the socket
  const socket = join(folder, 'qtest');
  const guest = await lab.guest({
    paused: false,
    ...options,
    extraDevices: `<controller type='virtio-serial' index='0' model='virtio-transitional'/>
    <channel type='unix'><target type='virtio' name='${NAME}'/></channel>`,
    qemuArguments: ['-qtest', `unix:${socket},server=on,wait=off`, '-qtest-log', '/dev/null'],
  });
  return { guest, socket };
}
