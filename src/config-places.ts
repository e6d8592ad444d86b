import { constants } from 'node:fs';
import { isAbsolute } from 'node:path';
import type { TlsFiles } from '#adapters/nova-api/tls.ts';
import { inaccessible } from '#adapters/system/access.ts';
import type { TlsConfig } from './config-shape.ts';
import type { Options } from './oslo-options.ts';

/** A URL without a slash at its end; what is none is a mistake. */
export function urlOf(options: Options, group: string, option: string): string | null {
  const found = options.text(group, option);
  if (found === null) return null;
  const parsed = URL.parse(found);
  if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.username !== '') {
    options.wrong(group, option, 'is no plain http or https URL');
  }
  return found.replace(/\/+$/, '');
}

export function absolute(options: Options, group: string, option: string): string | null {
  const path = options.text(group, option);
  if (path !== null && !isAbsolute(path)) {
    options.wrong(group, option, `is '${path}': give an absolute path`);
  }
  return path;
}

export function readable(options: Options, group: string, option: string): string | null {
  const path = absolute(options, group, option);
  if (path === null) return null;
  const problem = inaccessible(path, constants.R_OK);
  if (problem !== null) {
    options.wrong(group, option, `is ${path}, which cannot be read (${problem})`);
  }
  return path;
}

/** Certificates for what we ask of others, in a group with keystoneauth's options. */
export function tlsIn(options: Options, group: string): TlsConfig {
  return {
    caFile: readable(options, group, 'cafile'),
    certFile: readable(options, group, 'certfile'),
    keyFile: readable(options, group, 'keyfile'),
    insecure: options.flag(group, 'insecure'),
  };
}

/** oslo.service's rule: a certificate and its key, or neither (sslutils.py is_enabled). */
export function tlsOfApi(options: Options): TlsFiles | null {
  const [certFile, keyFile, caFile] = ['cert_file', 'key_file', 'ca_file'].map((it) =>
    readable(options, 'api', it),
  );
  if (certFile && keyFile) return { certFile, keyFile, caFile: caFile ?? null };
  if (!certFile && !keyFile && !caFile) return null;
  const missing = certFile ? 'key_file' : 'cert_file';
  options.wrong('api', missing, 'is needed for TLS, which the others beside it ask for');
  return null;
}
