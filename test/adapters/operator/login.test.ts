import { beforeEach, describe, expect, test } from 'vitest';
import { parsePolicy } from '#adapters/nova-api/policy.ts';
import { tokenAuth } from '#adapters/nova-api/token-auth.ts';
import { MOST_CONNECTIONS, metricsApi } from '#adapters/operator/metrics-api.ts';
import { FORMS_POLICY, POLICY } from '#adapters/operator/page/routes.ts';
import { MOST_TRIES, placeOf, WHILE_MS } from '#adapters/operator/tries.ts';
import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Holder, Lent, LoginDesk, Words } from '#ports/identity.ts';
import {
  pretendClock,
  pretendInspect,
  pretendMeasures,
  pretendTelemetry,
} from './pretend-inspect.ts';

const HOUR = 3_600_000;
const PASSWORD = 's3cret &+é';
const ROLES = { boss: ['admin'], nova: ['service'], reader: ['reader'] };
type Name = keyof typeof ROLES;

let now = 0;
let telemetry = pretendTelemetry();
/** The tokens that are good. */
let tokens = new Map<string, Holder>();
let asked: Words[] = [];
let givenBack: string[] = [];
let away: Fault | null = null;

beforeEach(() => {
  now = 0;
  telemetry = pretendTelemetry();
  tokens = new Map();
  asked = [];
  givenBack = [];
  away = null;
});

const desk: LoginDesk = {
  login: async (words): Promise<Result<Lent | null, Fault>> => {
    asked.push(words);
    if (away !== null) return err(away);
    const { user, password } = words;
    if (!(user in ROLES) || password !== PASSWORD) return ok(null);
    const token = `token-${asked.length}`;
    const holder = { user, roles: ROLES[user as Name], project: 'p', restricted: false };
    tokens.set(token, holder);
    return ok({ token, user, lifeMs: HOUR });
  },
  giveBack: async (token) => {
    givenBack.push(token);
    tokens.delete(token);
  },
  [Symbol.asyncDispose]: async () => {},
};

function served({ rule = '', tls = true, staysEveryMs = 30_000 } = {}) {
  const policy = parsePolicy(rule && `"chainkeeper:operations:get": "${rule}"`);
  if (!policy.ok) throw new Error(policy.error.join());
  const auth = tokenAuth({
    judge: {
      validate: async (token) => ok(tokens.get(token) ?? null),
      [Symbol.asyncDispose]: async () => {},
    },
    policy: policy.value,
    wwwAuthenticateUri: 'https://keystone:5000',
    serviceTokens: { roles: ['service'], required: true },
  });
  const clock = { ...pretendClock, monotonic: () => now };
  const page = { inspect: pretendInspect().inspect, clock, telemetry, host: 'cmp-04' };
  const common = { measures: pretendMeasures, telemetry, auth, page, open: false, staysEveryMs };
  return metricsApi({ ...common, desk, ...(tls && { tls: {} }) });
}

type App = ReturnType<typeof served>;
const OURS = { 'sec-fetch-site': 'same-origin' };
const words = (user: string, more = {}) => ({
  ...{ user, password: PASSWORD, domain: 'Default', project: 'service', project_domain: '' },
  ...more,
});

function post(
  app: App,
  fields: Record<string, string>,
  headers: object = OURS,
  remoteAddress = '10.0.0.1',
) {
  return app.inject({
    method: 'POST',
    url: '/ui/login',
    remoteAddress,
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    payload: new URLSearchParams(fields).toString(),
  });
}

/** The Cookie header of whoever has just logged in. */
async function cookieOf(app: App, user: string): Promise<string> {
  const answer = await post(app, words(user));
  expect([answer.statusCode, answer.headers.location]).toEqual([303, '/ui/']);
  return String(answer.headers['set-cookie']).split(';')[0] ?? '';
}
const get = (app: App, url: string, headers = {}) => app.inject({ url, headers });

describe('a stranger', () => {
  test('who wants a page gets the form, and nobody else does', async () => {
    const app = served();
    const sent = await get(app, '/ui/chains/volume-1?x=1');
    expect(sent.statusCode).toBe(303);
    expect(sent.headers.location).toBe('/ui/login?next=%2Fui%2Fchains%2Fvolume-1%3Fx%3D1');
    expect(sent.body).toBe('');
    for (const url of ['/metrics', '/v1/events', '/', '/uix']) {
      const answer = await get(app, url);
      expect([url, answer.statusCode]).toEqual([url, 401]);
      expect(answer.headers['www-authenticate']).toBe('Keystone uri="https://keystone:5000"');
    }
    for (const url of ['/ui/page.css', '/ui/icon.svg']) {
      expect((await get(app, url)).statusCode).toBe(200);
    }
  });

  test('sees a form that goes nowhere but here, without a script', async () => {
    const form = await get(served(), '/ui/login?next=/ui/operations');
    expect(form.statusCode).toBe(200);
    expect(form.body).toContain('name="next" value="/ui/operations"');
    expect(form.body).toContain('type="password"');
    expect(form.body).not.toContain('<script');
    expect(form.headers['content-security-policy']).toBe(FORMS_POLICY);
    expect(FORMS_POLICY.replace("form-action 'self'", "form-action 'none'")).toBe(POLICY);
    expect(form.headers['cache-control']).toBe('no-store');
  });

  test.each(['https://evil.example/', '//evil.example', '/ui/login', '/ui/logout', '/v1/events'])(
    'is not led to %s afterwards',
    async (next) => {
      const app = served();
      const form = await get(app, `/ui/login?next=${encodeURIComponent(next)}`);
      expect(form.body).toContain('name="next" value="/ui/"');
      expect((await post(app, words('boss', { next }))).headers.location).toBe('/ui/');
    },
  );

  test('who comes from another site is told that he may have logged in', async () => {
    const app = served();
    const { headers } = await get(app, '/ui/', { 'sec-fetch-site': 'cross-site' });
    expect((await get(app, String(headers.location))).body).toContain('Logged in already?');
    expect((await get(app, '/ui/login')).body).not.toContain('Logged in already?');
  });
});

describe('whoever logs in', () => {
  test('has a number that no script and no other site can use, and sees the page', async () => {
    const app = served();
    const next = '/ui/operations?state=open';
    const answer = await post(app, words('boss', { next }));
    expect([answer.statusCode, answer.headers.location]).toEqual([303, next]);
    expect(answer.headers['set-cookie']).toMatch(
      /^__Host-chainkeeper=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Strict$/,
    );
    const { project_domain: _, project, ...rest } = words('boss');
    expect(asked).toEqual([{ ...rest, project, projectDomain: 'Default' }]);
    const cookie = String(answer.headers['set-cookie']).split(';')[0];
    const page = await get(app, '/ui/', { cookie: `a=b; ${cookie}; c=d` });
    expect([page.statusCode, page.headers['cache-control']]).toEqual([200, 'no-store']);
    expect(page.body).toContain('action="/ui/logout"');
    expect((await get(app, '/metrics', { cookie })).statusCode).toBe(200);
    expect(telemetry.lines).toEqual(['info User boss has logged in on the page, from 10.0.0.1']);
  });

  test.each<[Name, string, number]>([
    ['boss', '', 303],
    ['nova', '', 303],
    ['reader', '', 403],
    ['reader', 'role:reader or role:admin', 303],
    ['nova', 'role:reader or role:admin', 403],
    ['boss', '!', 403],
  ])('%s, where the policy is "%s", gets a %d', async (user, rule, status) => {
    const answer = await post(served({ rule }), words(user));
    expect(answer.statusCode).toBe(status);
    if (status === 303) return;
    expect(answer.body).toContain('allow chainkeeper:operations:get to be performed.');
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(givenBack).toEqual(['token-1']);
  });

  test('can change nothing for it: orders are not served here', async () => {
    const app = served();
    const cookie = await cookieOf(app, 'boss');
    for (const url of ['/v1/operations/op-1/abort', '/v1/operations/op-1/settle', '/v1/plans']) {
      const answer = await app.inject({ method: 'POST', url, headers: { cookie, ...OURS } });
      expect([url, answer.statusCode]).toEqual([url, 404]);
    }
  });

  test('and brings a token besides is judged by that', async () => {
    const app = served();
    const cookie = await cookieOf(app, 'boss');
    const answer = await get(app, '/metrics', { cookie, 'x-auth-token': 'nobody' });
    expect(answer.statusCode).toBe(401);
  });

  test('with a wrong password is told so, and it is repeated nowhere', async () => {
    const answer = await post(served(), words('boss', { password: 'guess-1' }));
    expect(answer.statusCode).toBe(401);
    expect(answer.body).toContain('Keystone does not know this user');
    expect(answer.body).toContain('value="boss"');
    expect(answer.headers['set-cookie']).toBeUndefined();
    expect(answer.body + telemetry.lines.join()).not.toContain('guess-1');
  });

  test.each(['user', 'password', 'domain', 'project'])('without %s asks nobody', async (name) => {
    expect((await post(served(), words('boss', { [name]: '' }))).statusCode).toBe(400);
    expect(asked).toEqual([]);
  });

  test('while Keystone is away is told that, and not why', async () => {
    away = { kind: 'unreachable', who: 'Keystone', detail: 'no route' };
    const answer = await post(served(), words('boss'));
    expect(answer.statusCode).toBe(503);
    expect(answer.body).not.toContain('no route');
    expect(telemetry.lines).toEqual([expect.stringContaining('no route')]);
  });

  test.each([
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { origin: 'https://evil.example' },
    { origin: 'null' },
    { origin: 'http://cmp-04:8798', host: 'cmp-04:8798' },
  ])('by the form of another site (%j) is not logged in, nor out', async (headers) => {
    const app = served();
    expect((await post(app, words('boss'), headers)).statusCode).toBe(403);
    expect(asked).toEqual([]);
    const cookie = await cookieOf(app, 'boss');
    const url = '/ui/logout';
    const out = await app.inject({ method: 'POST', url, headers: { ...headers, cookie } });
    expect(out.statusCode).toBe(403);
    expect((await get(app, '/metrics', { cookie })).statusCode).toBe(200);
  });

  test('with an old browser, or none, may send the form', async () => {
    const origin = { origin: 'https://cmp-04', host: 'cmp-04' };
    expect((await post(served(), words('boss'), origin)).statusCode).toBe(303);
    expect((await post(served(), words('boss'), {})).statusCode).toBe(303);
  });
});

describe('a session', () => {
  const isIn = async (app: App, cookie: string) =>
    (await get(app, '/ui/', { cookie })).statusCode === 200;

  test('ends with its token', async () => {
    const app = served();
    const cookie = await cookieOf(app, 'boss');
    now = HOUR - 1;
    expect(await isIn(app, cookie)).toBe(true);
    now = HOUR;
    expect(await isIn(app, cookie)).toBe(false);
  });

  test('is none any more when Keystone says so', async () => {
    const app = served();
    const cookie = await cookieOf(app, 'boss');
    tokens.clear();
    expect(await isIn(app, cookie)).toBe(false);
  });

  test('ends when one logs out, and its token with it', async () => {
    const app = served();
    const cookie = await cookieOf(app, 'boss');
    const url = '/ui/logout';
    const out = await app.inject({ method: 'POST', url, headers: { cookie, ...OURS } });
    expect([out.statusCode, out.headers.location]).toEqual([303, '/ui/login']);
    expect(out.headers['set-cookie']).toMatch(/^__Host-chainkeeper=; .*Max-Age=0$/);
    expect(givenBack).toEqual(['token-1']);
    expect(await isIn(app, cookie)).toBe(false);
  });

  test('gives way to the next one of the same browser', async () => {
    const app = served();
    const cookie = await cookieOf(app, 'boss');
    const again = await post(app, words('nova'), { cookie, ...OURS });
    expect(await isIn(app, cookie)).toBe(false);
    expect(await isIn(app, String(again.headers['set-cookie']).split(';')[0] ?? '')).toBe(true);
  });

  test('is not to be had by a number that somebody chose', async () => {
    const app = served();
    const chosen = `__Host-chainkeeper=${'A'.repeat(43)}`;
    const answer = await post(app, words('boss'), { cookie: chosen, ...OURS });
    expect(answer.headers['set-cookie']).not.toContain('AAAA');
    expect(await isIn(app, chosen)).toBe(false);
  });

  test('of no more than 1000 people is remembered: the oldest one ends', async () => {
    const app = served();
    const first = await cookieOf(app, 'boss');
    for (let at = 1; at < 1000; at += 1) await cookieOf(app, 'boss');
    expect(await isIn(app, first)).toBe(true);
    await cookieOf(app, 'boss');
    expect(await isIn(app, first)).toBe(false);
  });
});

describe('who guesses', () => {
  const wrong = { password: 'x' };

  test('is made to wait, wherever he comes from, and others are not', async () => {
    const app = served();
    for (let at = 0; at < MOST_TRIES; at += 1) {
      const guess = await post(app, words('boss', wrong), OURS, `10.0.1.${at}`);
      expect(guess.statusCode).toBe(401);
    }
    const answer = await post(app, words('boss'), OURS, '10.0.1.99');
    expect([answer.statusCode, answer.headers['retry-after']]).toEqual([429, '300']);
    expect(asked).toHaveLength(MOST_TRIES);
    expect((await post(app, words('nova'), OURS, '10.0.1.99')).statusCode).toBe(303);
    now = WHILE_MS;
    expect((await post(app, words('boss'), OURS, '10.0.1.99')).statusCode).toBe(303);
  });

  test('is made to wait however he writes a name, as a database reads it', async () => {
    const app = served();
    const names = ['boss', 'Boss', 'BOSS ', 'b\u00f3ss', 'bo\u0301ss'];
    for (let at = 0; at < MOST_TRIES; at += 1) {
      const guess = { ...wrong, domain: at % 2 === 0 ? 'Default' : 'default ' };
      const name = names[at % names.length] ?? '';
      const answer = await post(app, words(name, guess), OURS, `10.0.3.${at}`);
      expect(answer.statusCode).toBe(401);
    }
    expect((await post(app, words('boss'), OURS, '10.0.3.99')).statusCode).toBe(429);
    expect((await post(app, words('boss', { domain: 'other' }))).statusCode).toBe(303);
  });

  test('a name that looks like an address makes nobody there wait', async () => {
    const app = served();
    for (let at = 0; at < MOST_TRIES; at += 1) {
      const said = words('10.0.0.1', { ...wrong, domain: 'from' });
      await post(app, said, OURS, `10.0.4.${at}`);
    }
    expect((await post(app, words('boss'))).statusCode).toBe(303);
  });

  test('is made to wait whoever he says that he is', async () => {
    const app = served();
    for (let at = 0; at < MOST_TRIES; at += 1) await post(app, words(`user-${at}`, wrong));
    expect((await post(app, words('boss'))).statusCode).toBe(429);
    expect((await post(app, words('boss'), OURS, '10.0.0.2')).statusCode).toBe(303);
  });

  test('and has to wait, keeps nobody else from logging in', async () => {
    const app = served();
    for (let at = 0; at < MOST_TRIES; at += 1) await post(app, words(`user-${at}`, wrong));
    for (let at = 0; at < MOST_TRIES; at += 1) {
      expect((await post(app, words('boss', wrong))).statusCode).toBe(429);
    }
    expect((await post(app, words('boss'), OURS, '10.0.0.2')).statusCode).toBe(303);
  });

  test('all at once has no more tries than one by one', async () => {
    const app = served();
    const all = Array.from({ length: 40 }, () => post(app, words('boss', wrong)));
    const codes = (await Promise.all(all)).map((answer) => answer.statusCode);
    expect(codes.filter((code) => code === 401).length).toBeLessThanOrEqual(MOST_TRIES);
    expect(asked.length).toBeLessThanOrEqual(MOST_TRIES);
  });

  test('and then knows it has all tries again; from the same place, none more', async () => {
    const app = served();
    for (let at = 0; at < 3 * MOST_TRIES; at += 1) {
      const status = at % 5 === 4 ? 303 : 401;
      const said = words('boss', status === 303 ? {} : wrong);
      expect((await post(app, said, OURS, `10.0.2.${at}`)).statusCode).toBe(status);
    }
    for (let at = 0; at < MOST_TRIES; at += 1) {
      expect((await post(app, words(`user-${at}`, wrong))).statusCode).toBe(401);
      if (at < MOST_TRIES - 1) expect((await post(app, words('nova'))).statusCode).toBe(303);
    }
    expect((await post(app, words('nova'))).statusCode).toBe(429);
  });

  test.each([
    ['10.0.0.1', '10.0.0.1'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
  ])('%s is a guesser at %s', (address, place) => {
    expect(placeOf(address)).toBe(place);
  });
});

test('without TLS nobody is asked for a password', async () => {
  const app = served({ tls: false });
  expect((await get(app, '/ui/')).statusCode).toBe(401);
  expect((await get(app, '/ui/login')).statusCode).toBe(401);
  expect((await post(app, words('boss'))).statusCode).toBe(401);
  expect(asked).toEqual([]);
});

test('nobody has all the connections, or keeps one that says nothing', () => {
  const { server } = served();
  expect(server.maxConnections).toBe(MOST_CONNECTIONS);
  expect([server.headersTimeout, server.keepAliveTimeout]).toEqual([10_000, 5_000]);
});

test('a stream of events ends when nobody can say whether who listens still may', async () => {
  const app = served({ tls: false, staysEveryMs: 20 });
  const at = await app.listen({ host: '127.0.0.1', port: 0 });
  tokens.set('t', { user: 'boss', roles: ['admin'], project: 'p', restricted: false });
  const { body } = await fetch(`${at}/v1/events`, { headers: { 'x-auth-token': 't' } });
  const reader = body!.getReader();
  await reader.read();
  tokens.get = () => {
    throw new Error('a defect');
  };
  for (let done = false; !done; ) ({ done } = await reader.read());
  await app.close();
});

test('a stream of events ends when who listens may no longer', async () => {
  const app = served({ tls: false, staysEveryMs: 20 });
  const at = await app.listen({ host: '127.0.0.1', port: 0 });
  tokens.set('t', { user: 'boss', roles: ['admin'], project: 'p', restricted: false });
  const { status, body } = await fetch(`${at}/v1/events`, { headers: { 'x-auth-token': 't' } });
  expect(status).toBe(200);
  const reader = body!.getReader();
  await reader.read();
  setTimeout(() => tokens.clear(), 100);
  for (let done = false; !done; ) ({ done } = await reader.read());
  expect(tokens.size).toBe(0);
  await app.close();
});
