import { readFileSync } from 'node:fs';
import { createSecureContext, type Server, type TlsOptions } from 'node:tls';
import { err, ok, type Result } from '#domain/result.ts';
import { LIMITS } from './limits.ts';

/** oslo.service's files (sslutils.py); with `caFile` a caller must show a certificate of its. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string | null;
}

/** What the files hold, or why no TLS can be made of them. */
export function readTls({ certFile, keyFile, caFile }: TlsFiles): Result<TlsOptions, string> {
  try {
    const callers = { requestCert: true, rejectUnauthorized: true };
    const pair = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
    const tls = { ...pair, ...(caFile !== null && { ca: readFileSync(caFile), ...callers }) };
    createSecureContext(tls);
    // Node's two minutes would let whoever says nothing keep a socket.
    return ok({ ...tls, handshakeTimeout: LIMITS.headersTimeoutMs });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const files = [certFile, keyFile, ...(caFile === null ? [] : [caFile])].join(', ');
    return err(`No TLS can be made of ${files}: ${why}`);
  }
}

/** Takes renewed files for whoever comes from now on; broken ones change nothing, and are told. */
export function renewTls(server: Pick<Server, 'setSecureContext'>, files: TlsFiles): string | null {
  const tls = readTls(files);
  if (!tls.ok) return tls.error;
  server.setSecureContext(tls.value);
  return null;
}
