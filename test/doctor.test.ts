import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Login } from '#adapters/keystone/login.ts';
import { type Config, type Loaded, loadConfig } from '#app/config.ts';
import { type DoctorWorld, doctor } from '#app/doctor.ts';
import { qemuImg } from '#app/doctor-host.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { err, ok } from '#domain/result.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import { SimImages } from '#sim/images.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';
import {
  PROJECT,
  type PretendKeystone,
  pretendKeystone,
} from './adapters/keystone/pretend-keystone.ts';

/** The whole program on a simulated machine, and the doctor beside it as a command of its own. */
let host: SimulatedHost;
let folder: string;
beforeAll(async () => {
  host = await SimulatedHost.open({ port: 0 });
  folder = mkdtempSync(join(tmpdir(), 'ck-doctor-'));
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

let hypervisor: Partial<Hypervisor> = {};
let config: Partial<Config> = {};
beforeEach(() => {
  hypervisor = {};
  config = {};
  host.http.instead = () => null;
});

const QEMU_IMG = {
  check: 'qemu-img',
  status: 'ok',
  saw: 'qemu-img version 7.2',
  todo: '',
} as const;

async function run(world: Partial<DoctorWorld> = {}, socket?: string) {
  const checks = await doctor(
    { configFiles: [join(host.folder, 'chainkeeper.conf')], ...(socket && { socket }) },
    {
      load: () => loadedAs({ ...host.config, ...config }),
      hypervisor: async () => standIn(),
      images: new SimImages(host.cloud.share, parseHeader),
      qemuImg: async () => QEMU_IMG,
      neighbours: () => [],
      ...world,
    },
  );
  const of = (name: string) => checks.filter(({ check }) => check.startsWith(name));
  return { checks, of, wrong: checks.filter(({ status }) => status !== 'ok') };
}

function loadedAs(draft: Config): Loaded {
  const found = [join(host.folder, 'chainkeeper.conf')];
  const places = { sought: found, found, none: false };
  return { ...ok(draft), warnings: [], places, draft, doubtful: new Set() };
}

/** The simulated one, of which the doctor may close no more than its own. */
function standIn(): Hypervisor {
  const real = host.cloud.hypervisor;
  return {
    about: () => real.about(),
    disks: () => real.disks(),
    look: (disk) => real.look(disk),
    ...hypervisor,
    [Symbol.asyncDispose]: async () => {},
  } as Hypervisor;
}

describe('a host that is well', () => {
  test('has a row for each check, and nothing to do', async () => {
    const { checks, of } = await run();
    // The folder of the simulated volumes is on no disk.
    const wrong = checks.filter(({ status, check }) => status !== 'ok' && !/^dir/.test(check));
    expect(wrong).toEqual([]);
    expect(of('journal')[0]?.saw).toContain(`process ${process.pid}`);
    expect(of('service')[0]?.saw).toContain(host.config.operator.socket);
    expect(of('libvirt')[0]?.saw).toBe('libvirt 9.0.0 (simulated)');
    expect(of('cinder').map(({ saw }) => saw)).toEqual([
      `${host.http.endpoint} answers, and lets us in`,
      'it takes no file_format: status or stock; [cinder] status_dialect is auto',
    ]);
    expect(of(`volume ${host.cloud.volume}`)).toHaveLength(1);
  });

  test('and nothing was changed by looking', async () => {
    const { cinder } = host.cloud;
    const before = JSON.stringify([[...cinder.snapshots], cinder.attachments.size]);
    await run();
    expect(JSON.stringify([[...cinder.snapshots], cinder.attachments.size])).toBe(before);
    const posts = host.http.requests.filter(({ method }) => method !== 'GET');
    for (const { path, status } of posts) {
      expect(path).toContain('/snapshots/00000000-0000-4000-8000-000000000000/');
      expect([400, 404]).toContain(status);
    }
  });
});

describe('what is wrong', () => {
  test('a configuration, with every mistake in it', async () => {
    const file = join(folder, 'bad.conf');
    writeFileSync(file, '[api]\nauth_strategy = nobody\nbind_prot = 1\n');
    const load = () => loadConfig({ files: [file], env: {} });
    const { checks } = await run({ load });
    expect(checks.filter(({ check }) => check === 'config').length).toBeGreaterThan(1);
    expect(checks.some(({ status }) => status === 'error')).toBe(true);
    expect(checks.some(({ saw, status }) => status === 'warning' && /bind_prot/.test(saw))).toBe(
      true,
    );
  });

  test('a state_path that is not there, or no folder', async () => {
    config = { statePath: join(folder, 'gone') };
    expect((await run()).of('state_path')).toMatchObject([{ status: 'warning' }]);
    writeFileSync(join(folder, 'file'), '');
    config = { statePath: join(folder, 'file') };
    expect((await run()).of('state_path')).toMatchObject([{ status: 'error' }]);
  });

  test('a service that answers, and has another journal', async () => {
    const statePath = join(folder, 'other');
    mkdirSync(statePath);
    writeFileSync(join(statePath, 'journal.sqlite'), '');
    config = { statePath };
    expect((await run()).of('journal')).toMatchObject([
      { status: 'error', saw: expect.stringContaining('has not') },
    ]);
  });

  test('nobody answers, and somebody has the journal', async () => {
    const away = join(folder, 'nobody.sock');
    const { of } = await run({}, away);
    const todo = `name its --config-file or --socket; or else kill ${process.pid}, and start it`;
    expect(of('service')).toMatchObject([
      { status: 'error', saw: expect.stringContaining('nobody listens on'), todo },
    ]);
    expect(of('journal')).toMatchObject([{ status: 'error', todo: "see 'service'" }]);
    expect(of('api')).toMatchObject([
      { status: 'warning', saw: expect.stringContaining(`process ${process.pid}?`) },
    ]);
    expect(of('volume')).toEqual([]);
  });

  test('nobody answers, and nobody has the journal', async () => {
    config = { statePath: folder, api: { ...host.config.api, bindPort: 1 } };
    const { of } = await run({}, join(folder, 'nobody.sock'));
    expect(of('service')).toMatchObject([{ status: 'warning', todo: 'chainkeeper serve' }]);
    expect(of('api')).toMatchObject([{ status: 'ok' }]);
    config = { statePath: folder };
    expect((await run({}, join(folder, 'nobody.sock'))).of('api')).toMatchObject([
      { status: 'error', saw: expect.stringContaining('somebody else listens') },
    ]);
  });

  test('a service that hangs: one thing to do, and no row against it', async () => {
    const socket = join(folder, 'hangs.sock');
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const { of, wrong } = await run({ patienceMs: 200 }, socket);
    expect(of('service')).toMatchObject([
      {
        status: 'error',
        saw: expect.stringContaining('within 0.2 s: it hangs'),
        todo: `kill ${process.pid}, then start it: what it promised is in its journal`,
      },
    ]);
    const others = wrong.filter(({ check }) => /journal|api/.test(check));
    expect(others.map(({ todo }) => todo)).toEqual(["see 'service'", "see 'service'"]);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test('a file that was changed after the service began', async () => {
    const { checks } = await run();
    expect(checks.filter(({ check }) => check === 'config')).toHaveLength(1);
    const file = join(host.folder, 'chainkeeper.conf');
    const { atime, mtime } = statSync(file);
    utimesSync(file, atime, new Date(Date.now() + 60_000));
    expect((await run()).of('config')[1]).toMatchObject({
      status: 'warning',
      saw: `${file} was changed after the service began`,
      todo: 'systemctl restart chainkeeper',
    });
    utimesSync(file, atime, mtime);
  });

  test('a configuration of which one group is wrong: the rest is looked at', async () => {
    const load = () => ({
      ...loadedAs(host.config),
      ...err(['a.conf:1: [cinder] endpoint is no plain http or https URL']),
      doubtful: new Set(['cinder']),
    });
    const { of, checks } = await run({ load });
    expect(of('config')).toMatchObject([{ status: 'error' }]);
    expect(of('cinder')).toMatchObject([
      { status: 'warning', saw: 'not looked at: what [cinder] says is not known' },
    ]);
    for (const name of [
      'state_path',
      'service',
      'journal',
      'api',
      'clock',
      'libvirt',
      'qemu-img',
    ]) {
      expect(of(name), name).toMatchObject([{ status: 'ok' }]);
    }
    expect(of(`volume ${host.cloud.volume}`)).toHaveLength(1);
    expect(checks.some(({ todo }) => todo === 'edit the default files')).toBe(false);
  });

  test('no configuration at all: where it was looked for, and how to make one', async () => {
    const etc = join(folder, 'no-etc');
    const { of } = await run({ load: () => loadConfig({ etc, env: {} }) });
    expect(of('config')[0]).toMatchObject({
      status: 'error',
      saw: `there is no file: neither ${etc}/chainkeeper.conf nor ${etc}/chainkeeper.conf.d/*.conf`,
      todo: `chainkeeper config sample > ${etc}/chainkeeper.conf`,
    });
  });

  test('a warning, and nobody says that all is understood', async () => {
    const file = join(folder, 'slip.conf');
    writeFileSync(file, `[libvrit]\nquiesce = never\n`);
    const load = () => ({ ...loadConfig({ files: [file], env: {} }), ...ok(host.config) });
    const { of } = await run({ load });
    expect(of('config').map(({ saw }) => saw)).toEqual([
      `${file}: it can be used`,
      `${file}:2: unknown group [libvrit], so quiesce is not set: did you mean [libvirt]?`,
      `${file} was changed after the service began`,
    ]);
  });

  test('a journal that is damaged, or is none', async () => {
    const statePath = join(folder, 'damaged');
    mkdirSync(statePath);
    const path = join(statePath, 'journal.sqlite');
    config = { statePath };
    const away = join(folder, 'nobody.sock');
    expect((await run({}, away)).of('journal')).toMatchObject([{ status: 'ok' }]);
    writeFileSync(path, 'no database'.repeat(100));
    expect((await run({}, away)).of('journal')).toMatchObject([
      { status: 'error', saw: expect.stringContaining('cannot be read') },
    ]);
    rmSync(path);
    mkdirSync(path);
    expect((await run({}, away)).of('journal')).toMatchObject([
      { status: 'error', saw: `${path}: it is a folder, and the journal is one file` },
    ]);
  });

  test('a port that nobody listens on though the service runs', async () => {
    config = { api: { ...host.config.api, bindPort: 1 } };
    expect((await run()).of('api')).toMatchObject([{ status: 'error' }]);
  });

  test('metrics that nobody serves, though they are configured', async () => {
    expect((await run()).of('metrics')).toEqual([]);
    config = { operator: { ...host.config.operator, bindPort: host.config.api.bindPort } };
    expect((await run()).of('metrics')).toMatchObject([{ status: 'ok' }]);
    config = { operator: { ...host.config.operator, bindPort: 1 } };
    expect((await run()).of('metrics')).toMatchObject([{ status: 'error' }]);
  });

  test('a service that says no', async () => {
    const socket = join(folder, 'no.sock');
    const server = createServer((_, response) => response.writeHead(503).end('{}'));
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const { of } = await run({}, socket);
    expect(of('service')).toMatchObject([{ status: 'error' }]);
    expect(of('volumes')).toMatchObject([{ status: 'error' }]);
    await new Promise((resolve) => server.close(resolve));
  });

  test('libvirt that is away, or old', async () => {
    hypervisor = {
      about: async () => err({ kind: 'unreachable', who: 'libvirt', detail: 'no socket' }),
    };
    expect((await run()).of('libvirt')).toMatchObject([{ status: 'error' }]);
    hypervisor = { about: async () => ok('libvirt 1.2.2 at qemu:///system') };
    const [old] = (await run()).of('libvirt');
    expect(old).toMatchObject({ status: 'warning', saw: expect.stringContaining('are assumed') });
    hypervisor = { about: async () => ok('libvirt 1.2.6 at qemu:///system') };
    const [newer] = (await run()).of('libvirt');
    expect(newer).toMatchObject({ status: 'warning' });
    expect(newer?.saw).not.toContain('assumed');
    hypervisor = { about: async () => ok('libvirt 1.2.7 at qemu:///system') };
    expect((await run()).of('libvirt')).toMatchObject([{ status: 'ok' }]);
  });

  test('a folder of volumes that is not there', async () => {
    const open = join(folder, 'open');
    mkdirSync(open);
    chmodSync(open, 0o755);
    const volumeDirectories = [open, join(folder, 'missing')];
    config = { libvirt: { ...host.config.libvirt, volumeDirectories } };
    const { of } = await run();
    expect(of(`directory ${folder}`)).toMatchObject([{ status: 'ok' }, { status: 'error' }]);
  });

  test.each([
    [401, 'correct the credentials in [cinder]'],
    [403, 'give the user of [cinder] the role admin in Cinder'],
  ])('Cinder says %i', async (status, todo) => {
    host.http.instead = () => ({ status, body: { error: { message: 'no' } } });
    expect((await run()).of('cinder')).toMatchObject([{ status: 'error', todo }]);
  });

  test('Cinder at another address', async () => {
    host.http.instead = () => ({ status: 404, body: { error: 'no such page' } });
    expect((await run()).of('cinder')).toMatchObject([
      { status: 'error', todo: expect.stringContaining('that of the v3 API?') },
    ]);
    const endpoint = host.http.endpoint.replace('/v3', '');
    config = { cinder: { ...host.config.cinder, endpoint } };
    const todo = `set [cinder] endpoint to ${host.http.endpoint}, and restart the service`;
    expect((await run()).of('cinder')).toMatchObject([{ status: 'error', todo }]);
    config = { cinder: { ...host.config.cinder, endpoint: 'http://127.0.0.1:9/v3' } };
    expect((await run()).of('cinder')).toMatchObject([
      { status: 'error', todo: expect.stringContaining('curl http://127.0.0.1:9/v3') },
    ]);
  });

  describe('a Keystone', () => {
    let server: PretendKeystone;
    beforeEach(async () => {
      server = await pretendKeystone();
      const { authUrl } = server;
      const login: Login = {
        type: 'password',
        authUrl,
        user: { id: 'u' },
        project: { id: PROJECT },
        password: { reveal: () => 'hunter22' },
      };
      const tls = { caFile: null, certFile: null, keyFile: null, insecure: false };
      const wanted = {
        ...{ serviceType: 'volumev3', serviceName: null, interfaces: ['public'], region: null },
      };
      config = {
        cinder: {
          ...host.config.cinder,
          endpoint: null,
          auth: { type: 'keystone', login, wanted },
        },
        keystone: {
          ...{ login, ...tls, wwwAuthenticateUri: authUrl, timeoutMs: 1000, tokenCacheMs: 0 },
          ...{ serviceTokenRoles: [], serviceTokenRolesRequired: true },
          policy: {
            create: { kind: 'nobody' },
            delete: { kind: 'nobody' },
            read: { kind: 'nobody' },
          },
        },
      };
    });
    afterEach(() => server[Symbol.asyncDispose]());

    test('that lets us in, and leads to Cinder', async () => {
      const endpoints = [{ interface: 'public', url: host.http.endpoint }];
      server.state.login = { catalog: [{ type: 'volumev3', endpoints }] };
      const { of } = await run();
      expect(of('keystone')).toMatchObject([
        { status: 'ok', saw: 'user u-1 is let in, with service' },
      ]);
      // The simulated one has a token of its own, and says so.
      expect(of('cinder')).toMatchObject([
        { status: 'error', todo: 'correct the credentials in [cinder]' },
      ]);
    });

    test('in which we have no role that may look at tokens', async () => {
      server.state.login = { roles: ['member'], catalog: [] };
      const { of } = await run();
      expect(of('keystone')).toMatchObject([
        { status: 'warning', todo: expect.stringContaining('the role service') },
      ]);
      expect(of('cinder')).toMatchObject([
        { status: 'error', todo: expect.stringContaining('openstack catalog list') },
      ]);
    });

    test('that refuses us, is no Keystone, or is not there', async () => {
      const todos = async () => {
        const { of } = await run();
        return [...of('keystone'), ...of('cinder')].map(({ status, todo }) => `${status}: ${todo}`);
      };
      server.state.login = null;
      expect(await todos()).toEqual([
        'error: correct the credentials in [keystone_authtoken]',
        'error: correct the credentials in [cinder]',
      ]);
      server.state.broken = { status: 404 };
      expect(await todos()).toEqual([
        'error: is [keystone_authtoken] auth_url that of the v3 API?',
        'error: is [cinder] auth_url that of the v3 API?',
      ]);
      server.state.broken = { status: 503 };
      expect(await todos()).toEqual([
        'error: is [keystone_authtoken] auth_url right? does it run?',
        'error: is [cinder] auth_url right? does it run?',
      ]);
    });
  });

  test('words that Cinder does not understand', async () => {
    config = { cinder: { ...host.config.cinder, statusDialect: 'spec' } };
    expect((await run()).of('cinder dialect')).toMatchObject([{ status: 'error' }]);
    config = { cinder: { ...host.config.cinder, statusDialect: 'stock' } };
    expect((await run()).of('cinder dialect')).toMatchObject([{ status: 'ok' }]);
  });

  test('qemu-img that is missing', async () => {
    expect(await qemuImg('no-such-qemu-img')).toMatchObject({
      status: 'error',
      todo: 'apt install qemu-utils',
    });
    expect(await qemuImg('false')).toMatchObject({ status: 'error' });
    expect(await qemuImg('echo')).toMatchObject({ status: 'ok' });
  });

  test('a volume whose witnesses disagree', async () => {
    const { cinder, volume, disk } = host.cloud;
    const { snapshot } = await cinder.createSnapshot(volume);
    const file = host.cloud.share.file(`volume-${volume}.${snapshot}` as never)!;
    const sound = file.header!;
    expect(disk.xml.file).toBe(file.name);
    file.header = { ...sound, backing: '/etc/shadow', format: 'raw' };
    const { of } = await run();
    expect(of(`volume ${volume}`)).toMatchObject([
      {
        status: 'error',
        saw: expect.stringContaining('header-lies'),
        todo: expect.stringContaining(`qemu-img rebase -u -f qcow2 -F raw -b volume-${volume}`),
      },
    ]);
    file.header = sound;
    expect((await run()).of(`volume ${volume}`)).toMatchObject([{ status: 'ok' }]);
  });
});
