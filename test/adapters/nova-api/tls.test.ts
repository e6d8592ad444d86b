import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PeerCertificate, Server, TLSSocket, TlsOptions } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LIMITS } from '#adapters/nova-api/limits.ts';
import { parsePolicy } from '#adapters/nova-api/policy.ts';
import { readTls, renewTls, type TlsFiles } from '#adapters/nova-api/tls.ts';
import { listen } from '#app/listen.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';
import { freePort } from '../../live/lab/processes.ts';
import { pretendKeystone } from '../keystone/pretend-keystone.ts';
import { api } from './harness.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-api-tls-'));
const at = (name: string) => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));

/** An authority, and what it signed: two for a server, one for a caller; and a stranger's. */
beforeAll(() => {
  const openssl = (words: string) =>
    execFileSync('openssl', words.split(' '), { cwd: folder, stdio: 'ignore' });
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
  for (const name of ['ca', 'stranger']) {
    openssl(`req -x509 ${key} -days 2 -subj /CN=${name} -keyout ${name}.key -out ${name}.pem`);
  }
  writeFileSync(at('san'), 'subjectAltName=IP:127.0.0.1\n');
  for (const name of ['first', 'second', 'caller']) {
    openssl(`req ${key} -subj /CN=${name} -keyout ${name}.key -out ${name}.csr`);
    const by = '-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san';
    openssl(`x509 -req -in ${name}.csr ${by} -out ${name}.pem`);
  }
});

const files = (name: string, caFile: string | null = null): TlsFiles => ({
  certFile: at(`${name}.pem`),
  keyFile: at(`${name}.key`),
  caFile,
});

async function listening(tls: TlsFiles, more: TlsOptions = {}) {
  const read = readTls(tls);
  if (!read.ok) throw new Error(read.error);
  const { app } = api({ tls: { ...read.value, ...more } });
  await app.listen({ host: '127.0.0.1', port: 0 });
  return { app, port: (app.server.address() as AddressInfo).port };
}

interface Seen {
  readonly status: number;
  readonly body: string;
  readonly name: string;
}

/** A GET, as one who knows the authority, with this certificate if any. */
function ask(port: number, caller?: string, path = '/'): Promise<Seen> {
  return new Promise((resolve, reject) => {
    const own = caller && {
      cert: readFileSync(at(`${caller}.pem`)),
      key: readFileSync(at(`${caller}.key`)),
    };
    const ca = readFileSync(at('ca.pem'));
    const asked = request(
      { host: '127.0.0.1', port, path, ca, agent: false, ...own },
      async (answer) => {
        const peer: PeerCertificate = (answer.socket as TLSSocket).getPeerCertificate();
        let body = '';
        for await (const piece of answer) body += piece;
        resolve({ status: answer.statusCode ?? 0, body, name: String(peer.subject.CN) });
      },
    );
    asked.once('error', reject).end();
  });
}

test('the documents lead back over TLS, and nothing is said without it', async () => {
  const { port } = await listening(files('first'));
  const seen = await ask(port);
  expect(seen).toMatchObject({ status: 200, name: 'first' });
  expect(seen.body).toContain(`https://127.0.0.1:${port}/v2.1/`);
  await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
});

test('with an authority, whoever calls must have a certificate of it', async () => {
  const { port } = await listening(files('first', at('ca.pem')));
  expect(await ask(port, 'caller')).toMatchObject({ status: 200 });
  await expect(ask(port)).rejects.toThrow();
  await expect(ask(port, 'stranger')).rejects.toThrow();
});

test('whoever shakes no hands is sent away, as one who sends no headers', async () => {
  const read = readTls(files('first'));
  expect(read).toMatchObject({ ok: true, value: { handshakeTimeout: LIMITS.headersTimeoutMs } });
  const { port } = await listening(files('first'), { handshakeTimeout: 50 });
  const socket = connect({ host: '127.0.0.1', port });
  await new Promise((closed) => socket.once('error', closed).once('close', closed));
});

test('renewed files are taken for whoever comes then, and broken ones are not', async () => {
  const tls = files('now', at('ca.pem'));
  const put = (name: string) => {
    copyFileSync(at(`${name}.pem`), tls.certFile);
    copyFileSync(at(`${name}.key`), tls.keyFile);
  };
  put('first');
  const { app, port } = await listening(tls);
  const server = app.server as unknown as Server;
  expect((await ask(port, 'caller')).name).toBe('first');
  put('second');
  expect(renewTls(server, tls)).toBe(null);
  expect((await ask(port, 'caller')).name).toBe('second');
  await expect(ask(port)).rejects.toThrow();
  copyFileSync(at('first.key'), tls.keyFile);
  expect(renewTls(server, tls)).toContain('is not the key of');
  expect((await ask(port, 'caller')).name).toBe('second');
});

test('the service takes the files of [api], and renewed ones with SIGHUP', async () => {
  await using host = await SimulatedHost.open({ port: 0 });
  const tls = files('mine');
  const put = (name: string) => {
    copyFileSync(at(`${name}.pem`), tls.certFile);
    copyFileSync(at(`${name}.key`), tls.keyFile);
  };
  put('first');
  const { config } = host;
  const started = {
    ...config,
    api: { ...config.api, bindPort: await freePort(), tls },
    operator: { ...config.operator, socket: at('admin.sock') },
  };
  const handlers = process.listenerCount('SIGHUP');
  {
    await using _listening = await listen(host.hexagon, started);
    const { bindPort } = started.api;
    expect((await ask(bindPort)).name).toBe('first');
    put('second');
    process.emit('SIGHUP');
    expect((await ask(bindPort)).name).toBe('second');
    writeFileSync(tls.keyFile, 'half a fi');
    process.emit('SIGHUP');
    expect((await ask(bindPort)).name).toBe('second');
  }
  expect(process.listenerCount('SIGHUP')).toBe(handlers);
  await expect(listen(host.hexagon, started)).rejects.toThrow(
    /^No TLS can be made: .*mine.key holds no private key/,
  );
});

describe("the operator's port", () => {
  /** A service whose callers bring tokens, with this certificate, if any; and what it logged. */
  async function serving(
    tls: TlsFiles | null,
    bindHost: string,
    way: { readonly authUrl?: string; readonly insecure?: boolean } = {},
  ) {
    const parts = new AsyncDisposableStack();
    const host = parts.use(await SimulatedHost.open({ port: 0 }));
    const keystone = parts.use(await pretendKeystone());
    const policy = parsePolicy('');
    if (!policy.ok) throw new Error(policy.error.join());
    const hidden = { reveal: () => 'x' };
    const { authUrl = keystone.authUrl, insecure = false } = way;
    const { config } = host;
    const started = {
      ...config,
      api: { ...config.api, bindPort: await freePort(), authStrategy: 'keystone' as const, tls },
      operator: { socket: at(`${randomUUID()}.sock`), bindHost, bindPort: await freePort() },
      keystone: {
        ...{ caFile: null, certFile: null, keyFile: null, insecure },
        ...{ serviceTokenRoles: ['service'], serviceTokenRolesRequired: true },
        ...{ tokenCacheMs: 0, timeoutMs: 1000, policy: policy.value, wwwAuthenticateUri: authUrl },
        login: {
          ...{ type: 'password' as const, authUrl, password: hidden },
          ...{ user: { id: 'u' }, project: { id: 'p' } },
        },
      },
    };
    const lines: string[] = [];
    const telemetry = { log: (level: string, line: string) => lines.push(`${level} ${line}`) };
    parts.use(await listen({ ...host.hexagon, telemetry }, started));
    const port = started.operator.bindPort;
    return { port, lines, [Symbol.asyncDispose]: () => parts.disposeAsync() };
  }
  /** Of the loopback, but not by its looks. */
  const BEYOND = '::ffff:127.0.0.1';
  const get = (port: number) => fetch(`http://127.0.0.1:${port}/ui/`, { redirect: 'manual' });

  test("beyond loopback has the API's certificate, also a renewed one, and a form", async () => {
    const tls = files('theirs', at('ca.pem'));
    const put = (name: string) => {
      copyFileSync(at(`${name}.pem`), tls.certFile);
      copyFileSync(at(`${name}.key`), tls.keyFile);
    };
    put('first');
    await using service = await serving(tls, BEYOND);
    const { port } = service;
    // Callers of the API need a certificate of this authority; people do not.
    expect(await ask(port, undefined, '/ui/')).toMatchObject({ status: 303, name: 'first' });
    expect(await ask(port, undefined, '/metrics')).toMatchObject({ status: 401 });
    put('second');
    process.emit('SIGHUP');
    expect(await ask(port, undefined, '/ui/login')).toMatchObject({ status: 200, name: 'second' });
    await expect(get(port)).rejects.toThrow();
    expect(service.lines.join()).toContain(`the page is on https://[${BEYOND}]:${port}/ui/`);
  });

  test('without a certificate asks nobody for a password, and says what is missing', async () => {
    await using service = await serving(null, BEYOND);
    expect((await get(service.port)).status).toBe(401);
    const wants = expect.stringContaining('over TLS only: set [api] cert_file');
    expect(service.lines).toContainEqual(wants);
  });

  test.each([
    { authUrl: 'http://keystone.example:5000' },
    { authUrl: 'https://keystone.example:5000', insecure: true },
  ])('asks nobody for a password that goes on unprotected: %o', async (way) => {
    await using service = await serving(files('first'), BEYOND, way);
    expect(await ask(service.port, undefined, '/ui/')).toMatchObject({ status: 401 });
    const wants = expect.stringContaining('passwords would go to Keystone unprotected');
    expect(service.lines).toContainEqual(wants);
  });

  test('asks for one that goes on over TLS', async () => {
    const way = { authUrl: 'https://keystone.example:5000' };
    await using service = await serving(files('first'), BEYOND, way);
    expect(await ask(service.port, undefined, '/ui/')).toMatchObject({ status: 303 });
    expect(service.lines.join()).not.toContain('unprotected');
  });

  test('on loopback is as it was: HTTP, and for everybody of this host', async () => {
    await using service = await serving(files('first'), '127.0.0.1');
    expect((await get(service.port)).status).toBe(200);
    expect(service.lines.join()).not.toContain('over TLS only');
  });
});

test('files that are no certificate are said by their names', () => {
  const wrong = { ...files('first'), certFile: at('san') };
  expect(readTls(wrong)).toMatchObject({ ok: false, error: expect.stringContaining(at('san')) });
  const missing = { ...files('first'), caFile: at('nowhere') };
  expect(readTls(missing)).toMatchObject({
    error: expect.stringMatching(/nowhere cannot be read: it is not there/),
  });
});
