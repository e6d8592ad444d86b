import { type Library, localOf, type Pointer, remoteOf } from './ffi.ts';

/** libvirt's event loop, and who is called by it. */
export function events(library: Library) {
  const local = localOf(library);
  const remote = remoteOf(library);
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
    /**
     * That loop is GLib's main context (src/util/vireventglib.c, see OLDEST), and
     * virEventRunDefaultImpl one round of it: libvirt is linked with what runs all of them.
     */
    newMainLoop: local<(context: null, running: number) => Pointer>(
      'void *g_main_loop_new(void *context, int running)',
    ),
    runMainLoop: remote<(loop: Pointer) => void>('void g_main_loop_run(void *loop)'),
    quitMainLoop: local<(loop: Pointer) => void>('void g_main_loop_quit(void *loop)'),
    freeMainLoop: local<(loop: Pointer) => void>('void g_main_loop_unref(void *loop)'),
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
