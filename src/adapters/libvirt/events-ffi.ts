import { type Library, localOf, type Pointer, remoteOf } from './ffi.ts';

/** libvirt's event loop, and who is called by it. */
export function events(library: Library, isGlib: boolean, nothing: Pointer) {
  const local = localOf(library);
  const remote = remoteOf(library);
  const addTimeout = local<(ms: number, callback: Pointer, data: null, free: null) => number>(
    'int virEventAddTimeout(int ms, void *callback, void *data, void *free)',
  );
  const register = remote<
    (c: Pointer, d: null, event: number, callback: Pointer, data: null, free: null) => number
  >([
    'virConnectDomainEventRegisterAny',
    'int',
    ['void *', 'void *', 'int', 'void *', 'void *', 'void *'],
  ]);
  const registerClose = remote<(c: Pointer, callback: Pointer, data: null, free: null) => number>([
    'virConnectRegisterCloseCallback',
    'int',
    ['void *', 'void *', 'void *', 'void *'],
  ]);
  return {
    /** Once in a process, before its first open: connections made earlier never get events. */
    registerEventLoop: local<() => number>('int virEventRegisterDefaultImpl()'),
    mainLoop: isGlib ? mainLoop(library) : null,
    /** One round of the loop: waits for the next event or timer; callbacks run in there. */
    runRound: remote<() => number>('int virEventRunDefaultImpl()'),
    /** Makes every round end after `ms` at the latest. */
    addTicker: (ms: number): number => addTimeout(ms, nothing, null, null),
    removeTicker: local<(ticker: number) => number>('int virEventRemoveTimeout(int timer)'),
    /** Of all guests; `callback` is a registered one. 0 is a good answer, -1 is not. */
    registerEvent: (connection: Pointer, event: number, callback: Pointer): Promise<number> =>
      register(connection, null, event, callback, null, null),
    deregisterEvent: remote<(connection: Pointer, id: number) => number>(
      'int virConnectDomainEventDeregisterAny(void *conn, int id)',
    ),
    registerClose: (connection: Pointer, callback: Pointer): Promise<number> =>
      registerClose(connection, callback, null, null),
    unregisterClose: remote<(connection: Pointer, callback: Pointer) => number>(
      'int virConnectUnregisterCloseCallback(void *conn, void *callback)',
    ),
    /** For a connection whose callbacks may be waiting for this thread. */
    stillAlive: remote<(connection: Pointer) => number>('int virConnectIsAlive(void *conn)'),
  };
}

/**
 * Since 6.1 the loop is GLib's main context (src/util/vireventglib.c), and virEventRunDefaultImpl
 * one round of it: libvirt is linked with what runs all of them.
 */
function mainLoop(library: Library) {
  const local = localOf(library);
  const make = local<(context: null, running: number) => Pointer>(
    'void *g_main_loop_new(void *context, int running)',
  );
  return {
    make: (): Pointer => make(null, 0),
    run: remoteOf(library)<(loop: Pointer) => void>('void g_main_loop_run(void *loop)'),
    quit: local<(loop: Pointer) => void>('void g_main_loop_quit(void *loop)'),
    free: local<(loop: Pointer) => void>('void g_main_loop_unref(void *loop)'),
  };
}
