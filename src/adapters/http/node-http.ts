/**
 * Node's own HTTP. An `import` of `node:http` reads all that it exports, and with it WebSocket:
 * Node then loads the undici that it has inside, which nobody here uses, some 3 MB of it.
 */
export const { METHODS, STATUS_CODES, request } = process.getBuiltinModule('node:http');
