import { err, ok, type Result } from '#domain/result.ts';
import { type Libvirt, libvirt, type Pointer } from './ffi.ts';
import { Held } from './held.ts';

/** An open connection to the daemon. A dead one never revives (measured). */
export interface Connection {
  readonly lib: Libvirt;
  readonly handle: Pointer;
  readonly held: Held;
}

/** A silent daemon gets 20 s, (count + 1) x interval; without this a call to it hangs for ever. */
const KEEPALIVE_S = 5;
const KEEPALIVE_COUNT = 3;

let prepared = false;

/** What has to happen once in a process before its first open. */
export function prepare(lib: Libvirt): void {
  if (prepared) return;
  prepared = true;
  lib.silence();
  lib.registerEventLoop();
}

/** The open that is under way: the next one waits for it (see recordOpenFailure). */
let opening: Promise<unknown> = Promise.resolve();

/**
 * Connects, or says in libvirt's words why not. A daemon that is frozen accepts the socket and
 * never answers: past `timeoutMs` the answer is no, and the connection is closed should it come.
 */
export async function openConnection(
  uri: string,
  timeoutMs: number,
): Promise<Result<Connection, string>> {
  const lib = libvirt();
  if (!lib.ok) return lib;
  prepare(lib.value);
  const waiting = { given: true };
  const attempt = opening.then(() =>
    waiting.given ? open(lib.value, uri) : err('nobody waits for it any more'),
  );
  opening = attempt;
  const opened = await within(attempt, timeoutMs);
  if (opened !== LATE) return opened;
  waiting.given = false;
  void attempt.then((late) => late.ok && closeConnection(late.value));
  return err(`${uri} did not answer within ${timeoutMs} ms`);
}

/** Never throws and never waits for an answer the daemon may not give. */
export function closeConnection({ lib, handle, held }: Connection): void {
  // Each of them keeps the connection open.
  held.close();
  lib.close(handle).catch(() => {});
}

/** What `within` answers when the time is over first; the promise goes on. */
export const LATE: unique symbol = Symbol('late');

export async function within<T>(promise: Promise<T>, ms: number): Promise<T | typeof LATE> {
  const { promise: late, resolve } = Promise.withResolvers<typeof LATE>();
  const timer = setTimeout(resolve, ms, LATE);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function open(lib: Libvirt, uri: string): Promise<Result<Connection, string>> {
  lib.recordOpenFailure();
  const handle = await lib.open(uri);
  lib.silence();
  if (handle === null) return err(lib.openFailure().message);
  lib.silenceConnection(handle);
  // Refused where nothing is remote, as for test:///default: then nothing can freeze either.
  await lib.setKeepAlive(handle, KEEPALIVE_S, KEEPALIVE_COUNT);
  return ok({ lib, handle, held: new Held(lib) });
}
