import { constants } from 'node:fs';
import { dirname, isAbsolute } from 'node:path';
import { readTls, type TlsFiles } from '#adapters/nova-api/tls.ts';
import { inaccessible, thingAt, whyNot } from '#adapters/system/access.ts';
import type { TlsConfig } from './config-shape.ts';
import type { Options } from './oslo-options.ts';

/** A URL without a slash at its end; what is none is a mistake. */
export function urlOf(options: Options, group: string, option: string): string | null {
  const found = options.text(group, option);
  if (found === null) return null;
  const parsed = URL.parse(found);
  if (parsed === null || !/^https?:$/.test(parsed.protocol) || parsed.username !== '') {
    options.wrong(group, option, 'is no plain http or https URL');
  } else if (/[?#]/.test(found)) {
    options.wrong(group, option, 'has a ? or # in it, and paths are put behind it: end it before');
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
  const problem = unlike('a file', path) ?? refusal(path, constants.R_OK);
  if (problem !== null) options.wrong(group, option, `is ${path}, and cannot be read: ${problem}`);
  return path;
}

/** A file to be written to; one that is not there yet is made, in a folder that is. */
export function writable(options: Options, group: string, option: string): string | null {
  const path = absolute(options, group, option);
  if (path === null || !isAbsolute(path)) return path;
  const folder = dirname(path);
  const wrong = (sentence: string) => options.wrong(group, option, sentence);
  const there = inaccessible(path) === null;
  // A pipe that nobody reads would hold the start up; /dev/stderr is as good as a file.
  const odd = there && !/^\/dev\//.test(path) ? unlike('a file', path) : null;
  const denied = odd ?? refusal(there ? path : folder, constants.W_OK);
  if (denied === null) return path;
  if (there) wrong(`is ${path}, and cannot be written to: ${denied}`);
  else wrong(`is ${path}, and nothing can be written to the folder ${folder}: ${denied}`);
  return path;
}

/** Why a path is not what it should be; null when it is, or when that cannot be seen. */
function unlike(wanted: string, path: string): string | null {
  if (inaccessible(path) !== null) return null;
  const thing = thingAt(path);
  return thing === wanted ? null : `it is ${thing}: name ${wanted}`;
}

function refusal(path: string, mode: number): string | null {
  const code = inaccessible(path, mode);
  return code === null ? null : whyNot(code);
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
  if (certFile && keyFile) {
    const files = { certFile, keyFile, caFile: caFile ?? null };
    const all = Object.values(files).every((it) => it === null || inaccessible(it) === null);
    const tls = all ? readTls(files) : null;
    if (tls?.ok === false) options.wrong('api', 'cert_file', `is of no use: ${tls.error}`);
    return files;
  }
  if (!certFile && !keyFile && !caFile) return null;
  const missing = certFile ? 'key_file' : 'cert_file';
  options.wrong('api', missing, 'is needed for TLS, which the others beside it ask for');
  return null;
}
