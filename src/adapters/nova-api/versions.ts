import type { z } from 'zod';
import type { VERSION } from './described.ts';
import { MAX_VERSION, MIN_VERSION, versionText } from './microversion.ts';

/**
 * The documents of nova/api/openstack/compute/versions.py, so that `openstack versions show`,
 * keystoneauth's discovery and `nova` find what they look for. Cinder asks for none of them.
 */
export type VersionDocument = z.infer<typeof VERSION>;
type Link = VersionDocument['links'][number];

/** What `GET /` answers. `base` is this service as its callers reach it, without a slash. */
export const allVersions = (base: string): { versions: readonly VersionDocument[] } => ({
  versions: [legacy(base), current(base)],
});

/** What `GET /v2.1/` or `GET /v2/` answers. */
export function oneVersion(base: string, prefix: '/v2.1' | '/v2'): { version: VersionDocument } {
  const document = prefix === '/v2' ? legacy(base) : current(base);
  const media = {
    base: 'application/json',
    type: `application/vnd.openstack.compute+json;version=${document.id.slice(1)}`,
  };
  const links = [...document.links, { ...MANUAL }];
  return { version: { ...document, links, 'media-types': [media] } };
}

const MANUAL: Link = { rel: 'describedby', type: 'text/html', href: 'http://docs.openstack.org/' };

const current = (base: string): VersionDocument => ({
  id: 'v2.1',
  status: 'CURRENT',
  version: versionText(MAX_VERSION),
  min_version: versionText(MIN_VERSION),
  updated: '2013-07-23T11:33:21Z',
  links: [{ rel: 'self', href: `${base}/v2.1/` }],
});

/** The same API without microversions, which is why both versions are empty. */
const legacy = (base: string): VersionDocument => ({
  id: 'v2.0',
  status: 'SUPPORTED',
  version: '',
  min_version: '',
  updated: '2011-01-21T11:33:21Z',
  links: [{ rel: 'self', href: `${base}/v2/` }],
});
