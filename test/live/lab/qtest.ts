import { createConnection, type Socket } from 'node:net';

/**
 * QEMU's test protocol: its devices and the guest's memory, reached from outside beside a guest
 * that runs (`-qtest CHARDEV`, docs/devel/testing/qtest.rst). One command at a time.
 */
export class Qtest implements Disposable {
  readonly #socket: Socket;
  #text = '';
  #answered: ((line: string) => void) | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.#text += text;
      const end = this.#text.indexOf('\n');
      if (end < 0) return;
      const line = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 1);
      this.#answered?.(line);
    });
    // A guest that is stopped takes the socket with it: whoever waits has waited enough.
    socket.on('close', () => this.#answered?.('gone'));
    socket.on('error', () => {});
  }

  static async connect(path: string): Promise<Qtest> {
    const socket = createConnection(path);
    await new Promise((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new Qtest(socket);
  }

  async in(size: 1 | 2 | 4, port: number): Promise<number> {
    return Number(await this.#ask(`in${LETTER[size]} ${port}`));
  }

  async out(size: 1 | 2 | 4, port: number, value: number): Promise<void> {
    await this.#ask(`out${LETTER[size]} ${port} ${value >>> 0}`);
  }

  async read(at: number, length: number): Promise<Buffer> {
    return Buffer.from((await this.#ask(`read ${at} ${length}`)).slice(2), 'hex');
  }

  async write(at: number, bytes: Uint8Array): Promise<void> {
    const hex = Buffer.from(bytes).toString('hex');
    await this.#ask(`write ${at} ${bytes.length} 0x${hex}`);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #ask(command: string): Promise<string> {
    const mine = this.#turn.then(async () => {
      const line = await new Promise<string>((resolve) => {
        this.#answered = resolve;
        if (this.#socket.destroyed) resolve('gone');
        else this.#socket.write(`${command}\n`);
      });
      if (!line.startsWith('OK')) throw new Error(`${command}: ${line}`);
      return line.slice(3);
    });
    this.#turn = mine.catch(() => {});
    return mine;
  }
}

const LETTER = { 1: 'b', 2: 'w', 4: 'l' } as const;
