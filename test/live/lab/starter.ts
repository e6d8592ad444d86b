/**
 * Defines and starts guests through libvirt's C library: without a virsh for each it takes half
 * the time, and a refusal comes with its code. The product never starts a guest, so its own
 * bindings have none of this.
 */
import { promisify } from 'node:util';
import koffi from 'koffi';
import { type Connection, openConnection } from '#adapters/libvirt/connection.ts';
import type { Pointer } from '#adapters/libvirt/ffi.ts';
import { err, ok, type Result } from '#domain/result.ts';

type Call<A extends unknown[], R> = (...args: A) => Promise<R>;

const START_PAUSED = 1;

/** One connection, with one call at a time: only then is its last error that call's. */
export class Starter implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #define: Call<[Pointer, string], Pointer | null>;
  readonly #create: Call<[Pointer, number], number>;
  readonly #undefine: Call<[Pointer], number>;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(connection: Connection) {
    const library = koffi.load('libvirt.so.0');
    const bind = (prototype: string) => promisify(library.func(prototype).async);
    this.#connection = connection;
    this.#define = bind('void *virDomainDefineXML(void *conn, str xml)') as never;
    this.#create = bind('int virDomainCreateWithFlags(void *domain, uint flags)') as never;
    this.#undefine = bind('int virDomainUndefine(void *domain)') as never;
  }

  static async open(uri: string): Promise<Starter> {
    const opened = await openConnection(uri, 10_000);
    if (!opened.ok) throw new Error(opened.error);
    return new Starter(opened.value);
  }

  /** Defines the guest as `xml` and starts it paused; or libvirt's error code. */
  start(xml: string): Promise<Result<null, { code: number; message: string }>> {
    return this.#alone(async () => {
      const { lib, handle } = this.#connection;
      lib.resetLastError(handle);
      const domain = await this.#define(handle, xml);
      if (domain === null) return err(lib.lastError(handle));
      const started = (await this.#create(domain, START_PAUSED)) === 0;
      const answer = started ? ok(null) : err(lib.lastError(handle));
      lib.freeDomain(domain);
      return answer;
    });
  }

  forget(uuid: string): Promise<void> {
    return this.#alone(async () => {
      const { lib, handle } = this.#connection;
      const domain = await lib.lookupByUuid(handle, uuid);
      if (domain === null) return;
      await this.#undefine(domain);
      lib.freeDomain(domain);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#turn;
    await this.#connection.lib.close(this.#connection.handle);
  }

  #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work);
    this.#turn = mine.catch(() => {});
    return mine;
  }
}
