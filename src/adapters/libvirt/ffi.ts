import { promisify } from 'node:util';
import koffi from 'koffi';
import { err, ok, type Result } from '#domain/result.ts';
import { events } from './events-ffi.ts';
import { statistics } from './stats-ffi.ts';

/** The address of a libvirt object: good in every thread of the process, until it is freed. */
export type Pointer = bigint;

/** What libvirt said; numbers as in libvirt/virterror.h. */
export interface LibvirtError {
  readonly code: number;
  readonly domain: number;
  readonly message: string;
}

/** koffi gives a 64-bit number as a bigint once it does not fit. */
export type Long = number | bigint;

/** virDomainBlockJobInfo and virDomainBlockInfo, filled by the call. */
export type BlockJobInfo = { type?: number; bandwidth?: Long; cur?: Long; end?: Long };
export type BlockInfo = { capacity?: Long; allocation?: Long; physical?: Long };

export type Libvirt = ReturnType<typeof bind>;

let loaded: Result<Libvirt, string> | null = null;

/** The C library, loaded at the first call; the answer is remembered, also when it is no. */
export function libvirt(): Result<Libvirt, string> {
  loaded ??= load();
  return loaded;
}

/**
 * Ends the process at once. process.exit() waits for calls that are stuck in libvirt, for ever if
 * need be (house.md, traps); this does not, so everything must be on disk before.
 */
export function exitNow(code: number): never {
  koffi.load('libc.so.6').func('void _exit(int code)')(code);
  throw new Error('_exit returned');
}

function load(): Result<Libvirt, string> {
  try {
    return ok(bind());
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return err(`Cannot use libvirt's client library (${why}): install Debian's libvirt0.`);
  }
}

export type Library = ReturnType<typeof koffi.load>;
type Spec = Parameters<typeof koffi.alloc>[0];
type Any = (...args: never[]) => unknown;
type Remote<F extends Any> = (...args: Parameters<F>) => Promise<ReturnType<F>>;

/** A prototype as in the C header, or its parts where a type has no name. */
type Prototype = string | readonly [name: string, result: Spec, args: Spec[]];

const declare = (library: Library, prototype: Prototype) =>
  typeof prototype === 'string' ? library.func(prototype) : library.func(...prototype);

/** Waits for the daemon: on libuv's pool, so that a stuck call does not stop this thread. */
export const remoteOf =
  (library: Library) =>
  <F extends Any>(prototype: Prototype): Remote<F> =>
    promisify(declare(library, prototype).async) as Remote<F>;

/** Answers from memory. */
export const localOf =
  (library: Library) =>
  <F extends Any>(prototype: Prototype): F =>
    declare(library, prototype) as unknown as F;

/** Types have no names here: koffi's registry is per thread and refuses a name the second time. */
const out = (type: Spec) => koffi.out(koffi.pointer(type)) as unknown as Spec;
const JOB_INFO = koffi.struct({ type: 'int', bandwidth: 'ulong', cur: 'uint64', end: 'uint64' });
const BLOCK_INFO = koffi.struct({ capacity: 'uint64', allocation: 'uint64', physical: 'uint64' });

/** A char* that is ours to free: plain 'str' leaked 66 MiB in 20,000 calls (measured). */
const HEAP_STRING = koffi.disposable('str', koffi.free);

/** Of libvirt as its calls tell it, 6.1.0: from here on its event loop is GLib's. */
const GLIB = 6_001_000;

function bind() {
  const library = koffi.load('libvirt.so.0');
  const version: number[] = [0];
  library.func('int virGetVersion(_Out_ ulong *of, str driver, _Out_ ulong *ofDriver)')(
    version,
    null,
    null,
  );
  // A C function that does nothing, in place of callbacks that must not reach JavaScript.
  const nothing: Pointer = koffi.load('libc.so.6').symbol('labs');
  return {
    ...errors(library, nothing),
    ...connections(library),
    ...domains(library),
    ...disks(library),
    ...events(library, Number(version[0]) >= GLIB, nothing),
    ...statistics(library),
  };
}

function errors(library: Library, nothing: Pointer) {
  const local = localOf(library);
  const setErrorFunc = local<(data: Pointer | null, handler: Pointer) => void>(
    'void virSetErrorFunc(void *data, void *handler)',
  );
  const connSetErrorFunc = local<(c: Pointer, data: null, handler: Pointer) => void>(
    'void virConnSetErrorFunc(void *conn, void *data, void *handler)',
  );
  const copyLastError = local<(connection: Pointer, to: Pointer) => number>(
    'int virConnCopyLastError(void *conn, void *to)',
  );
  const resetError = local<(error: Pointer) => void>('void virResetError(void *error)');
  const recorder: Pointer = library.symbol('virCopyLastError');
  // virError: 80 bytes of which the first 16 matter (measured); copies own their strings.
  const head = koffi.struct({ code: 'int', domain: 'int', message: 'str' });
  const zeroed = (): Pointer => {
    const at = koffi.alloc('uint64', 10);
    koffi.encode(at, koffi.array('uint64', 10), new Array(10).fill(0));
    return at;
  };
  const ofCall = zeroed();
  const ofOpen = zeroed();
  const take = (at: Pointer): LibvirtError => {
    const { code, domain, message } = koffi.decode(at, head);
    resetError(at);
    return { code, domain, message: message ?? 'libvirt gave no reason' };
  };
  return {
    /** Exact while one call at a time is in flight on a connection; 151 of 900 wrong with more. */
    lastError: (connection: Pointer): LibvirtError => {
      copyLastError(connection, ofCall);
      return take(ofCall);
    },
    /** A success does not clear the last error: this before each call. */
    resetLastError: local<(connection: Pointer) => void>('void virConnResetLastError(void *conn)'),
    /** Without a handler libvirt prints every error to stderr. */
    silence: (): void => setErrorFunc(null, nothing),
    silenceConnection: (connection: Pointer): void => connSetErrorFunc(connection, null, nothing),
    /**
     * A failed open leaves no connection to ask, and its error is in a pool thread's own memory.
     * libvirt calls handler(data, error) in that thread: with virCopyLastError as the handler it
     * copies the error here, in C, so that no thread has to wait for JavaScript. Two threads that
     * fail at the same time would corrupt it: one open at a time, and `silence` after it.
     */
    recordOpenFailure: (): void => setErrorFunc(ofOpen, recorder),
    openFailure: (): LibvirtError => take(ofOpen),
  };
}

function connections(library: Library) {
  const remote = remoteOf(library);
  const local = localOf(library);
  return {
    open: remote<(uri: string) => Pointer | null>('void *virConnectOpen(str uri)'),
    close: remote<(connection: Pointer) => number>('int virConnectClose(void *conn)'),
    isAlive: local<(connection: Pointer) => number>('int virConnectIsAlive(void *conn)'),
    setKeepAlive: remote<(connection: Pointer, seconds: number, count: number) => number>(
      'int virConnectSetKeepAlive(void *conn, int interval, uint count)',
    ),
    libVersion: remote<(connection: Pointer, version: number[]) => number>(
      'int virConnectGetLibVersion(void *conn, _Out_ ulong *version)',
    ),
    listAllDomains: remote<(connection: Pointer, list: (Pointer | null)[], f: number) => number>(
      'int virConnectListAllDomains(void *conn, _Out_ void **domains, uint flags)',
    ),
    /** What listAllDomains pointed to. Frees the list; its domains are for the caller to free. */
    takeDomains: (list: Pointer | null, count: number): readonly Pointer[] => {
      if (list === null) return [];
      const found = count > 0 ? koffi.decode(list, koffi.array('void *', count)) : [];
      koffi.free(list);
      return found;
    },
  };
}

function domains(library: Library) {
  const remote = remoteOf(library);
  const local = localOf(library);
  const uuidString = local<(domain: Pointer, text: Buffer) => number>(
    'int virDomainGetUUIDString(void *domain, void *text)',
  );
  return {
    lookupByUuid: remote<(connection: Pointer, uuid: string) => Pointer | null>(
      'void *virDomainLookupByUUIDString(void *conn, str uuid)',
    ),
    lookupByName: remote<(connection: Pointer, name: string) => Pointer | null>(
      'void *virDomainLookupByName(void *conn, str name)',
    ),
    freeDomain: local<(domain: Pointer) => number>('int virDomainFree(void *domain)'),
    uuidOf: (domain: Pointer): string => {
      const text = Buffer.alloc(37);
      return uuidString(domain, text) < 0 ? '' : text.toString('latin1', 0, 36);
    },
    nameOf: local<(domain: Pointer) => string>('str virDomainGetName(void *domain)'),
    /** 0xffffffff for a guest that does not run. */
    idOf: local<(domain: Pointer) => number>('uint virDomainGetID(void *domain)'),
    state: remote<(domain: Pointer, state: number[], reason: number[], flags: number) => number>(
      'int virDomainGetState(void *domain, _Out_ int *state, _Out_ int *reason, uint flags)',
    ),
    xmlDesc: remote<(domain: Pointer, flags: number) => string | null>([
      'virDomainGetXMLDesc',
      HEAP_STRING,
      ['void *', 'uint'],
    ]),
    /** Borrowed from the domain: it lives as long as the domain does. */
    connectionOf: local<(domain: Pointer) => Pointer>('void *virDomainGetConnect(void *domain)'),
    defineXml: remote<(connection: Pointer, xml: string, flags: number) => Pointer | null>(
      'void *virDomainDefineXMLFlags(void *conn, str xml, uint flags)',
    ),
    /** 1 when the guest's memory was saved as it was shut off, to be restored at its start. */
    hasManagedSave: remote<(domain: Pointer, flags: number) => number>(
      'int virDomainHasManagedSaveImage(void *domain, uint flags)',
    ),
    suspend: remote<(domain: Pointer) => number>('int virDomainSuspend(void *domain)'),
    resume: remote<(domain: Pointer) => number>('int virDomainResume(void *domain)'),
    coreDump: remote<(domain: Pointer, to: string, flags: number) => number>(
      'int virDomainCoreDump(void *domain, const char *to, unsigned int flags)',
    ),
    agentSetResponseTimeout: remote<(domain: Pointer, seconds: number, flags: number) => number>(
      'int virDomainAgentSetResponseTimeout(void *domain, int timeout, uint flags)',
    ),
    /** How many file systems were thawed, or -1; null mount points are all of them. */
    fsThaw: remote<(domain: Pointer, mountPoints: null, count: number, flags: number) => number>(
      'int virDomainFSThaw(void *domain, void *mountpoints, uint count, uint flags)',
    ),
    snapshotCreate: remote<(domain: Pointer, xml: string, flags: number) => Pointer | null>(
      'void *virDomainSnapshotCreateXML(void *domain, str xml, uint flags)',
    ),
    freeSnapshot: local<(snapshot: Pointer) => number>('int virDomainSnapshotFree(void *it)'),
  };
}

type File = string | null;

function disks(library: Library) {
  const remote = remoteOf(library);
  return {
    blockCommit: remote<
      (domain: Pointer, disk: string, base: File, top: File, mib: number, flags: number) => number
    >('int virDomainBlockCommit(void *domain, str disk, str base, str top, ulong bw, uint flags)'),
    blockRebase: remote<
      (domain: Pointer, disk: string, base: File, mib: number, flags: number) => number
    >('int virDomainBlockRebase(void *domain, str disk, str base, ulong bw, uint flags)'),
    blockJobAbort: remote<(domain: Pointer, disk: string, flags: number) => number>(
      'int virDomainBlockJobAbort(void *domain, str disk, uint flags)',
    ),
    blockJobInfo: remote<
      (domain: Pointer, disk: string, info: BlockJobInfo, flags: number) => number
    >(['virDomainGetBlockJobInfo', 'int', ['void *', 'str', out(JOB_INFO), 'uint']]),
    blockInfo: remote<(domain: Pointer, disk: string, info: BlockInfo, flags: number) => number>([
      'virDomainGetBlockInfo',
      'int',
      ['void *', 'str', out(BLOCK_INFO), 'uint'],
    ]),
    blockResize: remote<(domain: Pointer, disk: string, size: number, flags: number) => number>(
      'int virDomainBlockResize(void *domain, str disk, uint64 size, uint flags)',
    ),
  };
}
