import { systemClock } from '../system/clock.ts';
import { type Connection, openConnection, prepare, within } from './connection.ts';
import { EventLine } from './event-line.ts';
import { type EventLoop, eventLoop } from './event-loop.ts';
import { type Libvirt, libvirt } from './ffi.ts';

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
/** A daemon that froze just now is not waited for longer. */
const STOP_TIMEOUT_MS = 3_000;

type Turn = (lib: Libvirt) => EventLoop;

/** GLib's main context, which libvirt's loop is, belongs to one thread of the process. */
let running = false;

/**
 * What libvirt reports by itself. Only a reason to look: events are lost while disconnected, and a
 * guest that dies sends none for its block job (measured). After `connected`, look at
 * everything one waits for.
 */
export class LibvirtEvents implements AsyncDisposable {
  readonly #uri: string;
  readonly #turn: Turn;
  readonly #listeners = new Set<LibvirtListener>();
  readonly #stopping = new AbortController();
  #connected = false;
  #reason: string | null = null;
  /** Settles with the end of the first attempt. */
  readonly #tried = Promise.withResolvers<void>();
  readonly #ended: Promise<void>;

  /**
   * Resolves when the first attempt to connect is over, whichever way; it goes on trying. One at a
   * time in a process. `turn` is who turns libvirt's loop.
   */
  static async start(uri: string, turn: Turn = eventLoop): Promise<LibvirtEvents> {
    if (running) throw new Error('libvirt events are already being listened to');
    running = true;
    const events = new LibvirtEvents(uri, turn);
    await events.#tried.promise;
    return events;
  }

  private constructor(uri: string, turn: Turn) {
    this.#uri = uri;
    this.#turn = turn;
    this.#ended = this.#run().finally(() => {
      running = false;
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
   * Returns in a few seconds. What a frozen daemon holds ends by itself when keepalive gives the
   * daemon up; until then the loop goes on, for it is what counts the pings.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    this.#listeners.clear();
    this.#connected = false;
    await within(this.#ended, STOP_TIMEOUT_MS);
  }

  async #run(): Promise<void> {
    const lib = libvirt();
    // Then nobody can connect either, and hears why.
    if (!lib.ok) return this.#listen(null);
    // Before the loop's first round: it would find none to run.
    prepare(lib.value);
    const loop = this.#turn(lib.value);
    const line = new EventLine(lib.value, (event) => this.#tell(event));
    await this.#listen(line);
    await loop.stop();
    line.forget();
  }

  /** Connects, and listens until the connection is lost; again and again. */
  async #listen(line: EventLine | null): Promise<void> {
    const { signal } = this.#stopping;
    for (let pause = FIRST_PAUSE_MS; !signal.aborted; pause *= 2) {
      const opened = await openConnection(this.#uri, OPEN_TIMEOUT_MS);
      if (opened.ok && line !== null) {
        if (await this.#hear(line, opened.value)) pause = FIRST_PAUSE_MS / 2;
      } else if (!opened.ok) this.#lost(opened.error);
      await systemClock.sleep(Math.min(pause, LONGEST_PAUSE_MS), signal);
    }
  }

  /** Listens over this connection, as long as there is one; whether it ever did. */
  async #hear(line: EventLine, connection: Connection): Promise<boolean> {
    const { signal } = this.#stopping;
    let reason = await line.listen(connection);
    const listened = reason === null && !signal.aborted;
    if (listened) {
      this.#connected = true;
      this.#reason = null;
      this.#tried.resolve();
      this.#tell({ kind: 'connected' });
      reason = await line.over(signal);
    }
    if (reason !== null && !signal.aborted) this.#lost(reason);
    await line.leave();
    return listened;
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
}
