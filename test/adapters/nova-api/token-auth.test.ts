import { afterEach, describe, expect, test } from 'vitest';
import { KeystoneHttp } from '#adapters/keystone/http.ts';
import { KeystoneSession } from '#adapters/keystone/session.ts';
import { TokenValidator, type ValidatorOptions } from '#adapters/keystone/validator.ts';
import { parsePolicy } from '#adapters/nova-api/policy.ts';
import { type TokenAuthOptions, tokenAuth } from '#adapters/nova-api/token-auth.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import {
  PROJECT,
  type Pretended,
  type PretendToken,
  pretendKeystone,
} from '../keystone/pretend-keystone.ts';
import { api, createBody, type Harness, PATH, post, remove } from './harness.ts';

const DELETE = `?delete_info=${encodeURIComponent(
  JSON.stringify({
    volume_id: '6d2ae0d4-7f3f-4ad3-9d6a-0e2c2d5e1f10',
    file_to_merge: 'a',
    merge_target_file: null,
    type: 'qcow2',
  }),
)}`;

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const it of opened.splice(0)) await it[Symbol.asyncDispose]();
});

type More = Partial<TokenAuthOptions> & Partial<ValidatorOptions>;

/** Our API before a Keystone that knows the given tokens; the clock stands still. */
async function scene(
  tokens: Record<string, PretendToken>,
  more: More = {},
  start: Partial<Pretended> = {},
) {
  const keystone = await pretendKeystone({ tokens: new Map(Object.entries(tokens)), ...start });
  const lines: string[] = [];
  const began = Date.now();
  const clock = {
    at: 0,
    ahead: 0,
    monotonic: () => clock.at,
    now: () => began + clock.at + clock.ahead,
  };
  const http = new KeystoneHttp({ authUrl: keystone.authUrl });
  const session = new KeystoneSession({
    login: {
      type: 'password',
      authUrl: keystone.authUrl,
      user: { id: 'u' },
      password: { reveal: () => 'hunter22' },
      project: { id: PROJECT },
    },
    http,
    clock,
    catalog: false,
  });
  const policy = parsePolicy('');
  if (!policy.ok) throw new Error();
  const validator = new TokenValidator({ session, clock, cacheMs: 300_000, ...more });
  opened.push(keystone, validator);
  const auth = tokenAuth({
    judge: validator,
    policy: policy.value,
    wwwAuthenticateUri: 'http://keystone.example:5000',
    serviceTokens: { roles: ['service'], required: true },
    ...more,
  });
  const telemetry: Telemetry = {
    log: (level, message, { user, project } = {}) =>
      lines.push(`${level} ${message} (${user ?? '-'} ${project ?? '-'})`),
  };
  const it: Harness = api({ auth, telemetry });
  const ask = async (token: string | null, service?: string, url = PATH) => {
    const headers = { 'x-auth-token': token ?? '', ...(service && { 'x-service-token': service }) };
    return post(it, createBody(), headers, url);
  };
  const status = async (...asked: Parameters<typeof ask>) => (await ask(...asked)).statusCode;
  const looks = () => keystone.heard.filter(({ method }) => method === 'GET');
  return { keystone, clock, it, ask, status, looks, lines };
}

describe('who comes in', () => {
  test('a service and an admin, within their project, with a create and a delete', async () => {
    const { it, status, keystone } = await scene({
      service: { roles: ['service'] },
      admin: { roles: ['member', 'ADMIN'] },
    });
    expect(await status('service')).toBe(200);
    expect(await status(' admin ')).toBe(200);
    const deleted = await remove(it, DELETE, { 'x-auth-token': 'service' });
    expect(deleted.statusCode).toBe(204);
    expect(it.calls.map(({ verb }) => verb)).toEqual(['create', 'create', 'delete']);
    expect(keystone.heard[1]).toMatchObject({
      method: 'GET',
      url: '/identity/v3/auth/tokens?nocatalog',
      headers: {
        'x-auth-token': 'ours-1',
        'x-subject-token': 'service',
        'openstack-identity-access-rules': '1',
      },
    });
    expect(keystone.heard[0]?.url).toBe('/identity/v3/auth/tokens?nocatalog');
  });

  test.each<[string, PretendToken, number, string]>([
    ['a member', { roles: ['member', 'reader'] }, 403, 'has member, reader in project'],
    ['nobody in particular', { roles: [] }, 403, 'has no role in project'],
    ['an admin of no project', { roles: ['admin'], project: null }, 403, 'has admin in no project'],
    [
      'an application credential for some requests only',
      { roles: ['admin'], more: { application_credential: { id: 'c', access_rules: [] } } },
      401,
      'with access rules is not taken',
    ],
  ])('not %s', async (_, token, code, why) => {
    const { it, ask, lines } = await scene({ it: token });
    const answer = await ask('it');
    expect(answer.statusCode).toBe(code);
    expect(lines.join()).toContain(why);
    expect(it.calls).toEqual([]);
  });

  test('and is named in the log of what was asked', async () => {
    const { status, lines } = await scene({ a: {}, b: { roles: ['member'] } });
    await status('a');
    await status('b');
    const access = lines.filter((it) => it.includes('"POST '));
    expect(access).toEqual([
      expect.stringMatching(new RegExp(`status: 200 .*\\(u-1 ${PROJECT}\\)$`)),
      expect.stringMatching(/status: 403 .*\(- -\)$/),
    ]);
  });

  test('an application credential for everything', async () => {
    const more = { application_credential: { id: 'c', restricted: true } };
    const { status } = await scene({ it: { roles: ['service'], more } });
    expect(await status('it')).toBe(200);
  });

  test("a 403 is Nova's, and names the rule of the request", async () => {
    const { it, ask } = await scene({ member: { roles: ['member'] } });
    const created = await ask('member');
    const rule = 'os_compute_api:os-assisted-volume-snapshots';
    expect(created.json()).toEqual({
      forbidden: { code: 403, message: `Policy doesn't allow ${rule}:create to be performed.` },
    });
    const deleted = await remove(it, DELETE, { 'x-auth-token': 'member' });
    expect(deleted.json().forbidden.message).toContain(`${rule}:delete`);
  });

  test('each rule is of its own request', async () => {
    const policy = parsePolicy('os_compute_api:os-assisted-volume-snapshots:delete: "!"');
    if (!policy.ok) throw new Error();
    const { it, status } = await scene({ a: {} }, { policy: policy.value });
    expect(await status('a')).toBe(200);
    expect((await remove(it, DELETE, { 'x-auth-token': 'a' })).statusCode).toBe(403);
  });

  test.each([null, '', 'unknown', 'ex pired', 'expired', 'ümlaut'])(
    "not %j: a 401 is keystonemiddleware's",
    async (token) => {
      const { it, ask } = await scene({ expired: { lifeS: -1 } });
      const answer = await ask(token);
      expect(answer.statusCode).toBe(401);
      expect(answer.headers['www-authenticate']).toBe(
        'Keystone uri="http://keystone.example:5000"',
      );
      expect(answer.json()).toEqual({
        error: {
          code: 401,
          title: 'Unauthorized',
          message: 'The request you have made requires authentication.',
        },
      });
      expect(it.calls).toEqual([]);
    },
  );

  test("the project of the URL is the token's", async () => {
    const { status, ask } = await scene({ a: {} });
    const url = (project: string) => `/v2.1/${project}/os-assisted-volume-snapshots`;
    expect(await status('a', undefined, url(PROJECT))).toBe(200);
    const other = await ask('a', undefined, url('0123456789abcdef0123456789abcdef'));
    expect(other.statusCode).toBe(400);
    expect(other.json().badRequest.message).toBe(
      "Malformed request URL: URL's project_id '0123456789abcdef0123456789abcdef' doesn't match " +
        `Context's project_id '${PROJECT}'`,
    );
  });
});

describe('X-Service-Token', () => {
  const TOKENS = {
    old: { roles: ['service'], lifeS: -10 },
    user: { roles: ['service'] },
    nova: { roles: ['service'] },
    member: { roles: ['member'] },
  };

  test('of a service lets an expired token pass, and nothing else does', async () => {
    const { status, looks } = await scene(TOKENS);
    expect(await status('old')).toBe(401);
    expect(await status('old', 'nova')).toBe(200);
    expect(looks().map(({ url }) => url.replace(/.*\?/, ''))).toEqual([
      'nocatalog',
      'nocatalog',
      'nocatalog&allow_expired=1',
    ]);
    // What was learnt of it with a service's word is not believed without.
    expect(await status('old')).toBe(401);
    expect(await status('unknown', 'nova')).toBe(401);
  });

  test('that is none ends the request, whoever asks', async () => {
    const { status, lines } = await scene(TOKENS);
    for (const service of ['unknown', 'old', 'member']) {
      expect(await status('user', service), service).toBe(401);
    }
    expect(await status(null, 'nova')).toBe(401);
    expect(lines.join()).toContain('X-Service-Token has none of the roles service');
  });

  test('may be of anybody where no role is required, but makes nothing older good', async () => {
    const serviceTokens = { roles: ['service'], required: false };
    const { status } = await scene(TOKENS, { serviceTokens });
    expect(await status('user', 'member')).toBe(200);
    expect(await status('old', 'member')).toBe(401);
  });
});

describe('what Keystone said is believed', () => {
  test('for a while, and no longer than the token lives', async () => {
    const { status, looks, clock, keystone } = await scene({
      long: { lifeS: 3600 },
      short: { lifeS: 20 },
    });
    for (const token of ['long', 'long', 'short', 'short']) await status(token);
    expect(looks()).toHaveLength(2);
    keystone.state.tokens.clear();
    clock.at = 19_000;
    expect([await status('long'), await status('short')]).toEqual([200, 200]);
    clock.at = 21_000;
    expect([await status('long'), await status('short')]).toEqual([200, 401]);
    clock.at = 300_001;
    expect(await status('long')).toBe(401);
  });

  test.each([-3_600_000, 3_600_000])('whatever our own clock says (%i ms off)', async (ahead) => {
    const { status, clock } = await scene({
      old: { roles: ['service'], lifeS: -10 },
      young: { roles: ['service'], lifeS: 600 },
    });
    clock.ahead = ahead;
    expect(await status('old', 'young')).toBe(200);
    expect(await status('old')).toBe(401);
    expect([await status('young'), await status('young')]).toEqual([200, 200]);
  });

  test('not at all without a cache, nor when it was a no', async () => {
    const { status, looks, keystone } = await scene({ a: {} }, { cacheMs: -1000 });
    for (const token of ['a', 'a', 'b', 'b']) await status(token);
    expect(looks()).toHaveLength(4);
    keystone.state.tokens.set('b', {});
    expect(await status('b')).toBe(200);
  });

  test('of so many tokens only', async () => {
    const { status, looks } = await scene({ a: {}, b: {}, c: {} }, { most: 2 });
    for (const token of ['a', 'b', 'c', 'c', 'b', 'a']) await status(token);
    expect(looks().map(({ headers }) => headers['x-subject-token'])).toEqual(['a', 'b', 'c', 'a']);
  });

  test('by all who ask about it meanwhile, and so many ask at once', async () => {
    const { status, looks } = await scene({ a: {}, b: {} }, { most: 1 }, { delayMs: 30 });
    expect(await Promise.all([status('a'), status('a'), status('b')])).toEqual([200, 200, 503]);
    expect(looks()).toHaveLength(1);
  });
});

describe('a Keystone that cannot say', () => {
  test.each([500, 503, 403, 302])('HTTP %i is a 503, which is not remembered', async (status) => {
    const scened = await scene({ a: {} });
    scened.keystone.state.broken = { status };
    const answer = await scened.ask('a');
    expect(answer.statusCode).toBe(503);
    expect(answer.json()).toEqual({
      serviceUnavailable: {
        code: 503,
        message: 'The Keystone service is temporarily unavailable.',
      },
    });
    expect(scened.lines.join()).toContain('warning Not let in (503): Keystone');
  });

  test('an answer that is no token is a 503', async () => {
    const scened = await scene({ a: {} });
    expect(await scened.status('a')).toBe(200);
    scened.keystone.state.broken = { status: 200, body: { token: { roles: 'admin' } } };
    expect(await scened.status('b')).toBe(503);
  });

  test('our own token is renewed once, when it is not taken', async () => {
    const scened = await scene({ a: {}, b: {} }, { cacheMs: 0 });
    expect(await scened.status('a')).toBe(200);
    scened.keystone.state.trusts = false;
    expect(await scened.status('b')).toBe(503);
    const logins = scened.keystone.heard.filter(({ method }) => method === 'POST');
    expect(logins).toHaveLength(2);
    expect(scened.looks()).toHaveLength(3);
  });
});

test('no log says a token or a password', async () => {
  const { status, lines, keystone } = await scene({ a: { roles: ['member'] } });
  await status('a-secret-token', 'another-secret-token');
  keystone.state.broken = {
    status: 400,
    body: { error: { message: 'no a-third-secret: ours-1' } },
  };
  await status('a-third-secret');
  expect(lines.join()).toContain('no ***: ***');
  expect(lines.join()).not.toMatch(/secret|hunter22|ours-1/);
});
