import { readFileSync } from 'node:fs';
import { buildConnector } from 'undici';

/** keystoneauth's options; `cafile` replaces the usual authorities. */
export interface TlsFiles {
  readonly cafile?: string;
  readonly certfile?: string;
  /** When left out, `certfile` holds the key too. */
  readonly keyfile?: string;
  readonly insecure?: boolean;
}

export interface Connections {
  readonly open: buildConnector.connector;
  /** Whether this error kept a connection from being made: then nothing was sent over it. */
  failed(error: unknown): boolean;
}

/**
 * undici's errors do not tell a reset while connecting from one after the request was sent (both
 * ECONNRESET), so the failures of connecting are remembered. The files are read for every
 * connection: a renewed certificate needs no restart, a missing file is a fault and not the end.
 */
export function connectionsWith(tls: TlsFiles, timeoutMs: number): Connections {
  const failures = new WeakSet<Error>();
  const open: buildConnector.connector = (target, callback) => {
    const fail = (error: Error) => {
      failures.add(error);
      callback(error, null);
    };
    try {
      const files = target.protocol === 'https:' ? read(tls) : {};
      const connect = buildConnector({ ...files, timeout: timeoutMs, allowH2: false });
      connect(target, (error, socket) => (error ? fail(error) : callback(null, socket)));
    } catch (error) {
      queueMicrotask(() => fail(error instanceof Error ? error : new Error(String(error))));
    }
  };
  return { open, failed: (error) => error instanceof Error && failures.has(error) };
}

const read = ({ cafile, certfile, keyfile, insecure }: TlsFiles) => ({
  ...(cafile ? { ca: readFileSync(cafile) } : {}),
  ...(certfile ? { cert: readFileSync(certfile), key: readFileSync(keyfile ?? certfile) } : {}),
  rejectUnauthorized: insecure !== true,
});
