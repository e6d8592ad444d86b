import type { Libvirt, Pointer } from './ffi.ts';

/** An object is some hundred bytes; more guests than a host has. */
const MOST = 1024;

/**
 * The objects of guests that were looked up over one connection, so that each is looked up once (a
 * round trip to the daemon, as long as many a call itself). An object stands for a uuid and for
 * nothing else: at each call the daemon finds the guest anew by it (qemuDomainObjFromDomain), also
 * one that was restarted, or defined anew (test/adapters/libvirt/lanes.live.test.ts). While a call
 * is under way the object is that call's, for one that never comes back uses it as long as that.
 */
export class Held {
  readonly #lib: Pick<Libvirt, 'freeDomain'>;
  readonly #most: number;
  readonly #domains = new Map<string, Pointer>();
  #open = true;

  constructor(lib: Pick<Libvirt, 'freeDomain'>, most = MOST) {
    this.#lib = lib;
    this.#most = most;
  }

  /** For a call; null when the guest must be looked up. */
  take(uuid: string): Pointer | null {
    const domain = this.#domains.get(uuid) ?? null;
    this.#domains.delete(uuid);
    return domain;
  }

  /** The call is back. What was used longest ago goes when there are too many. */
  give(uuid: string, domain: Pointer): void {
    if (!this.#open || this.#domains.has(uuid)) this.#lib.freeDomain(domain);
    else this.#domains.set(uuid, domain);
    if (this.#domains.size <= this.#most) return;
    const [oldest] = this.#domains.keys();
    this.#free(oldest ?? '');
  }

  /** The connection is about to be closed. */
  close(): void {
    this.#open = false;
    for (const uuid of this.#domains.keys()) this.#free(uuid);
  }

  #free(uuid: string): void {
    const domain = this.take(uuid);
    if (domain !== null) this.#lib.freeDomain(domain);
  }
}
