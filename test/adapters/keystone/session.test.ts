import { afterEach, describe, expect, test } from 'vitest';
import { keystone } from '#adapters/cinder/auth.ts';
import type { Wanted } from '#adapters/cinder/catalog.ts';
import { Rest } from '#adapters/cinder/rest.ts';
import { KeystoneHttp } from '#adapters/keystone/http.ts';
import type { Login } from '#adapters/keystone/login.ts';
import { KeystoneSession } from '#adapters/keystone/session.ts';
import { json, Loopback } from '../cinder/pretend-cinder.ts';
import {
  CATALOG,
  PROJECT,
  type Pretended,
  type PretendKeystone,
  pretendKeystone,
} from './pretend-keystone.ts';

const PASSWORD = 'hunter22';
const nothing = async () => {};
const hidden = { reveal: () => PASSWORD };
const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const it of opened.splice(0)) await it[Symbol.asyncDispose]();
});

const WANTED: Wanted = {
  serviceType: 'volumev3',
  serviceName: null,
  interfaces: ['public'],
  region: null,
};

/** A Keystone, and a session with a clock that stands still until it is told. */
async function scene(start: Partial<Pretended> = {}, more: Partial<Login> = {}) {
  const server: PretendKeystone = await pretendKeystone(start);
  const login = {
    type: 'password',
    authUrl: server.authUrl,
    user: { name: 'nova', domain: { name: 'Default' } },
    password: hidden,
    project: { name: 'service', domain: { id: 'default' } },
    ...more,
  } as Login;
  const http = new KeystoneHttp({ authUrl: login.authUrl });
  const clock = { at: 0, monotonic: () => clock.at };
  opened.push(server, http);
  return { server, clock, session: new KeystoneSession({ login, http, clock, catalog: true }) };
}

const logins = ({ heard }: Loopback) => heard.filter(({ method }) => method === 'POST');
const textOf = async (session: KeystoneSession) => {
  const access = await session.access();
  return access.ok ? access.value.text : access.error.kind;
};

describe('a login', () => {
  test('with a password is what keystoneauth would send', async () => {
    const { server, session } = await scene();
    expect(await session.access()).toMatchObject({
      ok: true,
      value: { text: 'ours-1', user: 'u-1', roles: ['service'], project: PROJECT },
    });
    expect(server.heard).toEqual([
      expect.objectContaining({
        url: '/identity/v3/auth/tokens',
        body: {
          auth: {
            identity: {
              methods: ['password'],
              password: {
                user: { name: 'nova', domain: { name: 'Default' }, password: PASSWORD },
              },
            },
            scope: { project: { name: 'service', domain: { id: 'default' } } },
          },
        },
      }),
    ]);
  });

  test('with an application credential asks for no scope', async () => {
    const credential = { id: 'c0ffee' };
    const type = 'v3applicationcredential';
    const { server, session } = await scene({}, { type, credential, secret: hidden });
    await session.access();
    expect(server.heard[0]?.body).toEqual({
      auth: {
        identity: {
          methods: ['application_credential'],
          application_credential: { id: 'c0ffee', secret: PASSWORD },
        },
      },
    });
  });

  test.each(['/identity/v3', '/identity/v3/', '/identity/'])('auth_url may be %s', async (path) => {
    const { server } = await scene();
    const http = new KeystoneHttp({ authUrl: `${server.url}${path}` });
    opened.push(http);
    const answer = await http.ask({ method: 'GET', path: '/auth/tokens', secrets: [] });
    expect(answer).toMatchObject({ ok: true, value: { status: 401 } });
  });

  test('is made once for all who come meanwhile', async () => {
    const { server, session } = await scene({ delayMs: 30 });
    const texts = await Promise.all([1, 2, 3].map(() => textOf(session)));
    expect(texts).toEqual(['ours-1', 'ours-1', 'ours-1']);
    expect(await textOf(session)).toBe('ours-1');
    expect(logins(server)).toHaveLength(1);
  });

  test('that is refused says why, and is not repeated for a minute', async () => {
    const { server, clock, session } = await scene({ login: null });
    const refusal = await session.access();
    expect(refusal).toMatchObject({
      ok: false,
      error: { kind: 'rejected', who: 'Keystone', code: 401 },
    });
    expect(JSON.stringify(refusal)).toMatch(/chainkeeper's own login: POST http/);
    expect(JSON.stringify(refusal)).toContain('HTTP 401: Unauthorized: the pretend Keystone');
    expect(JSON.stringify(refusal)).not.toContain(PASSWORD);
    clock.at = 59_000;
    expect(await session.access()).toEqual(refusal);
    expect(logins(server)).toHaveLength(1);
    server.state.login = {};
    clock.at = 60_001;
    expect(await textOf(session)).toBe('ours-1');
  });

  test.each([500, 502, 503, 429])('HTTP %i is a Keystone that is away', async (status) => {
    const { server, session } = await scene({ broken: { status } });
    expect(await textOf(session)).toBe('unreachable');
    server.state.broken = null;
    expect(await textOf(session)).toBe('ours-1');
  });

  test.each([
    [301, {}],
    [300, { versions: [] }],
    [201, { token: {} }],
    [201, { token: 'x' }],
    [200, {}],
  ])('HTTP %i with %j is no token', async (status, body) => {
    const { session } = await scene({ broken: { status, body } });
    const answer = await session.access();
    expect(answer).toMatchObject({ ok: false, error: { kind: 'rejected', who: 'Keystone' } });
  });

  test('a connection that is closed just when it is used anew does no harm, once', async () => {
    const { server, session } = await scene();
    const plan = [true, false, true, true, false];
    server.hangUp = () => plan.shift() ?? false;
    expect(await textOf(session)).toBe('ours-1');
    expect(plan).toEqual([true, true, false]);
    expect(await session.renew('ours-1')).toMatchObject({ error: { kind: 'unreachable' } });
    expect(plan).toEqual([false]);
  });

  test('no Keystone at all', async () => {
    const { server, session } = await scene();
    await server[Symbol.asyncDispose]();
    opened.splice(opened.indexOf(server), 1);
    expect(await session.access()).toMatchObject({
      error: { kind: 'unreachable', detail: expect.stringContaining('ECONNREFUSED') },
    });
  });
});

describe('a token', () => {
  test('is renewed two minutes before its end', async () => {
    const { clock, session } = await scene({ login: { lifeS: 3600 } });
    expect(await textOf(session)).toBe('ours-1');
    clock.at = 3_479_000;
    expect(await textOf(session)).toBe('ours-1');
    clock.at = 3_480_001;
    expect(await textOf(session)).toBe('ours-2');
  });

  test('of few seconds is renewed after half of them', async () => {
    const { clock, session } = await scene({ login: { lifeS: 20 } });
    expect(await textOf(session)).toBe('ours-1');
    clock.at = 9_900;
    expect(await textOf(session)).toBe('ours-1');
    clock.at = 10_100;
    expect(await textOf(session)).toBe('ours-2');
  });

  test('is good until its end where Keystone is away', async () => {
    const { server, clock, session } = await scene({ login: { lifeS: 3600 } });
    await session.access();
    server.state.broken = { status: 503 };
    clock.at = 3_500_000;
    expect(await textOf(session)).toBe('ours-1');
    clock.at = 3_600_001;
    expect(await textOf(session)).toBe('unreachable');
  });

  test('that somebody refused is never used again, also with Keystone away', async () => {
    const { server, session } = await scene();
    await session.access();
    server.state.broken = { status: 503 };
    expect(await session.renew('ours-1')).toMatchObject({ error: { kind: 'unreachable' } });
    expect(await textOf(session)).toBe('unreachable');
    server.state.broken = null;
    expect(await session.renew('ours-1')).toMatchObject({ value: { text: 'ours-2' } });
    // Two requests may have been refused with the same token: one login is enough.
    expect(await session.renew('ours-1')).toMatchObject({ value: { text: 'ours-2' } });
  });
});

describe('to Cinder', () => {
  /** A Cinder that knows these tokens only. */
  async function cinder(knows: Set<string>) {
    const server = await Loopback.open(({ headers }, response) => {
      const known = knows.has(String(headers['x-auth-token']));
      json(response, known ? 200 : 401, known ? {} : { unauthorized: { message: 'expired' } });
    });
    opened.push(server);
    return server;
  }

  async function asked(
    { session }: { session: KeystoneSession },
    { wanted = {}, endpoint = null }: { wanted?: Partial<Wanted>; endpoint?: string | null } = {},
  ) {
    const authorizer = keystone({ identity: session, wanted: { ...WANTED, ...wanted }, endpoint });
    // The session would be closed with it, and another request is to come.
    await using rest = new Rest({ authorizer: { ...authorizer, [Symbol.asyncDispose]: nothing } });
    return await rest.post(['snapshots', 'a', 'action'], {});
  }

  test('a token and the URL of the catalog', async () => {
    const server = await cinder(new Set(['ours-1']));
    const endpoints = [{ interface: 'public', region: 'r', url: `${server.url}/v3/${PROJECT}/` }];
    const it = await scene({ login: { catalog: [{ type: 'block-storage', endpoints }] } });
    expect(await asked(it)).toMatchObject({ value: { status: 200 } });
    expect(server.heard[0]?.url).toBe(`/v3/${PROJECT}/snapshots/a/action`);
  });

  test('a token that Cinder refuses is renewed once, and the request sent again', async () => {
    const server = await cinder(new Set(['ours-2']));
    const it = await scene();
    const endpoint = `${server.url}/v3/%(project_id)s`;
    expect(await asked(it, { endpoint })).toMatchObject({ value: { status: 200 } });
    expect(server.heard.map(({ url }) => url)).toEqual(
      [1, 2].map(() => `/v3/${PROJECT}/snapshots/a/action`),
    );
    const closed = await cinder(new Set());
    expect(await asked(it, { endpoint: closed.url })).toMatchObject({ value: { status: 401 } });
    expect(closed.heard).toHaveLength(2);
    expect(logins(it.server)).toHaveLength(3);
  });

  test('without a Keystone nothing was sent, so that nothing is unknown', async () => {
    const it = await scene({ broken: { status: 503 } });
    const endpoint = 'http://127.0.0.1:1';
    expect(await asked(it, { endpoint })).toMatchObject({ error: { kind: 'unreachable' } });
  });

  test('a catalog that has no Cinder is a fault that says what it has', async () => {
    const it = await scene({ login: { catalog: CATALOG } });
    expect(await asked(it, { wanted: { region: 'north' } })).toMatchObject({
      error: {
        kind: 'rejected',
        who: 'Keystone',
        detail:
          'the catalog has no endpoint volumev3 or block-storage, public in region north; ' +
          'it has volumev3',
      },
    });
  });
});
