import { Worker } from 'node:worker_threads';
import {
  type Connection,
  closeConnection,
  LATE,
  openConnection,
  prepare,
  within,
} from './connection.ts';
import type { ToWorker } from './event-worker.ts';
import { libvirt } from './ffi.ts';

/** `type` as virDomainBlockJobType: 1 pull, 2 copy, 3 commit, 4 active commit. */
export type LibvirtEvent =
  | {
      readonly kind: 'job';
      readonly uuid: string;
      readonly target: string;
      readonly type: number;
      readonly status: 'completed' | 'failed' | 'canceled' | 'ready';
    }
  | {
      readonly kind: 'lifecycle';
      readonly uuid: string;
      readonly event: number;
      readonly detail: number;
    }
  | { readonly kind: 'connected' }
  | { readonly kind: 'disconnected'; readonly reason: string };

export type LibvirtListener = (event: LibvirtEvent) => void;

const OPEN_TIMEOUT_MS = 10_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** A worker that is inside a call to a daemon that froze just now is not waited for longer. */
const STOP_TIMEOUT_MS = 3_000;

/** GLib's main context, which libvirt's loop is, belongs to one thread of the process. */
let running = false;

/**
 * What libvirt reports by itself. Only a reason to look: events are lost while disconnected, and a
 * guest that dies sends none for its block job (measured). After `connected`, look at
 * everything one waits for.
 */
export class LibvirtEvents implements AsyncDisposable {
  readonly #uri: string;
  readonly #worker: Worker;
  readonly #listeners = new Set<LibvirtListener>();
  readonly #stopping = new AbortController();
  #connected = false;
  #reason: string | null = null;
  /** Settles with the end of the first attempt. */
  readonly #tried = Promise.withResolvers<void>();
  readonly #exited = Promise.withResolvers<void>();

  /**
   * Resolves when the first attempt to connect is over, whichever way; it goes on trying. One at a
   * time in a process.
   */
  static async start(uri: string): Promise<LibvirtEvents> {
    if (running) throw new Error('libvirt events are already being listened to');
    running = true;
    const events = new LibvirtEvents(uri);
    void events.#connect();
    await events.#tried.promise;
    return events;
  }

  private constructor(uri: string) {
    this.#uri = uri;
    // Before the worker's first round: it would find no loop to run.
    const lib = libvirt();
    if (lib.ok) prepare(lib.value);
    // Neither tsc nor Node rewrites a name in a URL: as built, this file is .js and so is that.
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    this.#worker = new Worker(new URL(`./event-worker.${extension}`, import.meta.url));
    // No listener for 'error': a worker that throws is a defect and ends the process.
    this.#worker.on('message', (event: LibvirtEvent) => this.#hear(event));
    this.#worker.on('exit', () => {
      running = false;
      this.#exited.resolve();
    });
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Why it is not connected; null while it is. */
  get reason(): string | null {
    return this.#connected ? null : this.#reason;
  }

  /** Answers how to stop listening. */
  on(listener: LibvirtListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Returns in a few seconds. A worker that is held by a frozen daemon is not terminated, since
   * its connection would be left with callbacks into a thread that is gone: it ends by itself
   * when keepalive gives the daemon up.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#listeners.clear();
    this.#connected = false;
    this.#send({ kind: 'stop' });
    const exited = await within(this.#exited.promise, STOP_TIMEOUT_MS);
    if (exited === LATE) this.#worker.unref();
  }

  /** Opens here and not in the worker, whose loop has to go on (see event-worker.ts). */
  async #connect(): Promise<void> {
    for (let pause = FIRST_PAUSE_MS; !this.#stopping.signal.aborted; pause *= 2) {
      const opened = await openConnection(this.#uri, OPEN_TIMEOUT_MS);
      if (opened.ok) return this.#hand(opened.value);
      this.#lost(opened.error);
      await sleep(Math.min(pause, LONGEST_PAUSE_MS), this.#stopping.signal);
    }
  }

  /** From here on the connection is the worker's to use and to close. */
  #hand(connection: Connection): void {
    if (this.#stopping.signal.aborted) closeConnection(connection);
    else this.#send({ kind: 'listen', connection: connection.handle });
  }

  #hear(event: LibvirtEvent): void {
    if (event.kind === 'connected') {
      this.#connected = true;
      this.#reason = null;
      this.#tried.resolve();
    }
    if (event.kind === 'disconnected') {
      this.#lost(event.reason);
      void sleep(FIRST_PAUSE_MS, this.#stopping.signal).then(() => this.#connect());
      return;
    }
    this.#tell(event);
  }

  /** Told once per loss, with the newest reason kept for whoever asks. */
  #lost(reason: string): void {
    const news = this.#connected || this.#reason === null;
    this.#connected = false;
    this.#reason = reason;
    this.#tried.resolve();
    if (news) this.#tell({ kind: 'disconnected', reason });
  }

  #tell(event: LibvirtEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  #send(message: ToWorker): void {
    this.#worker.postMessage(message);
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => {
    clearTimeout(timer);
    resolve();
  });
  return promise;
}
