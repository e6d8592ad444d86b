import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { describe as described, findSocket, loadConfig, Secret } from '#app/config.ts';
import { configSample, describedOptions } from '#app/config-sample.ts';
import { mergeSections, nearest, parseOslo, substitute } from '#app/oslo-config.ts';
import { err, ok } from '#domain/result.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

function file(text: string, name = 'a.conf'): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

const GOOD = `[api]
auth_strategy = noauth
[cinder]
auth_type = noauth
endpoint = http://cinder:8776/v3/
user_id = nova
project_id = service
`;
/** Callers with tokens, and one of our own for Cinder. */
const TOKENS = `[keystone_authtoken]
auth_type = password
auth_url = http://k:5000
username = chainkeeper
password = hunter22
user_domain_name = Default
project_name = service
project_domain_name = Default
[cinder]
auth_section = keystone_authtoken
`;
const TOKENS_BY_CREDENTIAL = `[keystone_authtoken]
auth_type = v3applicationcredential
auth_url = http://k:5000/v3/
application_credential_id = c0ffee
application_credential_secret = hunter22
[cinder]
auth_type = v3applicationcredential
auth_url = http://k:5000
application_credential_name = ours
username = chainkeeper
user_domain_id = default
application_credential_secret = hunter22
`;
/** A certificate and its key. */
function pair(name: string): readonly [cert: string, key: string] {
  const [cert, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const kind = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x';
  const words = `req -x509 ${kind} -keyout ${key} -out ${cert}`;
  execFileSync('openssl', words.split(' '), { stdio: 'ignore' });
  return [cert, key];
}

const load = (text: string, env = {}) => loadConfig({ files: [file(text)], env });

function loaded(text: string, env = {}) {
  const config = load(text, env);
  if (!config.ok) throw new Error(config.error.join('\n'));
  return config.value;
}

function mistakes(text: string, env = {}): readonly string[] {
  const config = load(text, env);
  return config.ok ? [] : config.error.map((it) => it.replaceAll(`${folder}/`, ''));
}

describe('parseOslo', () => {
  const values = (text: string) => {
    const parsed = parseOslo(text, 'f');
    if (!parsed.ok) return parsed.error;
    return [...parsed.value].flatMap(([group, options]) =>
      [...options].map(([key, them]) => [group, key, ...them.map(({ value }) => value)]),
    );
  };

  test.each([
    ['a comment sign inside a value', 'password=a;b#c', 'a;b#c'],
    ['a URL with a port and a #', 'password = rabbit://u:p#1@h:5672/', 'rabbit://u:p#1@h:5672/'],
    ['a colon that assigns', 'password: x=y', 'x=y'],
    ['an equals sign before a colon', 'password = x:y', 'x:y'],
    ['quotes at both ends', 'password = " a "', ' a '],
    ['single quotes', "password = 'a'", 'a'],
    ['quotes that differ', `password = "a'`, `"a'`],
    ['a lone quote', 'password = "', ''],
    ['nothing', 'password =', ''],
    ['Windows line ends', 'password = a\r\n', 'a'],
    ['white space at the end', 'password = a \t ', 'a'],
    ['lines that continue', 'password = a\n  b\n\tc', 'a\nb\nc'],
    ['an indented comment, which is none', 'password = a\n # b', 'a\n# b'],
  ])('%s', (_, text, value) => {
    expect(values(`[g]\n${text}`)).toEqual([['g', 'password', value]]);
  });

  test('a blank line and a comment end a value', () => {
    expect(values('[g]\na = 1\n\nb = 2\n# c\nd = 3')).toEqual([
      ['g', 'a', '1'],
      ['g', 'b', '2'],
      ['g', 'd', '3'],
    ]);
  });

  test('a repeated key has all its values, a repeated group all its keys', () => {
    expect(values('[G]\na = 1\n[DEFAULT]\nz=0\n[g]\na = 2\n')).toEqual([
      ['g', 'a', '1', '2'],
      ['DEFAULT', 'z', '0'],
    ]);
  });

  test('says every mistake with its line', () => {
    expect(values('a = 1\n[x\n[]\n[g]\nnothing\n= 1\n\n  lost\n')).toEqual([
      "f:1: 'a' stands before the first [group]",
      'f:2: a group must end with ]',
      'f:3: the group has no name',
      "f:5: neither '=' nor ':' in the line",
      'f:6: the option has no name',
      'f:8: an indented line continues nothing: remove the indent',
    ]);
  });

  test('later files come last', () => {
    const parsed = ['[g]\na=1', '[g]\na=2\nb=3'].map((text, at) => parseOslo(text, `f${at}`));
    const all = mergeSections(parsed.flatMap((it) => (it.ok ? [it.value] : [])));
    expect(all.get('g')?.get('a')).toEqual([
      { value: '1', where: 'f0:2' },
      { value: '2', where: 'f1:2' },
    ]);
  });
});

describe('substitute', () => {
  const known: Record<string, string> = {
    'g.a': 'A',
    'DEFAULT.b': 'B',
    'DEFAULT.a': 'no',
    'h.c': '',
  };
  const lookup = (group: string, option: string) => {
    const value = known[`${group}.${option}`];
    return value === undefined ? err(`no ${group}.${option}`) : ok(value);
  };

  test.each([
    [`$a/\${b}`, 'A/B'],
    [`\${g.a}$h.c.`, null],
    [`\${h.c}!`, '!'],
    ['$$a \\$a', '$a $a'],
    [`$ $1 \${ \${-} cost$`, `$ $1 \${ \${-} cost$`],
    ['$gone', null],
  ])('%s', (text, result) => {
    const found = substitute(text, 'g', lookup);
    expect(found.ok ? found.value : null).toBe(result);
  });
});

test('nearest names a slip of the finger, and nothing else', () => {
  expect(nearest('bind_prot', ['bind_port', 'bind_host'])).toBe('bind_port');
  expect(nearest('Debug', ['debug'])).toBe('debug');
  expect(nearest('colour', ['bind_port', 'bind_host'])).toBe(null);
});

describe('loadConfig', () => {
  test('a few lines make a configuration, frozen, the rest is by default', () => {
    const config = loaded(GOOD);
    expect(config).toMatchObject({
      statePath: '/var/lib/chainkeeper',
      debug: false,
      logFile: null,
      keystone: null,
      api: { bindHost: '127.0.0.1', bindPort: 8797, authStrategy: 'noauth', maxQueued: 512 },
      libvirt: {
        connectionUri: 'qemu:///system',
        quiesce: 'auto',
        agentTimeoutMs: 30_000,
        maxChainDepth: 64,
        volumeDirectories: [],
      },
      cinder: {
        endpoint: 'http://cinder:8776/v3',
        auth: { type: 'noauth', userId: 'nova', projectId: 'service' },
        statusDialect: 'auto',
        createTimeoutMs: 540_000,
        deleteTimeoutMs: 7_200_000,
      },
      operator: { socket: '/run/chainkeeper/chainkeeper.sock', bindPort: 0 },
    });
    expect(config.host).not.toBe('');
    expect(() => Object.assign(config.api, { bindPort: 1 })).toThrow(TypeError);
    expect(load(GOOD).warnings).toEqual([]);
  });

  test('the environment beats the files, the last file the first', () => {
    const files = [
      file(`${GOOD}[libvirt]\nmax_chain_depth = 3\n`),
      file('[libvirt]\nmax_chain_depth=4', 'b'),
    ];
    const depth = (env: Record<string, string>) => {
      const config = loadConfig({ files, env });
      return config.ok && config.value.libvirt.maxChainDepth;
    };
    expect(depth({})).toBe(4);
    expect(depth({ OS_LIBVIRT__MAX_CHAIN_DEPTH: '5' })).toBe(5);
  });

  test('names in values stand for other options', () => {
    const config = loaded(`${GOOD}[libvirt]\nvolume_directories = $state_path/mnt, \${state_path}/b,
[DEFAULT]\nhost = h\nstate_path = /srv/$host
[operator]\nsocket = $state_path/\${api.bind_port}.sock`);
    expect(config.libvirt.volumeDirectories).toEqual(['/srv/h/mnt', '/srv/h/b']);
    expect(config.operator.socket).toBe('/srv/h/8797.sock');
  });

  test('a secret is shown to nobody who does not ask for it', () => {
    const config = loaded(`[api]\nauth_strategy = noauth\n[cinder]\nauth_type = http_basic
endpoint = https://c\nusername = u\npassword = "a;b#c"`);
    const { auth } = config.cinder;
    expect(auth.type === 'http_basic' && auth.password.reveal()).toBe('a;b#c');
    for (const shown of [
      inspect(config, { depth: 9 }),
      JSON.stringify(config),
      `${new Secret('a;b#c')}`,
    ]) {
      expect(shown).toContain('***');
      expect(shown).not.toContain('a;b#c');
    }
    expect(described(config)).toContain('cinder.auth.password = "***"');
    expect(described(config)).toContain('api.bind_port = 8797');
  });

  test('other hosts are named with their chainkeepers', () => {
    const text = 'host_endpoints = two:http://two:8797, three:https://[::1]:1/ ,';
    const { api } = loaded(`${GOOD}[api]\n${text}\n`);
    expect(api.hostEndpoints).toEqual({ two: 'http://two:8797', three: 'https://[::1]:1' });
    expect(loaded(GOOD).api.hostEndpoints).toEqual({});
  });

  test.each([
    ['one', "has 'one': give HOST:URL, as compute2:http://compute2:8797"],
    [':http://x', "has ':http://x': give HOST:URL, as compute2:http://compute2:8797"],
    ['one:ftp://x', "has 'one:ftp://x': give HOST:URL, as compute2:http://compute2:8797"],
    ['one:http://x/v2.1', "has 'one:http://x/v2.1': the URL has no path of its own"],
  ])('another host cannot be %s', (text, sentence) => {
    expect(mistakes(`${GOOD}[api]\nhost_endpoints = ${text}\n`)).toEqual([
      expect.stringContaining(`host_endpoints ${sentence}`),
    ]);
  });

  test('every mistake is said at once, with its place', () => {
    const text = `[DEFAULT]
debug = perhaps
state_path = here
log_file = /nowhere/at/all.log
[api]
auth_strategy = noauth
bind_host = 0.0.0.0
bind_port = 99999
cert_file = /nowhere
public_endpoint = ftp://x
[libvirt]
quiesce = sometimes
max_chain_depth = many
volume_directories = mnt
[cinder]
auth_type = noauth
status_dialect = klingon
[operator]
bind_host = 10.0.0.1
bind_port = 80
socket = $nobody
`;
    expect(mistakes(text)).toEqual([
      "a.conf:3: [DEFAULT] state_path is 'here': give an absolute path",
      "a.conf:2: [DEFAULT] debug is 'perhaps': give true or false",
      'a.conf:4: [DEFAULT] log_file is /nowhere/at/all.log, and nothing can be written to the ' +
        'folder /nowhere/at: it is not there: make it, or name another',
      'a.conf:7: [api] bind_host is 0.0.0.0, and [api] auth_strategy noauth answers only on this ' +
        'machine: set it to 127.0.0.1, or use http_basic',
      "a.conf:8: [api] bind_port is '99999': give a whole number from 0 to 65535",
      'a.conf:10: [api] public_endpoint is no plain http or https URL',
      'a.conf:9: [api] cert_file is /nowhere, and cannot be read: it is not there: make it, or ' +
        'name another',
      '[api] key_file is needed for TLS, which the others beside it ask for',
      "a.conf:14: [libvirt] volume_directories names 'mnt': give absolute paths",
      "a.conf:12: [libvirt] quiesce is 'sometimes': give one of auto, required, never",
      "a.conf:13: [libvirt] max_chain_depth is 'many': give a whole number from 2 to 200",
      '[cinder] user_id is needed when auth_type is noauth',
      '[cinder] project_id is needed when auth_type is noauth',
      '[cinder] endpoint is needed when auth_type is noauth',
      "a.conf:17: [cinder] status_dialect is 'klingon': give one of auto, spec, format, status, " +
        'stock',
      'a.conf:21: [operator] socket: there is no option [DEFAULT] nobody to put here ($$ is a ' +
        'dollar sign)',
      'a.conf:19: [operator] bind_host is 10.0.0.1, and [api] auth_strategy noauth answers only ' +
        'on this machine: set it to 127.0.0.1, or use http_basic',
    ]);
  });

  test('who we are, and who the callers are, must be said', () => {
    const [callers, us] = [
      '[keystone_authtoken] auth_type is not set: give password or v3applicationcredential, or ' +
        'set [api] auth_strategy to http_basic or noauth',
      '[cinder] auth_type is not set: password or v3applicationcredential, or noauth, http_basic ' +
        'or none with an endpoint',
    ];
    expect(mistakes('')).toEqual([us, callers]);
    expect(mistakes('[api]\nauth_strategy=noauth')).toEqual([us]);
    expect(mistakes('[cinder]\nauth_type = v2password')[0]).toContain("is 'v2password'");
  });

  test('http_basic needs its users, and may then listen anywhere', () => {
    const basic = GOOD.replace('= noauth', '= http_basic\nbind_host = 0.0.0.0');
    expect(mistakes(basic)).toEqual([
      '[api] http_basic_auth_user_file is needed when auth_strategy is http_basic',
    ]);
    const users = file('u:$2b$04$', 'htpasswd');
    const env = { OS_API__HTTP_BASIC_AUTH_USER_FILE: users };
    expect(loaded(basic, env).api).toMatchObject({
      authStrategy: 'http_basic',
      bindHost: '0.0.0.0',
      httpBasicAuthUserFile: users,
    });
  });

  test.each(['127.0.0.1', '127.8.9.1', '::1', 'localhost'])('noauth listens on %s', (host) => {
    expect(mistakes(GOOD, { OS_API__BIND_HOST: host })).toEqual([]);
  });
  test.each(['0.0.0.0', '::', '127.evil.example', '128.0.0.1'])('noauth refuses %s', (host) => {
    expect(mistakes(GOOD, { OS_API__BIND_HOST: host })).toHaveLength(1);
  });

  test.each([
    ['127.0.0.1', '127.0.0.1', 1],
    ['0.0.0.0', '10.0.0.1', 1],
    ['127.0.0.1', '127.0.0.2', 0],
  ])('the port of [api] on %s is not that of [operator] on %s as well', (one, other, wrong) => {
    const users = file('', 'users');
    const env = {
      ...{ OS_API__AUTH_STRATEGY: 'http_basic', OS_API__HTTP_BASIC_AUTH_USER_FILE: users },
      ...{ OS_API__BIND_HOST: one, OS_OPERATOR__BIND_HOST: other },
    };
    const same = { ...env, OS_API__BIND_PORT: ' 99', OS_OPERATOR__BIND_PORT: '99' };
    const sentence = 'OS_OPERATOR__BIND_PORT: [operator] bind_port is 99, as that of [api]: name';
    expect(mistakes(GOOD, same)).toEqual(wrong ? [expect.stringContaining(sentence)] : []);
    expect(mistakes(GOOD, { ...same, OS_OPERATOR__BIND_PORT: '98' })).toEqual([]);
  });

  test.each(['http://c:8776/v3?x=1', 'http://c/#v3'])(
    '%s is no endpoint to put a path to',
    (url) => {
      expect(mistakes(GOOD, { OS_CINDER__ENDPOINT: url })).toEqual([
        'OS_CINDER__ENDPOINT: [cinder] endpoint has a ? or # in it, and paths are put behind it: ' +
          'end it before',
      ]);
    },
  );

  test('TLS needs a certificate and its key', () => {
    const [cert, key] = pair('cert');
    const tls = (text: string) => GOOD.replace('[api]', `[api]\n${text}`);
    expect(loaded(GOOD).api.tls).toBe(null);
    expect(loaded(tls(`cert_file = ${cert}\nkey_file = ${key}`)).api.tls).toEqual({
      certFile: cert,
      keyFile: key,
      caFile: null,
    });
    const needed = (name: string) => [
      `[api] ${name} is needed for TLS, which the others beside it ask for`,
    ];
    const [, other] = pair('other');
    expect(mistakes(tls(`cert_file = ${cert}\nkey_file = ${other}`))).toEqual([
      'a.conf:2: [api] cert_file is of no use: No TLS can be made: other.key is not the key of ' +
        'cert.pem: name the two that belong together',
    ]);
    expect(mistakes(tls(`cert_file = ${cert}`))).toEqual(needed('key_file'));
    expect(mistakes(tls(`key_file = ${key}`))).toEqual(needed('cert_file'));
    expect(mistakes(tls(`ca_file = ${cert}`))).toEqual(needed('cert_file'));
  });

  test('tokens, with a section for both, and no word of the password', () => {
    const config = loaded(TOKENS);
    const login = {
      type: 'password',
      authUrl: 'http://k:5000',
      user: { name: 'chainkeeper', domain: { name: 'Default' } },
      project: { name: 'service', domain: { name: 'Default' } },
    };
    expect(config.api.authStrategy).toBe('keystone');
    expect(config.keystone).toMatchObject({
      login,
      wwwAuthenticateUri: 'http://k:5000',
      serviceTokenRoles: ['service'],
      serviceTokenRolesRequired: true,
      tokenCacheMs: 300_000,
      timeoutMs: 10_000,
      insecure: false,
    });
    const wanted = { serviceType: 'volumev3', serviceName: null, region: null };
    expect(config.cinder).toMatchObject({
      endpoint: null,
      auth: { type: 'keystone', login, wanted: { ...wanted, interfaces: ['public'] } },
    });
    expect(`${inspect(config, { depth: 9 })}${JSON.stringify(config)}`).not.toContain('hunter22');
    expect(described(config).join()).not.toContain('hunter22');
    expect(loaded(TOKENS_BY_CREDENTIAL)).toMatchObject({
      keystone: { login: { type: 'v3applicationcredential', credential: { id: 'c0ffee' } } },
      cinder: {
        auth: {
          login: {
            credential: { name: 'ours', user: { name: 'chainkeeper', domain: { id: 'default' } } },
          },
        },
      },
    });
  });

  test.each([
    ['endpoint_override = http://c/%(project_id)s/', { endpoint: 'http://c/%(project_id)s' }],
    ['endpoint_template = http://t/v3\nendpoint = http://e/v3', { endpoint: 'http://e/v3' }],
    [
      'catalog_info = block-storage:cinder:internalURL',
      {
        auth: {
          wanted: { serviceType: 'block-storage', serviceName: 'cinder', interfaces: ['internal'] },
        },
      },
    ],
    [
      'valid_interfaces = internal,public\ncatalog_info = volumev3::adminURL',
      {
        auth: { wanted: { interfaces: ['internal', 'public'] } },
      },
    ],
    [
      'interface = internalURL\nos_region_name = R',
      {
        auth: { wanted: { interfaces: ['internal'], region: 'R' } },
      },
    ],
  ])('[cinder] %j', (text, meant) => {
    expect(loaded(`${TOKENS}${text}`).cinder).toMatchObject(meant);
  });

  test('all that a login lacks is said at once', () => {
    expect(
      mistakes('[keystone_authtoken]\nauth_type = password\n[cinder]\nauth_type = none'),
    ).toEqual([
      '[cinder] endpoint is needed when auth_type is none',
      ...[
        'auth_url is',
        'username (or user_id) is',
        'user_domain_name (or user_domain_id) is',
        'password is',
        'project_name (or project_id) is',
        'project_domain_name (or project_domain_id) is',
      ].map((it) => `[keystone_authtoken] ${it} needed when auth_type is password`),
    ]);
    expect(mistakes(`${TOKENS}auth_type = password\nvalid_interfaces = private`)).toEqual([
      'a.conf:12: [cinder] valid_interfaces names private: give public, internal or admin',
    ]);
    expect(mistakes(TOKENS.replace('= keystone_authtoken', '= elsewhere'))[0]).toBe(
      'a.conf:10: [cinder] auth_section is elsewhere: give one of cinder, keystone_authtoken',
    );
    expect(mistakes(TOKENS.replace('project_name = service', 'system_scope = all'))).toContain(
      'a.conf:7: [keystone_authtoken] system_scope asks for another scope: chainkeeper works ' +
        'within a project',
    );
  });

  test('another cloud replaces the whole login of [cinder], and nothing else', () => {
    const clouds = file(
      `clouds:
  mine:
    auth: { auth_url: 'http://mine:5000', username: me, password: 'a$b$$c', project_id: p }
    region_name: R
    cacert: ${file('', 'ca.pem')}
`,
      'clouds.yaml',
    );
    const env = { OS_CLIENT_CONFIG_FILE: clouds, OS_CINDER__AUTH_TYPE: 'none' };
    const text = GOOD.replace('service', 'service\nstatus_dialect = stock\ninsecure = true');
    const as = (cloud: string) => loadConfig({ files: [file(text)], env, cloud });
    expect(as('mine')).toMatchObject({
      error: [expect.stringContaining('[cinder] user_domain_name (or user_domain_id) is needed')],
    });
    writeFileSync(clouds, readFileSync(clouds, 'utf8').replace('username: me', 'user_id: u'));
    const mine = as('mine');
    expect(mine).toMatchObject({ ok: true, warnings: [] });
    expect(mine.draft.cinder).toMatchObject({
      endpoint: null,
      insecure: false,
      caFile: join(folder, 'ca.pem'),
      statusDialect: 'stock',
      auth: {
        login: { authUrl: 'http://mine:5000', user: { id: 'u' }, project: { id: 'p' } },
        wanted: { region: 'R' },
      },
    });
    const { auth } = mine.draft.cinder;
    const login = auth.type === 'keystone' ? auth.login : null;
    expect(login?.type === 'password' ? login.password.reveal() : null).toBe('a$b$$c');
    expect(as('yours')).toMatchObject({
      ok: false,
      error: [`--os-cloud: ${clouds} has no cloud 'yours': there are mine`],
    });
  });

  test('a policy is read, and one that is not understood is a mistake', () => {
    const named = `${TOKENS}[oslo_policy]\npolicy_file = strict.yaml`;
    expect(mistakes(named)).toEqual([
      expect.stringMatching(/policy_file is strict.yaml, which cannot be read \(ENOENT\)$/),
    ]);
    const rule = 'os_compute_api:os-assisted-volume-snapshots:delete';
    file(`"${rule}": "role:cinder"`, 'strict.yaml');
    expect(loaded(named).keystone?.policy.delete).toEqual({ kind: 'role', role: 'cinder' });
    file(`"${rule}": "project_id:%(project_id)s"`, 'strict.yaml');
    expect(mistakes(named)).toEqual([
      expect.stringContaining(`'${rule}' is 'project_id:%(project_id)s', not understood at`),
    ]);
    const { warnings } = load(`${GOOD}[oslo_policy]\npolicy_file = strict.yaml`);
    expect(warnings.join()).toContain('read with [api] auth_strategy keystone only');
  });

  test("keystonemiddleware's section pastes in without a warning", () => {
    const pasted = TOKENS.replace(
      'auth_type',
      'www_authenticate_uri = http://public:5000\nmemcached_servers = m:11211\nauth_type',
    );
    const { warnings, draft } = load(pasted);
    expect(warnings).toEqual([]);
    expect(draft.keystone?.wwwAuthenticateUri).toBe('http://public:5000');
  });

  test('a loop of names is a mistake, not a hang', () => {
    const loop = `${GOOD}[DEFAULT]\nhost = $state_path\nstate_path = /$host`;
    expect(mistakes(loop).join()).toContain('refers to');
  });

  test('unknown names are warnings with the nearest known one', () => {
    const text = `${GOOD}[libvrt]\na = 1\n[libvirt]\nconection_uri = x\nzzzzzzzzzzzz = 1`;
    const slips = { OS_API__BIND_PROT: '1', OS_LIBVRIT__QUIESCE: 'never' };
    const env = { ...slips, OS_AUTH_URL: 'x', OS_NOVA__PASSWORD: 'x' };
    const { ok: fine, warnings } = load(text, env);
    expect(fine).toBe(true);
    expect(warnings.map((it) => it.replace(`${folder}/`, ''))).toEqual([
      'a.conf:9: unknown group [libvrt], so a is not set: did you mean [libvirt]?',
      'a.conf:11: unknown option [libvirt] conection_uri: did you mean connection_uri?',
      'a.conf:12: unknown option [libvirt] zzzzzzzzzzzz',
      'OS_API__BIND_PROT: unknown option [api] bind_prot: did you mean bind_port?',
      'OS_LIBVRIT__QUIESCE: unknown group [libvrit]: did you mean [libvirt]?',
    ]);
  });

  test.each([
    ['[libvrit]\nquiesce = required', 'did you mean [libvirt]?'],
    ['[LIBVIRT ]\nquiesce = required', 'did you mean [libvirt]?'],
    ['[cindr]\n', 'unknown group [cindr]: did you mean [cinder]?'],
    ['[nova]\nx = 1', 'unknown group [nova], so x is not set: there are DEFAULT, api, libvirt,'],
    ['[api]\nstate_path = /x', 'unknown option [api] state_path: it belongs to [DEFAULT]'],
    ['[api]\nmax_chain_dept = 3', 'did you mean [libvirt] max_chain_depth?'],
  ])('%j is told what was meant', (text, hint) => {
    const { warnings } = load(`${GOOD}${text}`);
    expect(warnings).toEqual([expect.stringContaining(hint)]);
  });

  test("nova.conf's [cinder] section pastes in without a warning", () => {
    const pasted = `${GOOD}catalog_info = volumev3::publicURL\nos_region_name = R\nhttp_retries = 3
auth_url = http://k/v3\nusername = nova\npassword = p$x\nuser_domain_name = Default\n`;
    expect(load(pasted)).toMatchObject({ ok: true, warnings: [] });
  });

  test('a freeze that may end when Cinder waits no more is a warning', () => {
    const told = (agent: number, more = '') =>
      load(`${GOOD}[libvirt]\nagent_timeout = ${agent}\n${more}`).warnings.join();
    expect(told(60)).toBe('');
    expect(told(61)).toContain('are 601 s together: Cinder gives a create up after 600');
    expect(told(61, 'quiesce = never')).toBe('');
  });

  test('the default files, conf.d in the order of names, and none at all', () => {
    const etc = join(folder, 'etc');
    const socket = () => findSocket({ etc, env: {} });
    expect(socket()).toEqual(ok('/run/chainkeeper/chainkeeper.sock'));
    mkdirSync(join(etc, 'chainkeeper.conf.d'), { recursive: true });
    file('[operator]\nsocket = /c.sock', 'etc/chainkeeper.conf');
    expect(socket()).toEqual(ok('/c.sock'));
    for (const name of ['20-b.conf', '10-a.conf', '30-c.conf.bak']) {
      file(`[operator]\nsocket = /${name}`, `etc/chainkeeper.conf.d/${name}`);
    }
    expect(socket()).toEqual(ok('/20-b.conf'));
    expect(findSocket({ etc, files: [file(GOOD)], env: {} })).toEqual(
      ok('/run/chainkeeper/chainkeeper.sock'),
    );
  });

  test('conf.d that cannot be listed is a mistake, and is not taken for an empty one', () => {
    const etc = join(folder, 'unlisted');
    mkdirSync(etc);
    file(GOOD, 'unlisted/chainkeeper.conf');
    expect(loadConfig({ etc, env: {} }).ok).toBe(true);
    file('', 'unlisted/chainkeeper.conf.d');
    const told = `${etc}/chainkeeper.conf.d: cannot be read: part of the path is a file`;
    const error = [expect.stringContaining(told)];
    expect(loadConfig({ etc, env: {} })).toMatchObject({ error, places: { none: false } });
    // Whoever may use the socket may be unable to read what holds passwords.
    expect(findSocket({ etc, env: {} }).ok).toBe(true);
  });

  test('a user who may not list conf.d is told so', () => {
    const etc = mkdtempSync(join(tmpdir(), 'ck-etc-'));
    chmodSync(etc, 0o755);
    mkdirSync(join(etc, 'chainkeeper.conf.d'), { mode: 0o700 });
    writeFileSync(join(etc, 'chainkeeper.conf'), GOOD);
    if (process.getuid?.() === 0) process.seteuid?.(65534);
    else chmodSync(join(etc, 'chainkeeper.conf.d'), 0);
    try {
      expect(loadConfig({ etc, env: {} })).toMatchObject({
        error: [expect.stringMatching(/conf\.d: cannot be read: uid \d+ may not: run it as/)],
      });
    } finally {
      if (process.getuid?.() === 0) process.seteuid?.(0);
      chmodSync(join(etc, 'chainkeeper.conf.d'), 0o700);
      rmSync(etc, { recursive: true });
    }
  });

  test('a file that was named must be there', () => {
    const away = join(folder, 'away.conf');
    expect(loadConfig({ files: [away], env: {} })).toMatchObject({
      error: [`${away}: cannot be read: it is not there: make it, or name another`],
    });
    expect(findSocket({ files: [away], env: {} }).ok).toBe(false);
  });

  test('of a file that was not read nothing is called missing or wrong', () => {
    const bad = load('[cinder\n[api]\nbind_port = many\n');
    expect(bad.ok ? [] : bad.error.map((it) => it.replace(`${folder}/`, ''))).toEqual([
      'a.conf:1: a group must end with ]',
    ]);
    expect(bad.doubtful).toContain('libvirt');
  });

  test('where it was looked for, and what was found', () => {
    const etc = join(folder, 'nothing');
    const usual = [join(etc, 'chainkeeper.conf'), join(etc, 'chainkeeper.conf.d/*.conf')];
    expect(loadConfig({ etc, env: {} }).places).toEqual({ sought: usual, found: [], none: true });
    const named = file(GOOD);
    expect(load(GOOD).places).toEqual({ sought: [named], found: [named], none: false });
    expect(loadConfig({ files: [folder], env: {} })).toMatchObject({
      places: { found: [], none: false },
      error: [expect.stringContaining('it is a folder')],
    });
  });

  test('one group in doubt leaves the others as they were meant', () => {
    const { draft, doubtful } = load(`${GOOD}[libvirt]\nquiesce = perhaps\n`);
    expect([...doubtful]).toEqual(['libvirt']);
    expect(draft.cinder.endpoint).toBe('http://cinder:8776/v3');
  });
});

describe('a secret that was put where it does not fit', () => {
  const http = `${GOOD.replace('= noauth\nend', '= http_basic\nusername = u\nend')}password = `;
  test.each([
    [`[operator]\nsocket = \${cinder.password}`, 'hunter2 22'],
    [`[libvirt]\nquiesce = \${cinder.password}`, 'abc'],
    [`[DEFAULT]\nstate_path = x\${cinder.password}`, 'hunter2'],
    [`[api]\nbind_port = \${cinder.password}`, 'p"w;#d'],
  ])('%s', (text, secret) => {
    const found = mistakes(`${http}${secret}\n${text}`);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain('***');
    expect(found[0]).not.toContain(secret);
  });
});

describe('the sample configuration', () => {
  const text = configSample();

  test('sets nothing: as a file it says what an empty one does', () => {
    expect(load(text)).toEqual({ ...load(''), places: load(text).places });
  });

  test('is no wider than a terminal', () => {
    expect(text.split('\n').filter((line) => line.length > 79)).toEqual([]);
  });

  test('names every option that is looked at, and no other', () => {
    const asked = new Set<string>();
    const env = new Proxy({} as Record<string, string>, {
      get: (_, name) => {
        const [, group = '', option = ''] = /^OS_(.+?)__(.+)$/.exec(String(name)) ?? [];
        asked.add(`${group === 'DEFAULT' ? group : group.toLowerCase()}.${option.toLowerCase()}`);
        return undefined;
      },
    });
    const basic = GOOD.replace('= noauth\nend', '= http_basic\nusername = u\npassword = p\nend');
    const bare = TOKENS.replaceAll(/^(user|project)_domain/gm, 'default_domain').replace(
      /\[c.*/s,
      '',
    );
    const names = `${bare}${bare.replace('keystone_authtoken', 'cinder')}`;
    const [none, some] = TOKENS_BY_CREDENTIAL.split('[cinder]');
    const swapped = `${none?.replace('keystone_authtoken', 'cinder')}[keystone_authtoken]${some}`;
    for (const text of [GOOD, basic, TOKENS, names, TOKENS_BY_CREDENTIAL, swapped]) {
      expect(loadConfig({ files: [file(text)], env }).ok).toBe(true);
    }
    const told = describedOptions().map(({ group, name }) => `${group}.${name}`);
    // Looked at to be refused.
    const scopes = 'domain_name domain_id system_scope trust_id'.split(' ');
    const refused = ['cinder', 'keystone_authtoken'].flatMap((it) =>
      scopes.map((scope) => `${it}.${scope}`),
    );
    expect([...told, ...refused].toSorted()).toEqual([...asked].toSorted());
  });

  test('with every comment taken away it is the default, without a warning', () => {
    const set = text
      .split('\n')
      .filter((line) => /^#\w+ = |^\[/.test(line) && !line.endsWith('<None>'))
      .map((line) => line.replace('#', ''));
    const need = { OS_CINDER__AUTH_TYPE: 'none', OS_CINDER__ENDPOINT: 'http://c/v3' };
    const env = { ...need, OS_API__AUTH_STRATEGY: 'noauth' };
    const all = load(set.join('\n'), env);
    expect(all).toEqual({ ...load('', env), places: all.places });
    expect(all.ok).toBe(true);
  });

  const limits = describedOptions().filter((it) => it.most !== undefined || it.choices);
  test.each(limits.map((it) => [`[${it.group}] ${it.name}`, it] as const))(
    'what it says %s may be is what it may be',
    (name, { group, name: option, least = 0, most = 0, choices }) => {
      const wrong = (value: string | number) =>
        mistakes('', { [`OS_${group}__${option}`.toUpperCase()]: String(value) }).filter(
          (it) =>
            it.includes(`${name} is `) &&
            /give (a whole|one of|password or)|noauth, http_basic or none/.test(it),
        );
      if (choices === undefined) {
        expect([wrong(least), wrong(most)]).toEqual([[], []]);
        expect([wrong(least - 1).length, wrong(most + 1).length]).toEqual([1, 1]);
        return;
      }
      for (const choice of choices) expect(wrong(choice), choice).toEqual([]);
      expect(wrong('klingon')).toHaveLength(1);
    },
  );
});
