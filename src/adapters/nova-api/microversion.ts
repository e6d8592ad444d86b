import type { IncomingHttpHeaders } from 'node:http';
import { err, ok, type Result } from '#domain/result.ts';
import { badRequest, type NovaFault } from './fault.ts';

/** The N of Nova's API version 2.N. */
export type Microversion = number;

export const MIN_VERSION: Microversion = 1;
/** The last one that changes these two calls: from 2.75 on, unknown query keys are refused. */
export const MAX_VERSION: Microversion = 75;

export const versionText = (version: Microversion): string => `2.${version}`;

/** The version asked for; without one, Nova's default 2.1. Messages: nova/exception.py. */
export function microversion(headers: IncomingHttpHeaders): Result<Microversion, NovaFault> {
  const asked = askedFor(headers);
  if (asked === null) return ok(MIN_VERSION);
  if (asked === 'latest') return ok(MAX_VERSION);
  const [, major, minor] = /^([1-9]\d{0,8})\.([1-9]\d{0,8}|0)$/.exec(asked) ?? [];
  if (major === undefined) {
    const repeated = /^[\w.-]{1,32}$/.test(asked) ? `${asked} ` : '';
    return err(
      badRequest(
        `API Version String ${repeated}is of invalid format. ` +
          'Must be of format MajorNum.MinorNum.',
      ),
    );
  }
  const version = Number(minor);
  if (major === '2' && version >= MIN_VERSION && version <= MAX_VERSION) return ok(version);
  const [min, max] = [versionText(MIN_VERSION), versionText(MAX_VERSION)];
  return err({
    status: 406,
    message:
      `Version ${asked} is not supported by the API. ` + `Minimum is ${min} and maximum is ${max}.`,
  });
}

/** Both forms of the answer; two Vary entries, as Nova has them (wsgi.py:601-615, 921-928). */
export function versionHeaders(version: Microversion): Readonly<Record<string, string | string[]>> {
  return {
    'openstack-api-version': `compute ${versionText(version)}`,
    'x-openstack-nova-api-version': versionText(version),
    vary: ['OpenStack-API-Version', 'X-OpenStack-Nova-API-Version'],
  };
}

/**
 * As the library microversion_parse reads it: of the standard header the last entry for `compute`
 * counts and other services' entries are skipped; only then the legacy header, which is the one
 * that Cinder's novaclient sends below 2.27.
 */
function askedFor(headers: IncomingHttpHeaders): string | null {
  for (const entry of entries(headers['openstack-api-version']).reverse()) {
    const [, service, version] = /^(\S+)\s+(.+)$/.exec(entry) ?? [];
    if (service?.toLowerCase() === 'compute') return version ?? null;
  }
  return entries(headers['x-openstack-nova-api-version']).at(-1) ?? null;
}

const entries = (header: string | readonly string[] | undefined): string[] =>
  header === undefined ? [] : [header].flat().flatMap((line) => line.split(',').map(trim));

const trim = (text: string): string => text.trim();
