import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Access, Identity } from '#ports/identity.ts';
import { cinderUrl, urlIn, type Wanted } from './catalog.ts';

/** How our requests reach Cinder and say who we are. One that asks Keystone may fail. */
export interface Authorizer extends Partial<AsyncDisposable> {
  /** What paths are appended to, version and (where the cloud wants it) project id included. */
  baseUrl(): Promise<Result<string, Fault>>;
  headers(): Promise<Result<Readonly<Record<string, string>>, Fault>>;
  /** Words that nobody may read in a log, a journal or an answer. */
  secrets(): readonly string[];
  /** Other headers than these, which Cinder answered with 401. The request is then sent again. */
  refresh?(rejected: Readonly<Record<string, string>>): Promise<Result<null, Fault>>;
}

export interface NoauthOptions {
  readonly endpoint: string;
  readonly userId: string;
  /** The user's id when left out, as in the plugin. */
  readonly projectId?: string;
}

/**
 * `auth_type = noauth`: for a Cinder with auth_strategy noauth, which believes the token
 * (cinder/api/middleware/auth.py). Everything as python-cinderclient's plugin does it
 * (cinderclient/contrib/noauth.py).
 */
export function noauth({ endpoint, userId, projectId }: NoauthOptions): Authorizer {
  const project = projectId || userId;
  return fixed(`${withoutSlash(endpoint)}/${encodeURIComponent(project)}`, {
    'X-User-Id': userId,
    'X-Project-Id': project,
    'X-Auth-Token': `${userId}:${project}`,
  });
}

/** `auth_type = none`: the endpoint as it stands, and keystoneauth1/noauth.py's token. */
export function none({ endpoint }: { readonly endpoint: string }): Authorizer {
  return fixed(withoutSlash(endpoint), { 'X-Auth-Token': 'notused' });
}

export interface HttpBasicOptions {
  readonly endpoint: string;
  readonly username: string;
  readonly password: string;
}

/** `auth_type = http_basic`: no X-Auth-Token at all (keystoneauth1/http_basic.py). */
export function httpBasic({ endpoint, username, password }: HttpBasicOptions): Authorizer {
  const encoded = Buffer.from(`${username}:${password}`, 'utf8').toString('base64');
  const headers = { Authorization: `Basic ${encoded}` };
  return fixed(withoutSlash(endpoint), headers, [encoded, password]);
}

export interface KeystoneOptions {
  readonly identity: Identity;
  readonly wanted: Wanted;
  /** Instead of what the catalog says; `%(project_id)s` stands for the token's project. */
  readonly endpoint: string | null;
}

/** `auth_type = password` and `v3applicationcredential`: a token, and the catalog that is in it. */
export function keystone({ identity, wanted, endpoint }: KeystoneOptions): Authorizer {
  const from = async <T>(take: (access: Access) => Result<T, Fault>): Promise<Result<T, Fault>> => {
    const access = await identity.access();
    return access.ok ? take(access.value) : access;
  };
  return {
    baseUrl: () => from((access) => base(access, wanted, endpoint)),
    headers: () => from(({ text }) => ok({ [TOKEN]: text })),
    secrets: () => identity.secrets(),
    refresh: async (rejected) => {
      const renewed = await identity.renew(rejected[TOKEN] ?? '');
      return renewed.ok ? ok(null) : renewed;
    },
    [Symbol.asyncDispose]: () => identity[Symbol.asyncDispose](),
  };
}

const TOKEN = 'X-Auth-Token';

function base(access: Access, wanted: Wanted, endpoint: string | null): Result<string, Fault> {
  const { project } = access;
  if (endpoint !== null) {
    return ok(withoutSlash(endpoint.replace(PROJECT, () => project ?? '')));
  }
  const listed = urlIn(access.catalog, wanted);
  const url = listed.ok ? cinderUrl(listed.value, project) : listed;
  if (url.ok) return url;
  return err({ kind: 'rejected', who: 'Keystone', detail: url.error, code: 'catalog' });
}

/** Both signs, and both names, that keystoneauth replaces (discover.py _StringFormatter). */
const PROJECT = /[%$]\((?:project|tenant)_id\)s/g;

function fixed(
  url: string,
  headers: Readonly<Record<string, string>>,
  secrets: readonly string[] = [],
): Authorizer {
  return {
    baseUrl: async () => ok(url),
    headers: async () => ok(headers),
    secrets: () => secrets,
  };
}

const withoutSlash = (url: string): string => url.replace(/\/+$/, '');
