import { err, ok, type Result } from '#domain/result.ts';
import { type Connection, closeConnection, LATE, openConnection, within } from './connection.ts';
import type { Libvirt, LibvirtError, Pointer } from './ffi.ts';
import type { Held } from './held.ts';
import { Turns } from './turns.ts';

export type { LibvirtError } from './ffi.ts';

/** Why a call brought nothing. */
export type CallFault =
  /** Nothing was started: trying again is safe. */
  | { readonly kind: 'unreachable'; readonly message: string }
  /** The daemon said no. */
  | { readonly kind: 'rejected'; readonly error: LibvirtError }
  /** The connection died, or time ran out, while it was under way: nobody knows. Look again. */
  | { readonly kind: 'unknown'; readonly message: string };

export type Answer<T> = Result<T, CallFault>;

export interface Call {
  readonly name: string;
  /** Whether it does something. What only reads is asked again over a new connection. */
  readonly changes: boolean;
  readonly timeoutMs?: number;
}

export interface LaneOptions {
  readonly openTimeoutMs?: number;
  /** Longer than the 30 s a call waits for a guest's lock in the daemon (measured). */
  readonly callTimeoutMs?: number;
}

/** So many calls about one guest may hang; more would only eat up the thread pool. */
const MOST_STUCK = 2;

/**
 * And so many about all of them. Each keeps one of 32 threads, the event loop has one, and a call
 * that waits for a thread is given up with nobody to say that it is not begun later.
 */
const MOST_STUCK_IN_ALL = 16;

/** A domain number of libvirt/virterror.h: errors of the connection itself. */
const FROM_RPC = 7;
/** Internal error, system error, RPC error. */
const LOST_CODES: readonly number[] = [1, 38, 39];

/** What became of one call to the C library. */
type Outcome<T> =
  | { readonly kind: 'done'; readonly value: T }
  | { readonly kind: 'rejected'; readonly error: LibvirtError }
  | { readonly kind: 'lost'; readonly message: string }
  | { readonly kind: 'late'; readonly message: string };

/**
 * One connection with at most one call in flight: only then is the connection's last error the
 * error of that call, and five stuck calls cannot freeze it (measured). It opens
 * when needed, and again when it is dead. A call that takes too long keeps its connection and
 * thread until it comes back; the lane goes on with a new connection.
 */
export class Lane {
  readonly #uri: string;
  readonly #openTimeoutMs: number;
  readonly #callTimeoutMs: number;
  readonly #stuck: Map<string, number>;
  readonly #turns = new Turns();
  #connection: Connection | null = null;
  #closed = false;

  /** `stuck` counts the calls per guest that have not come back; lanes of one pool share it. */
  constructor(uri: string, options: LaneOptions = {}, stuck = new Map<string, number>()) {
    this.#uri = uri;
    this.#openTimeoutMs = options.openTimeoutMs ?? 10_000;
    this.#callTimeoutMs = options.callTimeoutMs ?? 45_000;
    this.#stuck = stuck;
  }

  /** A call on the connection itself. `use` answers null for libvirt's failure value. */
  ask<T>(
    call: Call,
    use: (lib: Libvirt, connection: Pointer) => Promise<T | null>,
  ): Promise<Answer<T>> {
    return this.#persist(call, (connection) => this.#run(connection, call, '', use));
  }

  /** A call about one guest, whose object `use` gets. */
  call<T>(
    call: Call & { readonly uuid: string },
    use: (lib: Libvirt, domain: Pointer) => Promise<T | null>,
  ): Promise<Answer<T>> {
    const lookup = { name: 'virDomainLookupByUUIDString', changes: false };
    const { uuid } = call;
    return this.#persist(call, async (connection) => {
      const { held } = connection;
      const known = held.take(uuid);
      const found =
        known === null
          ? await this.#run(connection, lookup, uuid, (lib, on) => lookUp(lib, on, uuid, held))
          : { kind: 'done' as const, value: known };
      // Nothing was started yet, whatever the call was to do.
      if (found.kind !== 'done') return found.kind === 'rejected' ? found : { ...found, early };
      const domain = held.take(uuid) ?? found.value;
      return this.#run(connection, call, uuid, (lib) =>
        use(lib, domain).finally(() => held.give(uuid, domain)),
      );
    });
  }

  /** After the call in flight. One that is stuck is left to itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#turns.take(async () => this.#drop());
  }

  /** Connects and tries; a connection that was found dead is worth a second try, once. */
  #persist<T>(
    call: Call & { readonly uuid?: string },
    attempt: (connection: Connection) => Promise<Outcome<T> & { early?: true }>,
  ): Promise<Answer<T>> {
    return this.#turns.take(async () => {
      const stuck = this.#stuck.get(call.uuid ?? '') ?? 0;
      if (stuck >= MOST_STUCK) return unreachable(`${stuck} earlier calls have not come back`);
      const all = [...this.#stuck.values()].reduce((sum, more) => sum + more, 0);
      if (all >= MOST_STUCK_IN_ALL) return unreachable(`${all} calls have not come back`);
      for (let again = true; ; again = false) {
        const connection = await this.#connect();
        if (!connection.ok) return connection;
        const outcome = await attempt(connection.value);
        const started = call.changes && !outcome.early;
        if (outcome.kind === 'done') return ok(outcome.value);
        if (outcome.kind === 'rejected') return err(outcome);
        if (outcome.kind === 'lost' && !started) {
          if (again) continue;
          return unreachable(outcome.message);
        }
        const kind = outcome.early ? 'unreachable' : 'unknown';
        return err({ kind, message: outcome.message });
      }
    });
  }

  async #connect(): Promise<Answer<Connection>> {
    if (this.#closed) return unreachable('closed');
    const { lib, handle } = this.#connection ?? {};
    if (lib && handle && lib.isAlive(handle) !== 1) this.#drop();
    if (this.#connection) return ok(this.#connection);
    const opened = await openConnection(this.#uri, this.#openTimeoutMs);
    if (!opened.ok) return unreachable(opened.error);
    this.#connection = opened.value;
    return opened;
  }

  async #run<T>(
    connection: Connection,
    call: Call,
    uuid: string,
    use: (lib: Libvirt, handle: Pointer) => Promise<T | null>,
  ): Promise<Outcome<T>> {
    const { lib, handle } = connection;
    const timeoutMs = call.timeoutMs ?? this.#callTimeoutMs;
    lib.resetLastError(handle);
    const running = use(lib, handle);
    const answer = await within(running, timeoutMs);
    if (answer === LATE) {
      this.#abandon(connection, uuid, running);
      return { kind: 'late', message: `${call.name} did not come back within ${timeoutMs} ms` };
    }
    if (answer !== null) return { kind: 'done', value: answer };
    const error = lib.lastError(handle);
    const lost = error.domain === FROM_RPC && LOST_CODES.includes(error.code);
    if (!lost && lib.isAlive(handle) === 1) return { kind: 'rejected', error };
    this.#drop();
    return { kind: 'lost', message: `${call.name}: ${error.message}` };
  }

  /** Closed when its call comes back, and not before: the call is still using it. */
  #abandon(connection: Connection, uuid: string, running: Promise<unknown>): void {
    this.#connection = null;
    this.#stuck.set(uuid, (this.#stuck.get(uuid) ?? 0) + 1);
    const back = () => {
      closeConnection(connection);
      const left = (this.#stuck.get(uuid) ?? 1) - 1;
      if (left > 0) this.#stuck.set(uuid, left);
      else this.#stuck.delete(uuid);
    };
    running.then(back, back);
  }

  #drop(): void {
    if (this.#connection) closeConnection(this.#connection);
    this.#connection = null;
  }
}

/** What comes back when nobody waits for it any more is freed with its connection. */
async function lookUp(
  lib: Libvirt,
  on: Pointer,
  uuid: string,
  held: Held,
): Promise<Pointer | null> {
  const domain = await lib.lookupByUuid(on, uuid);
  if (domain !== null) held.give(uuid, domain);
  return domain;
}

const early = true as const;

const unreachable = (message: string): Result<never, CallFault> =>
  err({ kind: 'unreachable', message });
