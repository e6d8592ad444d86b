import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Wanted } from '#adapters/cinder/catalog.ts';
import type { Domain, Login, Named } from '#adapters/keystone/login.ts';
import { type Policy, parsePolicy } from '#adapters/nova-api/policy.ts';
import { codeOf } from '#adapters/system/access.ts';
import { tlsIn, urlOf } from './config-places.ts';
import { Secret } from './config-secret.ts';
import { type KeystoneConfig, OPTIONS } from './config-shape.ts';
import type { Options } from './oslo-options.ts';

/** [keystone_authtoken] and the policy, where callers bring tokens. */
export function keystoneIn(options: Options, folder: string): KeystoneConfig | null {
  if (options.text('api', 'auth_strategy') !== 'keystone') return null;
  const group = 'keystone_authtoken';
  const uri = urlOf(options, group, 'www_authenticate_uri') ?? urlOf(options, group, 'auth_uri');
  const file = options.text('oslo_policy', 'policy_file') ?? '';
  const policy = policyIn(options, resolve(folder, file), file !== DEFAULT_POLICY);
  const said = {
    serviceTokenRoles: options.list(group, 'service_token_roles'),
    serviceTokenRolesRequired: options.flag(group, 'service_token_roles_required'),
    tokenCacheMs: options.whole(group, 'token_cache_time', -1, 86_400) * 1000,
    timeoutMs: options.whole(group, 'http_connect_timeout', 1, 600) * 1000,
    ...tlsIn(options, group),
  };
  const section = sectionOf(options, group);
  const type = options.text(section, 'auth_type');
  if (type === null || !KEYSTONE_TYPES.includes(type)) {
    const given = type === null ? 'is not set' : `is '${type}'`;
    const todo = 'give password or v3applicationcredential, or set [api] auth_strategy';
    options.wrong(section, 'auth_type', `${given}: ${todo} to http_basic or noauth`);
    return null;
  }
  const login = loginIn(options, section);
  return policy && { ...said, login, policy, wwwAuthenticateUri: uri ?? login.authUrl };
}

/** keystoneauth's plugins that ask a Keystone; `password` finds v3 by itself, as v3password. */
export const KEYSTONE_TYPES: readonly string[] = [
  'password',
  'v3password',
  'v3applicationcredential',
];

/** Groups that may hold keystoneauth's options, for themselves or by `auth_section`. */
const SECTIONS: readonly string[] = ['cinder', 'keystone_authtoken'];

/** The group in which the options of `group`'s plugin stand (keystoneauth1/loading/conf.py). */
export function sectionOf(options: Options, group: string): string {
  const section = options.text(group, 'auth_section') ?? group;
  if (SECTIONS.includes(section)) return section;
  options.wrong(group, 'auth_section', `is ${section}: give one of ${SECTIONS.join(', ')}`);
  return group;
}

/** How to log in, by keystoneauth's options in `group`; what is missing is written down. */
export function loginIn(options: Options, group: string): Login {
  const type = options.text(group, 'auth_type');
  const need = (option: string, also = ''): string => {
    const value = options.text(group, option);
    if (value === null) {
      options.wrong(group, option, `${also}is needed when auth_type is ${type}`);
    }
    return value ?? '';
  };
  const domain = (whose: string): Domain => {
    const [id, name] = [`${whose}_domain_id`, `${whose}_domain_name`];
    const found =
      byId(options.text(group, id) ?? options.text(group, 'default_domain_id')) ??
      byName(options.text(group, name) ?? options.text(group, 'default_domain_name'));
    return found ?? { name: need(name, `(or ${id}) `) };
  };
  const named = (id: string, name: string, whose: string): Named =>
    byId(options.text(group, id)) ?? {
      name: need(name, `(or ${id}) `),
      domain: domain(whose),
    };
  const authUrl = urlOf(options, group, 'auth_url') ?? '';
  if (authUrl === '') need('auth_url');
  for (const scope of ['system_scope', 'domain_id', 'domain_name', 'trust_id']) {
    if (options.text(group, scope) === null) continue;
    options.wrong(group, scope, 'asks for another scope: chainkeeper works within a project');
  }
  if (type === 'v3applicationcredential') {
    const id = byId(options.text(group, 'application_credential_id'));
    const both = () => ({
      name: need('application_credential_name', '(or application_credential_id) '),
      user: named('user_id', 'username', 'user'),
    });
    const secret = new Secret(need('application_credential_secret'));
    return { type, authUrl, credential: id ?? both(), secret };
  }
  return {
    type: 'password',
    authUrl,
    user: named('user_id', 'username', 'user'),
    password: new Secret(need('password')),
    project: named('project_id', 'project_name', 'project'),
  };
}

/** Where Cinder is: keystoneauth's adapter options, then Nova's, then what both have by default. */
export function wantedIn(options: Options, group: string): Wanted {
  const text = (option: string) => options.text(group, option);
  const info = (text('catalog_info') ?? '').split(':');
  const interfaces = [
    options.list(group, 'valid_interfaces'),
    [text('interface') ?? ''],
    [info[2] ?? ''],
    ['public'],
  ].map((them) => them.filter(Boolean).map((it) => it.replace(/URL$/, '')));
  const chosen = interfaces.find((them) => them.length > 0) ?? [];
  const odd = chosen.find((it) => !['public', 'internal', 'admin'].includes(it));
  if (odd !== undefined) {
    const option = options.list(group, 'valid_interfaces').length > 0 ? 'valid_interfaces' : null;
    const given = option ?? (text('interface') === null ? 'catalog_info' : 'interface');
    options.wrong(group, given, `names ${odd}: give public, internal or admin`);
  }
  return {
    serviceType: text('service_type') ?? (info[0] || 'volumev3'),
    serviceName: text('service_name') ?? (info[1] || null),
    interfaces: chosen,
    region: text('region_name') ?? text('os_region_name'),
  };
}

/** The rules of `file`, or Nova's defaults where it is not there and nobody named it. */
function policyIn(options: Options, file: string, named: boolean): Policy | null {
  const wrong = (sentence: string) => options.wrong('oslo_policy', 'policy_file', sentence);
  try {
    const policy = parsePolicy(text(file, named));
    if (policy.ok) return policy.value;
    for (const problem of policy.error) wrong(`is ${file}: ${problem}`);
  } catch (error) {
    wrong(`is ${file}, which cannot be read (${codeOf(error)})`);
  }
  return null;
}

function text(file: string, named: boolean): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (named || codeOf(error) !== 'ENOENT') throw error;
    return '';
  }
}

export const DEFAULT_POLICY = OPTIONS.oslo_policy?.policy_file;

const byId = (id: string | null) => (id === null ? null : { id });
const byName = (name: string | null) => (name === null ? null : { name });
