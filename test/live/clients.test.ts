import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hashSync } from 'bcryptjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Cinder } from './lab/cinder.ts';
import { Keystone, type Person } from './lab/keystone.ts';
import { type AttachedGuest, attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { type Place, place, Served, tellOnFailure } from './service.ts';

/**
 * Debian's own Python clients: a volume of a running guest, snapshots by cinderclient and
 * openstackclient of a stock Cinder that has Keystone, which asks us by each way of saying who one
 * is; and novaclient and keystoneauth1, which ask us. What was typed and told is build/clients.txt.
 */
let lab: Lab<Cinder>;
let keystone: Keystone;
let cinder: { readonly url: string };
let it: AttachedGuest;
let admin: Person;
let service: Person;
let member: Person;
const transcript: string[] = [];

beforeAll(async () => {
  lab = await openLab({ cinder: true });
  keystone = lab.keep(await Keystone.start(join(lab.dir, 'keystone')));
  const project = await keystone.project('service');
  service = await keystone.person('chainkeeper', project, 'service', 'admin');
  admin = await keystone.person('boss', project, 'admin');
  member = await keystone.person('member', project, 'member');
  cinder = lab.keep(await lab.cinder.keystoneApi(plugin(service)));
  await keystone.service('volumev3', `${cinder.url}/v3/%(project_id)s`);
  it = await attachedGuest(lab);
});
afterAll(async () => {
  mkdirSync('build', { recursive: true });
  writeFileSync('build/clients.txt', `${transcript.join('\n')}\n`);
  await lab?.[Symbol.asyncDispose]();
});

const plugin = (who: Person) => keystone.plugin(who);
const passwordOf = (who: Person) => ({
  auth_url: keystone.url,
  username: who.name,
  password: who.password,
  user_domain_name: 'Default',
  project_name: 'service',
  project_domain_name: 'Default',
});

interface Told {
  readonly code: number;
  readonly text: string;
}

/** A client as `who` types it; all that it says is in the transcript. */
async function typed(who: Person, command: string, ...args: string[]): Promise<Told> {
  const words = Object.entries(passwordOf(who)).map(([name, value]) => [
    `OS_${name.toUpperCase()}`,
    value,
  ]);
  const more = { OS_IDENTITY_API_VERSION: '3', OS_VOLUME_API_VERSION: '3', LC_ALL: 'C.UTF-8' };
  const env = { ...process.env, ...Object.fromEntries(words), ...more };
  const told = await new Promise<Told>((resolve) => {
    execFile(command, args, { env, timeout: 120_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), text: `${stdout}${stderr}` }),
    );
  });
  note(`${who.name}$ ${[command, ...args].join(' ')}`, told.text.trimEnd());
  if (told.code !== 0) note(`(exit ${told.code})`);
  return told;
}

type Call = readonly [method: 'discover' | 'create' | 'delete', ...rest: readonly unknown[]];
interface Auth {
  readonly plugin: string;
  readonly options: Readonly<Record<string, string>>;
}

/** Of each call null, or what novaclient's exception says. */
async function session({ plugin: name, options }: Auth, ...calls: readonly Call[]) {
  const out = await new Promise<string>((resolve, reject) => {
    const args = ['-B', 'test/live/clients/session.py'];
    const child = execFile('/usr/bin/python3', args, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(stderr)),
    );
    child.stdin?.end(JSON.stringify({ plugin: name, options, calls }));
  });
  const lines = out.trimEnd().split('\n');
  note(...lines.slice(0, -1));
  return JSON.parse(lines.at(-1) ?? '') as ({ code: number; words: string } | null)[];
}

const note = (...lines: readonly string[]) => transcript.push(...lines);

/** What Cinder asks for, of a snapshot that it does not know: accepted, and nothing is done. */
function unknown(): { snapshot: string; made: Call; removed: Call } {
  const snapshot = randomUUID();
  const { volumeId } = it;
  const create = { snapshot_id: snapshot, type: 'qcow2', new_file: `volume-${volumeId}.x` };
  const files = { file_to_merge: `volume-${volumeId}`, merge_target_file: null };
  return {
    snapshot,
    made: ['create', volumeId, create],
    removed: ['delete', snapshot, { volume_id: volumeId, type: 'qcow2', ...files }],
  };
}

interface Way {
  readonly at: Place;
  readonly auth: Auth;
  /** Somebody who is not let in, and as what. */
  readonly other: { readonly auth: Auth; readonly code: number; readonly says: string } | null;
  /** What goes into Cinder's [nova]. */
  readonly nova: string;
}

/** A service of ours with Keystone's answer to who Cinder is, and these lines for its callers. */
const servicePlace = (name: string, lines: string): Promise<Place> =>
  place(
    join(lab.dir, name),
    lab.cinder.endpoint,
    `${lines}[keystone_authtoken]\n${plugin(service)}` +
      '[cinder]\nauth_section = keystone_authtoken\nendpoint =\nregion_name = lab\n',
  );

const WAYS: Readonly<Record<string, () => Promise<Way>>> = {
  async none() {
    const at = await servicePlace('none', '[api]\nauth_strategy = noauth\n');
    const auth = { plugin: 'none', options: { endpoint: at.url } };
    return { at, auth, other: null, nova: `auth_type = none\nendpoint = ${at.url}` };
  },
  async http_basic() {
    const users = join(lab.dir, 'htpasswd');
    writeFileSync(users, `cinder:${hashSync('s3cret:x', 4)}\n`);
    const strategy = `[api]\nauth_strategy = http_basic\nhttp_basic_auth_user_file = ${users}\n`;
    const at = await servicePlace('basic', strategy);
    const options = { endpoint: at.url, username: 'cinder', password: 's3cret:x' };
    const auth = { plugin: 'http_basic', options };
    const wrong = { plugin: 'http_basic', options: { ...options, password: 'guess' } };
    const says = 'The request you have made requires authentication.';
    const lines = Object.entries(options).map(([name, value]) => `${name} = ${value}\n`);
    const nova = `auth_type = http_basic\n${lines.join('')}`;
    return { at, auth, other: { auth: wrong, code: 401, says }, nova };
  },
  async password() {
    const at = await servicePlace('password', '[api]\nauth_strategy = keystone\n');
    await keystone.service('compute', `${at.url}/%(project_id)s`);
    const auth = { plugin: 'password', options: passwordOf(admin) };
    const wrong = { plugin: 'password', options: passwordOf(member) };
    const says = "Policy doesn't allow os_compute_api:os-assisted-volume-snapshots";
    return { at, auth, other: { auth: wrong, code: 403, says }, nova: plugin(service) };
  },
};

const CREATES = {
  cinder: (volume: string, name: string) => [
    ...['snapshot-create', '--force', 'True', '--name', name, volume],
  ],
  openstack: (volume: string, name: string) => [
    ...['volume', 'snapshot', 'create', '--force', '--volume', volume, name],
  ],
};
const DELETES = {
  cinder: (name: string) => ['snapshot-delete', name],
  openstack: (name: string) => ['volume', 'snapshot', 'delete', name],
};

describe.each([
  ['none', ['cinder']],
  ['http_basic', ['openstack']],
  ['password', ['cinder', 'openstack']],
] as const)('%s', (name, clients) => {
  let way: Way;
  let served: Served;
  beforeAll(async () => {
    way = await WAYS[name]!();
    served = new Served(way.at);
    await Promise.all([served.start(), lab.cinder.setNova(way.nova)]);
    note('', `### auth_type = ${name}`);
  });
  afterAll(() => served?.stop());

  test('novaclient is let in, or told why not', async () => {
    tellOnFailure(way.at);
    const { made, removed } = unknown();
    const [, , info] = made as readonly [string, string, object];
    const bad: Call = ['create', it.volumeId, { ...info, new_file: '../passwd' }];
    const elsewhere: Call = ['delete', randomUUID(), { type: 'qcow2' }];
    const said = await session(way.auth, made, removed, bad, elsewhere);
    expect(said).toEqual([
      null,
      null,
      { code: 400, words: expect.stringContaining('it must be a bare file name of at most 255') },
      { code: 400, words: expect.stringContaining("'volume_id' is a required property") },
    ]);
    const { other } = way;
    if (other === null) return;
    const no = { code: other.code, words: expect.stringContaining(other.says) };
    expect(await session(other.auth, made, removed)).toEqual([no, no]);
  });

  test(`a volume in use has snapshots by ${clients.join(' and ')}`, async () => {
    tellOnFailure(way.at, lab.cinder);
    const { volumeId } = it;
    for (const client of clients) {
      const made = CREATES[client](volumeId, `${name}-${client}`);
      expect((await typed(admin, client, ...made)).code).toBe(0);
      await settled(`${name}-${client}`, 'available');
    }
    const [last = ''] = clients.map((client) => `${name}-${client}`).toReversed();
    const list = ['volume', 'snapshot', 'list', '--volume', volumeId];
    expect((await typed(admin, 'openstack', ...list)).text).toContain(last);

    // Of one that Cinder knows: a refusal in our words.
    const id = (await snapshots()).find((one) => one.name === last)?.id ?? '';
    const info = { snapshot_id: id, type: 'qcow2', new_file: `volume-${volumeId}.other` };
    const [refused] = await session(way.auth, ['create', volumeId, info]);
    expect(refused).toEqual({
      code: 400,
      words: expect.stringContaining('is not an overlay that'),
    });

    for (const client of clients.toReversed()) {
      const removed = DELETES[client](`${name}-${client}`);
      expect((await typed(admin, client, ...removed)).code).toBe(0);
      await settled(`${name}-${client}`, null);
    }
    const ended = [...clients.map(() => 'created'), ...clients.map(() => 'merged')];
    expect(await outcomes(way.at)).toEqual(ended);
  });

  if (name !== 'password') return;
  test('the catalog leads keystoneauth and openstackclient to us', async () => {
    const project = `${way.at.url}/${admin.project}`;
    const seen = await typed(admin, 'openstack', 'catalog', 'show', 'compute');
    expect(seen.text).toContain(project);
    const listed = await typed(admin, 'openstack', 'endpoint', 'list', '--service', 'compute');
    expect(listed.text).toContain(way.at.url);
    const versions = await typed(admin, 'openstack', 'versions', 'show', '--service', 'compute');
    expect(versions).toMatchObject({ code: 0, text: expect.stringMatching(/2\.1 +\| CURRENT/) });
    expect(await session(way.auth, ['discover'])).toEqual([null]);
    // What is Nova's, and not ours, is not there.
    const flavors = await typed(admin, 'openstack', 'flavor', 'list');
    expect(flavors).toMatchObject({
      code: 1,
      text: expect.stringContaining('The resource could not be found.'),
    });
  });
});

interface Listed {
  readonly id: string;
  readonly name: string;
  readonly status: string;
}

async function snapshots(): Promise<readonly Listed[]> {
  return (await lab.cinder.request('GET', '/snapshots/detail?all_tenants=1')).body.snapshots;
}

/** Waits until the snapshot has this status, or is gone. */
async function settled(name: string, status: string | null): Promise<void> {
  const its = (await snapshots()).find((one) => one.name === name);
  if (its !== undefined) await lab.cinder.waitSnapshot(its.id, status ?? 'gone');
}

/** How the operations of a service ended, the oldest first. */
async function outcomes(at: Place): Promise<readonly string[]> {
  const args = ['bin/chainkeeper.js', 'ops', 'list', '--config-file', at.conf, '-f', 'json'];
  const out = await new Promise<string>((resolve, reject) => {
    execFile(process.execPath, args, (error, stdout) => (error ? reject(error) : resolve(stdout)));
  });
  const operations: { outcome: string }[] = JSON.parse(out);
  return operations.map(({ outcome }) => outcome).toReversed();
}

test('the transcript has no secret', () => {
  const text = transcript.join('\n');
  for (const { password } of [admin, service, member]) expect(text).not.toContain(password);
  expect(text).not.toContain('s3cret');
});
