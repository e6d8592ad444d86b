import { GuestCalls, type GuestState, type JobInfo } from './guest-calls.ts';
import { type Answer, Lane, type LaneOptions } from './lane.ts';
import { Pool } from './pool.ts';
import { Turns } from './turns.ts';

export interface LanesOptions extends LaneOptions {
  /** How many calls may be under way; each needs a thread, see UV_THREADPOOL_SIZE. */
  readonly size?: number;
}

export interface DomainEntry {
  readonly uuid: string;
  readonly name: string;
  readonly running: boolean;
}

const NOT_RUNNING = 0xffffffff;

/**
 * A guest that hangs holds one for as long as a call may take; what is not needed is not opened.
 * libvirtd has 20 threads for all its clients, and we have 32, two of which a guest may keep.
 */
const LANES = 8;

/**
 * A few lanes for many guests. One guest's turns are taken one after the other, in order; each
 * borrows any free lane, so that a stuck guest holds one lane until its time is over, and the
 * others go on over the rest.
 */
export class Lanes implements AsyncDisposable {
  readonly #all: readonly Lane[];
  readonly #pool: Pool<Lane>;
  readonly #guests = new Map<string, Turns>();

  constructor(uri: string, options: LanesOptions = {}) {
    const stuck = new Map<string, number>();
    const size = options.size ?? LANES;
    this.#all = Array.from({ length: size }, () => new Lane(uri, options, stuck));
    this.#pool = new Pool(this.#all);
  }

  /** How many guests' turns wait for a lane. */
  get waiting(): number {
    return this.#pool.waiting;
  }

  /**
   * Several calls about one guest with no other call of ours between them. `use` must not ask for
   * a turn of its own for the same guest: it would wait for itself. Where lanes are short those
   * that go `first` overtake other guests' turns, and never an earlier one of the same guest.
   */
  async turn<T>(uuid: string, use: (calls: GuestCalls) => Promise<T>, first = false): Promise<T> {
    const turns = this.#guests.get(uuid) ?? new Turns();
    this.#guests.set(uuid, turns);
    try {
      return await turns.take(() =>
        this.#pool.borrow((lane) => use(new GuestCalls(lane, uuid)), first),
      );
    } finally {
      if (turns.idle && this.#guests.get(uuid) === turns) this.#guests.delete(uuid);
    }
  }

  /** Every guest of the host, running or not. */
  listDomains(): Promise<Answer<readonly DomainEntry[]>> {
    const call = { name: 'virConnectListAllDomains', changes: false };
    return this.#pool.borrow((lane) =>
      lane.ask(call, async (lib, connection) => {
        const list: (bigint | null)[] = [null];
        const count = await lib.listAllDomains(connection, list, 0);
        if (count < 0) return null;
        return lib.takeDomains(list[0] ?? null, count).map((domain) => {
          const running = lib.idOf(domain) !== NOT_RUNNING;
          const entry = { uuid: lib.uuidOf(domain), name: lib.nameOf(domain), running };
          lib.freeDomain(domain);
          return entry;
        });
      }),
    );
  }

  /** libvirt's version as it counts: 9000000 is 9.0.0. Also the cheapest way to see it answer. */
  libVersion(): Promise<Answer<number>> {
    const call = { name: 'virConnectGetLibVersion', changes: false };
    return this.#pool.borrow((lane) =>
      lane.ask(call, async (lib, connection) => {
        const version = [0];
        return (await lib.libVersion(connection, version)) < 0 ? null : Number(version[0]);
      }),
    );
  }

  domainXml(uuid: string, inactive: boolean): Promise<Answer<string>> {
    return this.turn(uuid, (calls) => calls.xml(inactive));
  }

  state(uuid: string): Promise<Answer<GuestState>> {
    return this.turn(uuid, (calls) => calls.state());
  }

  jobInfo(uuid: string, target: string): Promise<Answer<JobInfo | null>> {
    return this.turn(uuid, (calls) => calls.jobInfo(target));
  }

  snapshotCreate(uuid: string, xml: string, flags: number): Promise<Answer<null>> {
    return this.turn(uuid, (calls) => calls.snapshotCreate(xml, flags));
  }

  blockCommit(
    uuid: string,
    target: string,
    base: string | null,
    top: string | null,
    bandwidth: number,
    flags: number,
  ): Promise<Answer<null>> {
    return this.turn(uuid, (calls) => calls.blockCommit(target, base, top, bandwidth, flags));
  }

  blockRebase(
    uuid: string,
    target: string,
    base: string | null,
    bandwidth: number,
    flags: number,
  ): Promise<Answer<null>> {
    return this.turn(uuid, (calls) => calls.blockRebase(target, base, bandwidth, flags));
  }

  blockJobAbort(uuid: string, target: string, flags: number): Promise<Answer<null>> {
    return this.turn(uuid, (calls) => calls.blockJobAbort(target, flags));
  }

  blockCapacity(uuid: string, target: string): Promise<Answer<number>> {
    return this.turn(uuid, (calls) => calls.blockCapacity(target));
  }

  blockResize(uuid: string, target: string, bytes: number): Promise<Answer<null>> {
    return this.turn(uuid, (calls) => calls.blockResize(target, bytes));
  }

  /** Waits for the calls under way, as long as each may take; later ones are `unreachable`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((lane) => lane[Symbol.asyncDispose]()));
  }
}
