import type { Connection } from './connection.ts';
import type { Pointer } from './ffi.ts';

/**
 * A guest's object over the calls of one turn, so that it is looked up once (a round trip to the
 * daemon, as long as many a call itself). It is good on the connection that it was found on; while
 * a call is under way it is that call's, for one that never comes back uses it as long as that.
 */
export class Held {
  #has: { readonly connection: Connection; readonly domain: Pointer } | null = null;
  #open = true;

  /** For a call over this connection; null when it must be looked up. */
  take(connection: Connection): Pointer | null {
    const has = this.#has;
    if (has === null) return null;
    this.#has = null;
    if (has.connection === connection) return has.domain;
    has.connection.lib.freeDomain(has.domain);
    return null;
  }

  /** The call is back. */
  give(connection: Connection, domain: Pointer): void {
    if (this.#open && this.#has === null) this.#has = { connection, domain };
    else connection.lib.freeDomain(domain);
  }

  /** The turn is over. */
  close(): void {
    this.#open = false;
    if (this.#has !== null) this.#has.connection.lib.freeDomain(this.#has.domain);
    this.#has = null;
  }
}
