import koffi from 'koffi';
import { type Connection, closeConnection, within } from './connection.ts';
import type { LibvirtEvent } from './events.ts';
import type { Libvirt, Pointer } from './ffi.ts';

/** How often the connection is looked at: libvirt has no callback for every way to lose it. */
const LOOK_EVERY_MS = 1_000;

// include/libvirt/libvirt-domain.h: virDomainEventID, virConnectDomainEventBlockJobStatus.
const LIFECYCLE = 0;
const BLOCK_JOB_2 = 16;
const STATUSES = ['completed', 'failed', 'canceled', 'ready'] as const;

const onLifecycle = koffi.proto('int', ['void *', 'void *', 'int', 'int', 'void *']);
const onBlockJob = koffi.proto('void', ['void *', 'void *', 'str', 'int', 'int', 'void *']);
const onClose = koffi.proto('void', ['void *', 'int', 'void *']);

/**
 * The callbacks of one connection at a time. libvirt is on the stack of the event thread while
 * they run and waits for them: they only note what was said.
 */
export class EventLine {
  readonly #lib: Libvirt;
  readonly #post: (event: LibvirtEvent) => void;
  readonly #callbacks: { lifecycle: Pointer; blockJob: Pointer; close: Pointer };
  #connection: Connection | null = null;
  #ids: number[] = [];
  #closed: string | null = null;
  #wake = Promise.withResolvers<void>();

  constructor(lib: Libvirt, post: (event: LibvirtEvent) => void) {
    this.#lib = lib;
    // Thrown inside a callback an error is koffi's, and nobody hears of it.
    this.#post = (event) => queueMicrotask(() => post(event));
    this.#callbacks = {
      lifecycle: koffi.register(this.#lifecycle.bind(this), koffi.pointer(onLifecycle)),
      blockJob: koffi.register(this.#blockJob.bind(this), koffi.pointer(onBlockJob)),
      close: koffi.register(this.#close.bind(this), koffi.pointer(onClose)),
    };
  }

  /**
   * Null once everything that happens from then on is heard; else why not. The connection is this
   * line's from here on, to be closed by `leave`.
   */
  async listen(connection: Connection): Promise<string | null> {
    this.#connection = connection;
    this.#closed = null;
    this.#wake = Promise.withResolvers();
    const { handle } = connection;
    const { lifecycle, blockJob, close } = this.#callbacks;
    const lib = this.#lib;
    lib.resetLastError(handle);
    for (const [event, callback] of [
      [LIFECYCLE, lifecycle],
      [BLOCK_JOB_2, blockJob],
    ] as const) {
      const id = await lib.registerEvent(handle, event, callback);
      if (id < 0) return lib.lastError(handle).message;
      this.#ids.push(id);
    }
    // Refused where there is no daemon to lose (test:///default); `over` looks anyway.
    await lib.registerClose(handle, close);
    return null;
  }

  /** Why the connection was lost, as soon as it is; null once `stopping` is aborted. */
  async over(stopping: AbortSignal): Promise<string | null> {
    const connection = this.#connection;
    if (connection === null) return 'there is no connection';
    const { promise: woken, resolve } = this.#wake;
    const wake = () => resolve();
    stopping.addEventListener('abort', wake, { once: true });
    try {
      for (;;) {
        if (stopping.aborted) return null;
        const alive = await this.#lib.stillAlive(connection.handle);
        if (this.#closed === null && alive !== 1) this.#closed = 'the connection is dead';
        if (this.#closed !== null) return this.#closed;
        await within(woken, LOOK_EVERY_MS);
      }
    } finally {
      stopping.removeEventListener('abort', wake);
    }
  }

  /** Over threads of the pool: a daemon that has frozen is waited for until it is given up. */
  async leave(): Promise<void> {
    const connection = this.#connection;
    if (connection === null) return;
    const { handle } = connection;
    for (const id of this.#ids) await this.#lib.deregisterEvent(handle, id);
    await this.#lib.unregisterClose(handle, this.#callbacks.close);
    this.#connection = null;
    this.#ids = [];
    closeConnection(connection);
  }

  /** After the loop has ended: nothing can call them any more. */
  forget(): void {
    for (const callback of Object.values(this.#callbacks)) koffi.unregister(callback);
  }

  #lifecycle(_connection: Pointer, domain: Pointer, event: number, detail: number): number {
    this.#post({ kind: 'lifecycle', uuid: this.#lib.uuidOf(domain), event, detail });
    return 0;
  }

  #blockJob(_c: Pointer, domain: Pointer, target: string, type: number, number: number): void {
    const status = STATUSES[number];
    // A status of a later libvirt wakes nobody; whoever waits also polls.
    if (status === undefined) return;
    this.#post({ kind: 'job', uuid: this.#lib.uuidOf(domain), target, type, status });
  }

  #close(_connection: Pointer, reason: number): void {
    this.#closed = CLOSE_REASONS[reason] ?? `closed for reason ${reason}`;
    this.#wake.resolve();
  }
}

/** virConnectCloseReason */
const CLOSE_REASONS: readonly string[] = [
  'an I/O error on the connection',
  'the daemon closed the connection',
  'the daemon no longer answers keepalive',
  'closed by us',
];
