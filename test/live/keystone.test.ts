import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hashSync } from 'bcryptjs';
import fc from 'fast-check';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parsePolicy, passes } from '#adapters/nova-api/policy.ts';
import { fault, Loopback } from '../adapters/cinder/pretend-cinder.ts';
import { LabBrowser, picture } from './lab/browser.ts';
import { type Credential, Keystone, type Person } from './lab/keystone.ts';
import { type Lab, openLab } from './lab/lab.ts';
import { freePort, run } from './lab/processes.ts';
import { inProcess, type Place, place, Served, tellOnFailure } from './service.ts';

/**
 * The whole program between Debian's Keystone, Cinder's own code as the caller, and a Cinder that
 * asks Keystone about each token, and knows no snapshot: so that everything is accepted, and
 * nothing done.
 */
let lab: Lab<null>;
let keystone: Keystone;
let cinder: Loopback;
let at: Place;
let served: Served;
let ours: Person;
let nova: Person;
let admin: Person;
let member: Person;
/** What Cinder said of each token, in order. */
const heard: { token: string; status: 401 | 404; project: string }[] = [];

beforeAll(async () => {
  lab = await openLab({ cinder: false });
  keystone = lab.keep(await Keystone.start(join(lab.dir, 'keystone')));
  const project = await keystone.project('service');
  ours = await keystone.person('chainkeeper', project, 'service', 'admin');
  nova = await keystone.person('nova', project, 'service');
  admin = await keystone.person('boss', project, 'admin');
  member = await keystone.person('member', project, 'member');
  cinder = lab.keep(
    await Loopback.open(async ({ headers, url = '' }, response) => {
      const token = String(headers['x-auth-token']);
      const known = await keystone.look(token);
      const status = known === null ? 401 : 404;
      heard.push({ token, status, project: /^\/v3\/(\w+)\//.exec(url)?.[1] ?? '' });
      fault(response, status, status === 404 ? 'itemNotFound' : 'unauthorized', 'no');
    }),
  );
  at = await keystonePlace('chainkeeper');
  served = lab.keep(new Served(at));
  await served.start();
  await keystone.service('volumev3', `${cinder.url}/v3/%(project_id)s`);
  await keystone.service('compute', `${at.url}/%(project_id)s`);
});
afterAll(() => lab?.[Symbol.asyncDispose]());

const plugin = (who: Person) => keystone.plugin(who);
const credentialed = ({ id, secret }: Credential) => `auth_type = v3applicationcredential
auth_url = ${keystone.url}/v3
application_credential_id = ${id}
application_credential_secret = ${secret}
`;

/** A service whose callers bring tokens, as does it to Cinder; `more` comes last and counts. */
function keystonePlace(name: string, more = ''): Promise<Place> {
  const both = `[api]\nauth_strategy = keystone
[keystone_authtoken]\n${plugin(ours)}token_cache_time = 1
[cinder]\nauth_section = keystone_authtoken\nregion_name = lab\nvalid_interfaces = internal
endpoint =\n`;
  return place(join(lab.dir, name), cinder.url, `${both}${more}`);
}

interface Said {
  readonly code: number;
  readonly words: string;
}

/** Cinder's own nova.API, with each of these [nova] sections: a create, and a delete. */
async function asCinder(...sections: readonly string[]): Promise<(Said | null)[][]> {
  const lines = sections.flatMap((section) => {
    const conf = join(lab.dir, `cinder-${randomUUID()}.conf`);
    writeFileSync(conf, `[DEFAULT]\nauth_strategy = keystone\n[nova]\n${section}\n`);
    return ['create', 'delete'].map((it) => `${conf} ${it} ${randomUUID()} ${randomUUID()}\n`);
  });
  const args = ['-B', 'test/live/keystone/assist.py'];
  const out = await run('/usr/bin/python3', args, { input: lines.join('') });
  const said = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return sections.map((_, at) => said.slice(2 * at, 2 * at + 2));
}
const WELL = [null, null];

/** A create with these tokens. */
async function create(token: string | null, service?: string, url = at.url): Promise<Response> {
  const [volume, snapshot] = [randomUUID(), randomUUID()];
  const create_info = {
    snapshot_id: snapshot,
    type: 'qcow2',
    new_file: `volume-${volume}.${snapshot}`,
  };
  return fetch(`${url}/os-assisted-volume-snapshots`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      ...(token !== null && { 'X-Auth-Token': token }),
      ...(service !== undefined && { 'X-Service-Token': service }),
    },
    body: JSON.stringify({ snapshot: { volume_id: volume, create_info } }),
  });
}
const status = async (...asked: Parameters<typeof create>) => (await create(...asked)).status;

test("Cinder's own code is let in, and so are we at Cinder's", async () => {
  tellOnFailure(at);
  heard.length = 0;
  const service = `[service_user]\nsend_service_user_token = true\n${plugin(nova)}`;
  const said = await asCinder(
    plugin(nova),
    plugin(admin),
    credentialed(await keystone.credential(nova)),
    `${plugin(admin)}${service}`,
  );
  expect(said).toEqual([WELL, WELL, WELL, WELL]);
  // Eight requests, each of which asks for the snapshot and for the volume's attachment.
  expect(heard).toHaveLength(16);
  expect(new Set(heard.map(({ token }) => token)).size).toBe(1);
  expect(heard[0]).toMatchObject({ status: 404, project: ours.project });
});

test('who has no such role, or a credential for other requests, is told so', async () => {
  const rules = [
    { service: 'compute', method: 'POST', path: '/v2.1/os-assisted-volume-snapshots' },
  ];
  const restricted = credentialed(await keystone.credential(nova, rules));
  const says = "Policy doesn't allow os_compute_api:os-assisted-volume-snapshots";
  expect(await asCinder(plugin(member), restricted)).toMatchObject([
    [
      { code: 403, words: expect.stringContaining(`${says}:create`) },
      { code: 403, words: expect.stringContaining(`${says}:delete`) },
    ],
    [{ code: 401 }, { code: 401 }],
  ]);
});

test('without a token the answer says where there are some', async () => {
  for (const token of [null, 'gAAAAA-nobody']) {
    const answer = await create(token);
    expect(answer.status).toBe(401);
    expect(answer.headers.get('www-authenticate')).toBe(`Keystone uri="${keystone.url}"`);
  }
});

test('a token that is revoked is good for as long as it is remembered', async () => {
  const token = await keystone.token(nova);
  expect(await status(token)).toBe(200);
  await keystone.revoke(token);
  await sleep(1100);
  expect(await status(token)).toBe(401);
});

test('the project of the URL must be the one of the token', async () => {
  const token = await keystone.token(nova);
  expect(await status(token, undefined, `${at.url}/${nova.project}`)).toBe(200);
  expect(await status(token, undefined, `${at.url}/${randomUUID()}`)).toBe(400);
});

test('our own tokens, when all of them are revoked, are renewed', async () => {
  tellOnFailure(at);
  const token = await keystone.token(nova);
  expect(await status(token)).toBe(200);
  const before = heard.at(-1)?.token;
  for (const enabled of [false, true]) {
    await keystone.admin('PATCH', `/users/${ours.id}`, { user: { enabled } });
  }
  expect(await keystone.look(before ?? '')).toBe(null);
  heard.length = 0;
  await sleep(1100);
  expect(await status(token)).toBe(200);
  // Two questions at the same time, and one renewal for both.
  expect(heard.map((it) => it.status)).toEqual([401, 401, 404, 404]);
  expect(heard.map(({ token: ours }) => ours === before)).toEqual([true, true, false, false]);
  expect(new Set(heard.map(({ token: ours }) => ours)).size).toBe(2);
});

test('a Keystone that is away is no word about the token', async () => {
  const token = await keystone.token(nova);
  await keystone.stop();
  const answer = await create(token);
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ serviceUnavailable: { code: 503 } });
  await keystone.run();
  expect(await status(token)).toBe(200);
});

describe('the page, beyond loopback by its configuration', () => {
  let browser: LabBrowser;
  let service: AsyncDisposable;
  let url: string;
  const certified = { ignoreHTTPSErrors: true };
  beforeAll(async () => {
    const [key, cert] = ['page.key', 'page.pem'].map((name) => join(lab.dir, name));
    const curve = '-newkey ec -pkeyopt ec_paramgen_curve:P-256';
    const make = `req -x509 ${curve} -nodes -days 2 -subj /CN=lab`;
    await run('openssl', [...make.split(' '), '-keyout', key!, '-out', cert!]);
    const port = await freePort();
    const files = `[api]\ncert_file = ${cert}\nkey_file = ${key}\n`;
    // An address of the loopback, but not by its looks.
    const bound = `[operator]\nbind_host = ::ffff:127.0.0.1\nbind_port = ${port}\n`;
    service = await inProcess(await keystonePlace('paged', `${files}${bound}`));
    url = `https://127.0.0.1:${port}`;
    browser = await LabBrowser.open();
  });
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    await service?.[Symbol.asyncDispose]();
  });

  async function fill(page: Page, who: Person, password = who.password): Promise<void> {
    await page.getByLabel('User').fill(who.name);
    await page.getByLabel('Password').fill(password);
    await page.getByLabel('Project', { exact: true }).fill('service');
    await page.getByRole('button', { name: 'Log in' }).click();
  }
  const path = (page: Page) => new URL(page.url()).pathname;
  const PATIENCE = { timeout: 30_000, interval: 100 };

  test('lets in whom the policy lets in, until he goes or Keystone ends it', async () => {
    const { page, complaints } = await browser.show(`${url}/ui/operations`, certified);
    expect(path(page)).toBe('/ui/login');
    await picture(page, 'login');
    await fill(page, admin, 'a guess');
    expect(await page.getByRole('alert').textContent()).toContain('Keystone does not know');
    await fill(page, member);
    expect(await page.getByRole('alert').textContent()).toContain("Policy doesn't allow");
    // Of a status that is no success the console tells, and of nothing else.
    expect(complaints.splice(0).filter((it) => !/status of 40[13]/.test(it))).toEqual([]);
    await fill(page, admin);
    await page.waitForURL(`${url}/ui/operations`);
    await expect.poll(() => page.locator('#live').textContent(), PATIENCE).toBe('Live');
    expect(
      await page.evaluate(() => Reflect.get(Reflect.get(globalThis, 'document'), 'cookie')),
    ).toBe('');
    await page.getByRole('button', { name: 'Log out' }).click();
    expect(path(page)).toBe('/ui/login');
    await page.goto(`${url}/ui/`);
    expect(path(page)).toBe('/ui/login');

    await fill(page, admin);
    await expect.poll(() => page.locator('#live').textContent(), PATIENCE).toBe('Live');
    for (const enabled of [false, true]) {
      await keystone.admin('PATCH', `/users/${admin.id}`, { user: { enabled } });
    }
    await expect.poll(() => path(page), PATIENCE).toBe('/ui/login');
    expect(complaints).toEqual([]);
  });

  test('works without a script, and as a bearer of tokens knows it', async () => {
    const options = { ...certified, javaScriptEnabled: false };
    const { page, complaints } = await browser.show(`${url}/ui/`, options);
    await fill(page, admin);
    expect(path(page)).toBe('/ui/');
    expect(await page.locator('h1').first().textContent()).not.toBe('Log in');
    expect(complaints).toEqual([]);
    const curl = async (...more: string[]) =>
      run('curl', ['-sk', '-o', '/dev/null', '-w', '%{http_code}', ...more, `${url}/metrics`]);
    expect(await curl()).toBe('401');
    expect(await curl('-H', `X-Auth-Token: ${await keystone.token(admin)}`)).toBe('200');
    expect(await curl('-H', `X-Auth-Token: ${await keystone.token(member)}`)).toBe('403');
  });
});

describe('tokens of a few seconds', () => {
  const LIFE_S = 4;
  let old: string;
  beforeAll(async () => {
    await keystone.run(LIFE_S);
    await served.stop();
    await served.start();
    old = await keystone.token(nova);
  });
  afterAll(() => keystone.run());

  test('are renewed before their end, so that Cinder refuses none', async () => {
    tellOnFailure(at);
    heard.length = 0;
    const until = Date.now() + 2.5 * LIFE_S * 1000;
    while (Date.now() < until) {
      expect(await status(await keystone.token(nova))).toBe(200);
      await sleep(250);
    }
    expect(heard.filter((it) => it.status !== 404)).toEqual([]);
    expect(new Set(heard.map(({ token }) => token)).size).toBeGreaterThanOrEqual(4);
  });

  test('pass when they have ended only with that of a service', async () => {
    expect(await status(old)).toBe(401);
    expect(await status(old, await keystone.token(member))).toBe(401);
    expect(await status(old, await keystone.token(nova))).toBe(200);
    expect(await status(old)).toBe(401);
  });
});

test('the doctor sees a Keystone that lets us in', async () => {
  const args = ['bin/chainkeeper.js', 'doctor', '--config-file', at.conf, '-f', 'json'];
  const rows = await run(process.execPath, args).catch((error: Error) => error.message);
  const checks: { check: string; status: string; saw: string }[] = JSON.parse(
    rows.slice(rows.indexOf('[')),
  );
  const of = (name: string) => checks.filter(({ check }) => check === name);
  expect(of('keystone')).toMatchObject([{ status: 'ok', saw: expect.stringContaining('service') }]);
  expect(of('cinder')).toMatchObject([{ status: 'ok' }]);
});

test('policy.yaml may say that other roles call', async () => {
  const policy = join(lab.dir, 'strict.yaml');
  const rule = 'os_compute_api:os-assisted-volume-snapshots:create';
  writeFileSync(policy, `"${rule}": "role:member and not role:admin"\n`);
  const other = await keystonePlace('strict', `[oslo_policy]\npolicy_file = ${policy}`);
  await using service = new Served(other);
  await service.start();
  const codes = [];
  for (const who of [member, nova, admin]) {
    codes.push(await status(await keystone.token(who), undefined, other.url));
  }
  expect(codes).toEqual([200, 403, 403]);
});

test('http_basic and none, as Cinder speaks them', async () => {
  const users = join(lab.dir, 'htpasswd');
  writeFileSync(users, `cinder:${hashSync('s3cret:x', 4)}\n`);
  const strategy = `[api]\nauth_strategy = http_basic\nhttp_basic_auth_user_file = ${users}\n`;
  const basic = await keystonePlace('basic', strategy);
  const open = await keystonePlace('open', '[api]\nauth_strategy = noauth\n');
  await using service = new Served(basic);
  await using opened = new Served(open);
  await Promise.all([service.start(), opened.start()]);
  const user = `auth_type = http_basic\nendpoint = ${basic.url}\nusername = cinder\n`;
  expect(
    await asCinder(
      `${user}password = s3cret:x`,
      `${user}password = s3cret`,
      `auth_type = none\nendpoint = ${open.url}`,
    ),
  ).toMatchObject([WELL, [{ code: 401 }, { code: 401 }], WELL]);
});

/** What parsePolicy takes is a part of the language; what it takes must mean the same. */
test("a policy means what oslo.policy's own reader makes of it", async () => {
  const leaf = fc.constantFrom('@', '!', 'role:a', 'role:B', 'role:c', 'rule:mine');
  const { rule: random } = fc.letrec<{ rule: string }>((tie) => ({
    rule: fc.oneof(
      { depthSize: 'small' },
      leaf,
      fc
        .tuple(tie('rule'), fc.constantFrom('and', 'or', 'AND'), tie('rule'))
        .map((it) => it.join(' ')),
      tie('rule').map((it) => `not ${it}`),
      tie('rule').map((it) => `(${it})`),
      tie('rule').map((it) => `( ${it} )`),
    ),
  }));
  const rules = fc.sample(random, { numRuns: 2000, seed: 20261126 });
  const them = [[], ['a'], ['b'], ['C'], ['a', 'b'], ['a', 'c'], ['b', 'c'], ['a', 'b', 'c']];
  const input = JSON.stringify(rules.map((rule) => [rule, them]));
  const out = await run('/usr/bin/python3', ['-B', 'test/live/keystone/policy.py'], { input });
  const theirs: boolean[][] = JSON.parse(out);
  const name = 'os_compute_api:os-assisted-volume-snapshots:create';
  const apart = rules.flatMap((rule, at): unknown[] => {
    const policy = parsePolicy(JSON.stringify({ [name]: rule, mine: 'role:a or role:b' }));
    if (!policy.ok) return [policy.error];
    const ours = them.map((roles) => passes(policy.value.create, roles));
    return String(ours) === String(theirs[at]) ? [] : [{ rule, ours, theirs: theirs[at] }];
  });
  expect(apart.slice(0, 5)).toEqual([]);
  expect(new Set(theirs.map(String)).size).toBeGreaterThan(20);
});
