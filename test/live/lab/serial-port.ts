import { setTimeout as sleep } from 'node:timers/promises';
import type { Qtest } from './qtest.ts';

/**
 * The guest's driver of a virtio serial port, on the host: it programs QEMU's device as a guest's
 * kernel would (virtio 1.2, 2.7 and 5.3, the legacy interface), so that QEMU believes that somebody
 * in the guest has opened the port, and tells libvirt.
 */
export class SerialPort {
  readonly #qtest: Qtest;
  readonly #base: number;
  readonly #queues = new Map<number, Queue>();

  private constructor(qtest: Qtest, base: number) {
    this.#qtest = qtest;
    this.#base = base;
  }

  /** Finds the device, once the firmware has given it its addresses, and opens its port 1. */
  static async open(qtest: Qtest): Promise<SerialPort> {
    for (const deadline = Date.now() + 20_000; ; await sleep(100)) {
      const base = await find(qtest);
      if (base !== null) {
        const port = new SerialPort(qtest, base);
        await port.#start();
        return port;
      }
      if (Date.now() > deadline) throw new Error('the guest has no virtio serial device');
    }
  }

  /** What the host has sent since the last time. */
  async read(): Promise<string> {
    return Buffer.concat(await this.#taken(PORT_IN)).toString('utf8');
  }

  async write(text: string): Promise<void> {
    await this.#send(PORT_OUT, Buffer.from(text));
  }

  close(): Promise<void> {
    return this.#control(PORT_OPEN, 0);
  }

  async #start(): Promise<void> {
    const { out } = this.#registers();
    await out(1, STATUS, 0);
    await out(1, STATUS, 1);
    await out(1, STATUS, 3);
    await out(4, FEATURES, 1 << MULTIPORT);
    for (const index of [CONTROL_IN, CONTROL_OUT, PORT_IN, PORT_OUT]) await this.#set(index);
    await out(1, STATUS, 7);
    for (const index of [CONTROL_IN, PORT_IN]) {
      for (let at = 0; at < BUFFERS; at++) await this.#offer(index, at, BUFFER, true);
    }
    await this.#control(DEVICE_READY, 1, 0);
    await this.#control(PORT_READY, 1);
    await this.#control(PORT_OPEN, 1);
  }

  async #set(index: number): Promise<void> {
    const { out, read } = this.#registers();
    await out(2, QUEUE, index);
    const size = await read(2, QUEUE_SIZE);
    const at = MEMORY + index * 0x8000;
    await this.#qtest.write(at, new Uint8Array(0x4000));
    await out(4, QUEUE_PAGE, at / PAGE);
    const used = at + Math.ceil((size * 16 + 6 + size * 2) / PAGE) * PAGE;
    this.#queues.set(index, { size, at, used, offered: 0, seen: 0 });
  }

  /** Gives the device one of the queue's buffers, to write into or with something in it. */
  async #offer(index: number, slot: number, length: number, writable: boolean): Promise<void> {
    const queue = this.#queue(index);
    const descriptor = Buffer.alloc(16);
    descriptor.writeBigUInt64LE(BigInt(bufferOf(queue, slot)), 0);
    descriptor.writeUInt32LE(length, 8);
    descriptor.writeUInt16LE(writable ? 2 : 0, 12);
    await this.#qtest.write(queue.at + slot * 16, descriptor);
    const ring = queue.at + queue.size * 16;
    await this.#qtest.write(ring + 4 + (queue.offered % queue.size) * 2, word(slot));
    queue.offered = (queue.offered + 1) & 0xffff;
    await this.#qtest.write(ring + 2, word(queue.offered));
    await this.#registers().out(2, NOTIFY, index);
  }

  async #send(index: number, bytes: Buffer): Promise<void> {
    const queue = this.#queue(index);
    await this.#qtest.write(bufferOf(queue, 0), bytes);
    await this.#offer(index, 0, bytes.length, false);
  }

  /** What the device has put into the queue's buffers, which it gets back. */
  async #taken(index: number): Promise<Buffer[]> {
    const queue = this.#queue(index);
    const taken: Buffer[] = [];
    const until = (await this.#qtest.read(queue.used + 2, 2)).readUInt16LE();
    while (queue.seen !== until) {
      const entry = await this.#qtest.read(queue.used + 4 + (queue.seen % queue.size) * 8, 8);
      const slot = entry.readUInt32LE(0);
      taken.push(await this.#qtest.read(bufferOf(queue, slot), entry.readUInt32LE(4)));
      queue.seen = (queue.seen + 1) & 0xffff;
      await this.#offer(index, slot, BUFFER, true);
    }
    return taken;
  }

  #control(event: number, value: number, port = 1): Promise<void> {
    const message = Buffer.alloc(8);
    message.writeUInt32LE(port, 0);
    message.writeUInt16LE(event, 4);
    message.writeUInt16LE(value, 6);
    return this.#send(CONTROL_OUT, message);
  }

  #queue(index: number): Queue {
    const queue = this.#queues.get(index);
    if (queue === undefined) throw new Error(`no queue ${index}`);
    return queue;
  }

  #registers() {
    return {
      out: (size: 1 | 2 | 4, at: number, value: number) =>
        this.#qtest.out(size, this.#base + at, value),
      read: (size: 1 | 2 | 4, at: number) => this.#qtest.in(size, this.#base + at),
    };
  }
}

interface Queue {
  readonly size: number;
  readonly at: number;
  readonly used: number;
  offered: number;
  seen: number;
}

/** Of the guest's 32 MiB: above what the firmware uses, below where it keeps its tables. */
const MEMORY = 0x400000;
const PAGE = 4096;
const BUFFERS = 8;
const BUFFER = 1024;

const bufferOf = (queue: Queue, slot: number): number => queue.at + 0x4000 + slot * BUFFER;

const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
};

// The legacy registers of a virtio PCI device.
const [FEATURES, QUEUE_PAGE, QUEUE_SIZE, QUEUE, NOTIFY, STATUS] = [4, 8, 12, 14, 16, 18] as const;
const MULTIPORT = 1;
const [CONTROL_IN, CONTROL_OUT, PORT_IN, PORT_OUT] = [2, 3, 4, 5] as const;
const [DEVICE_READY, PORT_READY, PORT_OPEN] = [0, 3, 6] as const;

/** Red Hat's vendor id, and the id of a transitional console. */
const CONSOLE = 0x1003_1af4;

/** Its I/O ports, or null while the firmware has not got that far. */
async function find(qtest: Qtest): Promise<number | null> {
  for (let bus = 0; bus < 16; bus++) {
    for (let device = 0; device < 32; device++) {
      const at = (bus << 16) | (device << 11);
      if ((await config(qtest, at, 0)) !== CONSOLE) continue;
      const [base, command] = [await config(qtest, at, 0x10), await config(qtest, at, 4)];
      if ((base & 1) === 0 || base < 0x100 || (command & 1) === 0) return null;
      await config(qtest, at, 4, (command & 0xffff) | 7);
      return base & ~3;
    }
  }
  return null;
}

async function config(qtest: Qtest, at: number, register: number, value?: number) {
  await qtest.out(4, 0xcf8, 0x8000_0000 | at | register);
  if (value !== undefined) await qtest.out(4, 0xcfc, value);
  return qtest.in(4, 0xcfc);
}
