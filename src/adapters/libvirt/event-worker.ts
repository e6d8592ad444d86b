import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import koffi from 'koffi';
import type { LibvirtEvent } from './events.ts';
import { type Libvirt, libvirt, type Pointer } from './ffi.ts';

/**
 * The thread that waits for libvirt's events: a synchronous loop, so that callbacks run right
 * here and their messages leave at once. It also answers the keepalive pings of idle lanes. It
 * is told its connections and never opens one: an open can hang, and the loop must not.
 */
export type ToWorker =
  | { readonly kind: 'listen'; readonly connection: Pointer }
  | { readonly kind: 'stop' };

/** How long a message from the main thread may wait for the loop to look. */
const TICK_MS = 100;

// include/libvirt/libvirt-domain.h: virDomainEventID, virConnectDomainEventBlockJobStatus.
const LIFECYCLE = 0;
const BLOCK_JOB_2 = 16;
const STATUSES = ['completed', 'failed', 'canceled', 'ready'] as const;

const onLifecycle = koffi.proto('int', ['void *', 'void *', 'int', 'int', 'void *']);
const onBlockJob = koffi.proto('void', ['void *', 'void *', 'str', 'int', 'int', 'void *']);
const onClose = koffi.proto('void', ['void *', 'int', 'void *']);

function loop(port: MessagePort): void {
  const loaded = libvirt();
  // Then the main thread cannot connect either, and says why.
  if (!loaded.ok) return void port.once('message', () => port.close());
  const lib = loaded.value;
  const ticker = lib.addTicker(TICK_MS);
  const listener = new Listener(lib, (message) => port.postMessage(message));
  for (;;) {
    const message: ToWorker | undefined = receiveMessageOnPort(port)?.message;
    if (message?.kind === 'listen') listener.listen(message.connection);
    if (message?.kind === 'stop') break;
    lib.runEventLoop();
    listener.check();
  }
  listener.leave();
  // libvirt frees what was removed in the round after.
  lib.runEventLoop();
  lib.removeTicker(ticker);
  port.close();
}

/** One connection's registrations. All of it runs on this thread, inside the loop's rounds. */
class Listener {
  readonly #lib: Libvirt;
  readonly #post: (message: LibvirtEvent) => void;
  readonly #callbacks: { lifecycle: Pointer; blockJob: Pointer; close: Pointer };
  #connection: Pointer | null = null;
  #ids: number[] = [];
  #closed: string | null = null;

  constructor(lib: Libvirt, post: (message: LibvirtEvent) => void) {
    this.#lib = lib;
    this.#post = post;
    this.#callbacks = {
      lifecycle: koffi.register(this.#lifecycle.bind(this), koffi.pointer(onLifecycle)),
      blockJob: koffi.register(this.#blockJob.bind(this), koffi.pointer(onBlockJob)),
      close: koffi.register(this.#close.bind(this), koffi.pointer(onClose)),
    };
  }

  /** Registers first and says `connected` after: what happens from then on is not missed. */
  listen(connection: Pointer): void {
    this.leave();
    this.#connection = connection;
    this.#closed = null;
    const { lifecycle, blockJob, close } = this.#callbacks;
    const lib = this.#lib;
    lib.resetLastError(connection);
    this.#ids = [
      lib.registerEvent(connection, LIFECYCLE, lifecycle),
      lib.registerEvent(connection, BLOCK_JOB_2, blockJob),
    ];
    // Refused where there is no daemon to lose (test:///default); check() looks anyway.
    lib.registerClose(connection, close);
    if (this.#ids.some((id) => id < 0)) this.#closed = lib.lastError(connection).message;
    else this.#post({ kind: 'connected' });
  }

  /** After each round: callbacks only note the end, since libvirt is on the stack then. */
  check(): void {
    if (this.#connection === null) return;
    if (this.#closed === null && this.#lib.isAlive(this.#connection) !== 1) {
      this.#closed = 'the connection is dead';
    }
    if (this.#closed === null) return;
    const reason = this.#closed;
    this.leave();
    this.#post({ kind: 'disconnected', reason });
  }

  leave(): void {
    if (this.#connection === null) return;
    for (const id of this.#ids) if (id >= 0) this.#lib.deregisterEvent(this.#connection, id);
    this.#lib.unregisterClose(this.#connection, this.#callbacks.close);
    this.#lib.closeNow(this.#connection);
    this.#connection = null;
    this.#ids = [];
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
  }
}

/** virConnectCloseReason */
const CLOSE_REASONS: readonly string[] = [
  'an I/O error on the connection',
  'the daemon closed the connection',
  'the daemon no longer answers keepalive',
  'closed by us',
];

if (parentPort) loop(parentPort);
