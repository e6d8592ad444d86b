/** QEMU's own protocol on a socket of our own, beside libvirt's: a command takes under 1 ms. */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

interface Waiting {
  readonly execute: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** QEMU's arguments that make it listen on `socket`. */
export const qmpArguments = (socket: string): readonly string[] => [
  '-qmp',
  `unix:${socket},server=on,wait=off`,
];

export class Qmp implements Disposable {
  readonly #socket: Socket;
  readonly #waiting: Waiting[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => this.#hear(JSON.parse(line)));
    lines.on('error', () => {}); // QEMU was killed: told to whoever waits, below
    socket.on('close', () => {
      for (const { execute, reject } of this.#waiting.splice(0)) {
        reject(new Error(`${execute}: QEMU is gone`));
      }
    });
    socket.on('error', () => {});
  }

  static async open(path: string): Promise<Qmp> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve).once('error', reject);
    });
    const qmp = new Qmp(socket);
    await qmp.call('qmp_capabilities');
    return qmp;
  }

  call<T>(execute: string, args: object = {}): Promise<T> {
    if (this.#socket.destroyed) return Promise.reject(new Error(`${execute}: QEMU is gone`));
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ execute, resolve: resolve as Waiting['resolve'], reject });
      this.#socket.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    });
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  /** Answers come in the order of the commands; the greeting and events answer none. */
  #hear(said: { return?: unknown; error?: { desc: string } }): void {
    if (!('return' in said) && !said.error) return;
    const { execute, resolve, reject } = this.#waiting.shift() ?? {};
    if (said.error) reject?.(new Error(`${execute}: ${said.error.desc}`));
    else resolve?.(said.return);
  }
}
