import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type Server, type TlsOptions } from 'node:tls';
import { err, ok, type Result } from '#domain/result.ts';
import { codeOf, whyNot } from '../system/access.ts';
import { LIMITS } from './limits.ts';

/** oslo.service's files (sslutils.py); with `caFile` a caller must show a certificate of its. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string | null;
}

/** What the files hold, or why no TLS can be made of them: which file, and what to do. */
export function readTls({ certFile, keyFile, caFile }: TlsFiles): Result<TlsOptions, string> {
  const read: Buffer[] = [];
  for (const file of [certFile, keyFile, ...(caFile === null ? [] : [caFile])]) {
    try {
      read.push(readFileSync(file));
    } catch (error) {
      return no(`${file} cannot be read: ${whyNot(codeOf(error))}`);
    }
  }
  const [cert, key, ca] = read;
  if (!cert || !key) return no('there are no files');
  const own = certificateIn(cert);
  if (own === null) return no(`${certFile} holds no certificate: it must be PEM`);
  // Node would take any text for one, and then let nobody in.
  if (ca && certificateIn(ca) === null) {
    return no(`${caFile} holds no certificate: it must be PEM`);
  }
  const callers = { requestCert: true, rejectUnauthorized: true };
  const tls = { cert, key, ...(ca && { ca, ...callers }) };
  try {
    createSecureContext(tls);
    // OpenSSL compares those of one kind only, and a key of another kind would serve nobody.
    if (!own.checkPrivateKey(createPrivateKey(key))) {
      return no(refused('ERR_OSSL_X509_KEY_VALUES_MISMATCH', { certFile, keyFile }));
    }
  } catch (error) {
    return no(refused(codeOf(error), { certFile, keyFile }));
  }
  // Node's two minutes would let whoever says nothing keep a socket.
  return ok({ ...tls, handshakeTimeout: LIMITS.headersTimeoutMs });
}

/** Takes renewed files for whoever comes from now on; broken ones change nothing, and are told. */
export function renewTls(server: Pick<Server, 'setSecureContext'>, files: TlsFiles): string | null {
  const tls = readTls(files);
  if (!tls.ok) return tls.error;
  server.setSecureContext(tls.value);
  return null;
}

const no = (why: string) => err(`No TLS can be made: ${why}`);

/** The first certificate of a PEM file. */
function certificateIn(bytes: Buffer): X509Certificate | null {
  if (!bytes.includes('-----BEGIN ')) return null;
  try {
    return new X509Certificate(bytes);
  } catch {
    return null;
  }
}

/** OpenSSL's reasons (crypto/err/openssl.txt), as Node hands them on. */
function refused(code: string, files: Pick<TlsFiles, 'certFile' | 'keyFile'>): string {
  const { certFile, keyFile } = files;
  switch (code) {
    case 'ERR_OSSL_X509_KEY_VALUES_MISMATCH':
    case 'ERR_OSSL_X509_KEY_TYPE_MISMATCH':
      return `${keyFile} is not the key of ${certFile}: name the two that belong together`;
    case 'ERR_OSSL_BAD_DECRYPT':
    case 'ERR_OSSL_CRYPTO_INTERRUPTED_OR_CANCELLED':
    case 'ERR_OSSL_UI_PROCESSING_ERROR':
      return `${keyFile} has a passphrase: take it away (openssl pkey), and guard it by its mode`;
    case 'ERR_OSSL_UNSUPPORTED':
    case 'ERR_OSSL_PEM_NO_START_LINE':
      return `${keyFile} holds no private key: it must be PEM`;
    case 'ERR_SSL_EE_KEY_TOO_SMALL':
      return `the key of ${certFile} is too short to be safe: make one of 2048 bits or more`;
    default:
      return `OpenSSL says ${code} of ${certFile} and ${keyFile}: make them anew`;
  }
}
