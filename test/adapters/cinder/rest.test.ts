import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Authorizer, httpBasic, noauth, none } from '#adapters/cinder/auth.ts';
import { Rest, type RestOptions } from '#adapters/cinder/rest.ts';
import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { fault, json, Loopback } from './pretend-cinder.ts';

const PATH = ['snapshots', 'abcd'];
type Method = 'get' | 'post';
const both: readonly Method[] = ['get', 'post'];

/** One request with its own client. */
async function ask(url: string, method: Method, options: Partial<RestOptions> = {}) {
  await using rest = new Rest({ authorizer: none({ endpoint: url }), ...options });
  return method === 'get' ? await rest.get(PATH) : await rest.post(PATH, { a: 1 });
}

const faultOf = (kind: Fault['kind']) => ({ ok: false, error: { kind, who: 'Cinder' } });

/** Reads a request's bytes and answers with bytes, or hangs up. */
async function rawServer(answer: string | 'reset' | 'end') {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      if (answer === 'reset') socket.resetAndDestroy();
      else socket.end(answer === 'end' ? '' : answer);
    });
  });
  return listen(server);
}

async function listen(server: Server) {
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const port = (server.address() as AddressInfo).port;
  const close = () => new Promise<void>((done) => server.close(() => done()));
  return { port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: close };
}

test('many requests at once share what connections there may be', async () => {
  const sockets = new Set<unknown>();
  await using cinder = await Loopback.open((request, response) => {
    sockets.add(request.socket);
    setTimeout(() => json(response, 200, { snapshot: null }), 20);
  });
  await using rest = new Rest({ authorizer: none({ endpoint: cinder.url }) });
  const answers = await Promise.all(Array.from({ length: 600 }, () => rest.get(PATH)));
  expect(answers.every((answer) => answer.ok)).toBe(true);
  expect(cinder.heard).toHaveLength(600);
  expect(sockets.size).toBeLessThanOrEqual(256);
});

describe('nothing was sent', () => {
  test.each(both)('connection refused: %s', async (method) => {
    const { port, [Symbol.asyncDispose]: close } = await rawServer('end');
    await close();
    for (const host of ['127.0.0.1', 'localhost']) {
      const answer = await ask(`http://${host}:${port}`, method);
      expect(answer).toMatchObject(faultOf('unreachable'));
      expect(answer).toMatchObject({ error: { detail: expect.stringContaining('ECONNREFUSED') } });
    }
  });

  test.each(both)('no such host: %s', async (method) => {
    const answer = await ask('http://cinder.invalid:8776/v3', method);
    expect(answer).toMatchObject(faultOf('unreachable'));
  });

  test.each(both)('a connection that is reset before it is one: %s', async (method) => {
    const server = createServer((socket) => socket.resetAndDestroy());
    await using at = await listen(server);
    const answer = await ask(at.url.replace('http:', 'https:'), method);
    expect(answer).toMatchObject(faultOf('unreachable'));
  });

  test.each(both)('an endpoint that is no URL, a header that is no header: %s', async (method) => {
    expect(await ask('cinder', method)).toMatchObject(faultOf('unreachable'));
    const authorizer = noauth({ endpoint: 'http://127.0.0.1:1', userId: 'a\nb' });
    expect(await ask('', method, { authorizer })).toMatchObject(faultOf('unreachable'));
  });

  test('an authorizer that fails', async () => {
    const fails = err<Fault>({ kind: 'unreachable', who: 'Cinder', detail: 'no Keystone' });
    const authorizer = { ...none({ endpoint: 'http://127.0.0.1:1' }), headers: async () => fails };
    expect(await ask('', 'post', { authorizer })).toEqual(fails);
  });
});

describe('it may have been heard: a write is unknown, a read changed nothing', () => {
  const lost = { get: 'unreachable', post: 'unknown' } as const;

  test.each(both)('reset, or closed, after the request: %s', async (method) => {
    for (const how of ['reset', 'end'] as const) {
      await using server = await rawServer(how);
      expect(await ask(server.url, method)).toMatchObject(faultOf(lost[method]));
    }
  });

  test.each(both)('no answer in time: %s', async (method) => {
    await using server = await Loopback.open(() => {});
    const answer = await ask(server.url, method, { headersTimeoutMs: 100 });
    expect(answer).toMatchObject(faultOf(lost[method]));
    expect(server.heard).toHaveLength(1);
  });

  test.each(both)('an answer that drips for ever: %s', async (method) => {
    await using server = await Loopback.open((_, response) => {
      const drip = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(drip));
    });
    const times = { connectTimeoutMs: 100, headersTimeoutMs: 100, bodyTimeoutMs: 100 };
    expect(await ask(server.url, method, times)).toMatchObject(faultOf(lost[method]));
  });

  test.each(both)('an answer cut off, and one that is no HTTP: %s', async (method) => {
    const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n';
    for (const bytes of [`${head}{"snap`, 'SSH-2.0-OpenSSH_9.2\r\n']) {
      await using server = await rawServer(bytes);
      expect(await ask(server.url, method)).toMatchObject(faultOf(lost[method]));
    }
  });

  test.each([502, 503, 504])('HTTP %i', async (status) => {
    await using server = await Loopback.open((_, response) => {
      response.writeHead(status, { 'Content-Type': 'text/html' }).end('<h1>no backend</h1>');
    });
    for (const method of both) {
      const answer = await ask(server.url, method);
      expect(answer).toMatchObject(faultOf(lost[method]));
      expect(answer).toMatchObject({ error: { detail: expect.stringContaining(`${status}`) } });
    }
  });
});

describe('answers', () => {
  test('are a status and its JSON, whatever the status', async () => {
    for (const status of [200, 202, 400, 401, 403, 404, 409, 413, 429, 500]) {
      await using server = await Loopback.open((_, response) => json(response, status, { b: 2 }));
      const answer = await ask(server.url, 'get');
      expect(answer).toMatchObject({ ok: true, value: { status, body: { b: 2 } } });
    }
  });

  test('may be empty, as webob sends them', async () => {
    await using server = await Loopback.open((_, response) => {
      response.writeHead(202, { 'Content-Type': 'text/html; charset=UTF-8' }).end();
    });
    expect(await ask(server.url, 'post')).toMatchObject({ value: { status: 202, body: null } });
  });

  test.each([
    ['truncated', 'application/json', '{"snapshot": {"st'],
    ['a page', 'text/html', '<html>'],
    ['JSON under another name', 'text/plain', '{}'],
  ])('that should be JSON and are not, are rejected: %s', async (_, type, text) => {
    await using server = await Loopback.open((_, response) => {
      response.writeHead(200, { 'Content-Type': type }).end(text);
    });
    const answer = await ask(server.url, 'get');
    expect(answer).toMatchObject({ ok: false, error: { kind: 'rejected', code: 200 } });
  });

  test('of too many bytes are not read to the end', async () => {
    await using server = await Loopback.open((_, r) => json(r, 200, 'x'.repeat(5000)));
    const answer = await ask(server.url, 'get', { maxBytes: 1000 });
    expect(answer).toMatchObject(faultOf('rejected'));
    expect(await ask(server.url, 'post', { maxBytes: 1000 })).toMatchObject(faultOf('unknown'));
  });

  test.each([301, 302, 303, 307, 308])('HTTP %i is not followed', async (status) => {
    await using other = await Loopback.open((_, response) => json(response, 200, {}));
    await using server = await Loopback.open((_, response) => {
      response.writeHead(status, { Location: other.url }).end();
    });
    for (const method of both) {
      const answer = await ask(server.url, method);
      expect(answer).toMatchObject({ ok: false, error: { kind: 'rejected', code: status } });
    }
    expect(other.heard).toEqual([]);
  });
});

describe('who we say we are', () => {
  const seen = async (make: (endpoint: string) => Authorizer) => {
    await using server = await Loopback.open((_, response) => json(response, 200, {}));
    await ask('', 'get', { authorizer: make(`${server.url}/v3/`) });
    return server.heard[0];
  };

  test('noauth: as python-cinderclient, the project in the URL', async () => {
    const it = await seen((endpoint) => noauth({ endpoint, userId: 'nova', projectId: 'svc' }));
    expect(it).toMatchObject({ url: '/v3/svc/snapshots/abcd' });
    expect(it?.headers).toMatchObject({ 'x-auth-token': 'nova:svc', 'x-project-id': 'svc' });
    const alone = await seen((endpoint) => noauth({ endpoint, userId: 'nova' }));
    expect(alone).toMatchObject({ url: '/v3/nova/snapshots/abcd' });
  });

  test('none: the endpoint as it stands', async () => {
    const it = await seen((endpoint) => none({ endpoint }));
    expect(it).toMatchObject({ url: '/v3/snapshots/abcd', headers: { 'x-auth-token': 'notused' } });
  });

  test('http_basic: and no token', async () => {
    const it = await seen((endpoint) => httpBasic({ endpoint, username: 'ü', password: 'p:w' }));
    const encoded = Buffer.from('ü:p:w').toString('base64');
    expect(it?.headers.authorization).toBe(`Basic ${encoded}`);
    expect(it?.headers).not.toHaveProperty('x-auth-token');
  });

  test('an expired token is renewed once, and the request sent again', async () => {
    let token = 1;
    let accepts = 2;
    await using server = await Loopback.open((request, response) => {
      if (request.headers['x-auth-token'] === `${accepts}`) return json(response, 200, {});
      fault(response, 401, 'unauthorized', 'expired');
    });
    const authorizer: Authorizer = {
      ...none({ endpoint: server.url }),
      headers: async () => ok({ 'X-Auth-Token': `${token}` }),
      refresh: async (): Promise<Result<null, Fault>> => {
        token += 1;
        return ok(null);
      },
    };
    expect(await ask('', 'post', { authorizer })).toMatchObject({ value: { status: 200 } });
    accepts = 99;
    expect(await ask('', 'post', { authorizer })).toMatchObject({ value: { status: 401 } });
    expect(token).toBe(3);
    expect(server.heard).toHaveLength(4);
  });
});

describe('what a fault says', () => {
  const endpointOf = (server: Loopback) => ({ endpoint: server.url, username: 'u' });

  test("is Cinder's own message and request id, without secrets and on one line", async () => {
    const password = 'hunter22';
    const encoded = Buffer.from(`u:${password}`).toString('base64');
    await using server = await Loopback.open((_, response) => {
      response.setHeader('X-OpenStack-Request-Id', 'req-0a1b');
      fault(response, 403, 'forbidden', `No:\n${password}, ${encoded}\u2028${'x'.repeat(999)}`);
    });
    const authorizer = httpBasic({ ...endpointOf(server), password });
    const answer = await ask('', 'post', { authorizer });
    expect(JSON.stringify(answer)).toContain('HTTP 403 (req-0a1b): No: ***, *** xxx');
    expect(answer.ok && answer.value.detail.length).toBe(400);
    expect(answer.ok && answer.value.detail).not.toMatch(/hunter22|[\n\u2028]/);
  });

  test('holds no part of a secret at its end', async () => {
    const password = 'correct-horse';
    await using server = await Loopback.open((_, response) => {
      fault(response, 403, 'forbidden', 'x'.repeat(360) + password);
    });
    const answer = await ask('', 'get', {
      authorizer: httpBasic({ ...endpointOf(server), password }),
    });
    expect(answer.ok && answer.value.detail).not.toContain('corr');
  });
});

test.each(['', '.', '..', '\ud800'])('a name that no URL can hold is not there: %j', async (id) => {
  await using rest = new Rest({ authorizer: none({ endpoint: 'http://127.0.0.1:1' }) });
  expect(await rest.get(['snapshots', id])).toMatchObject({ value: { status: 404 } });
});

test('a name reaches Cinder as one segment', async () => {
  await using server = await Loopback.open((_, response) => json(response, 200, {}));
  await using rest = new Rest({ authorizer: none({ endpoint: server.url }) });
  await rest.get(['snapshots', '../a?b#c%']);
  expect(server.heard[0]?.url).toBe('/snapshots/..%2Fa%3Fb%23c%25');
});

describe('TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'chainkeeper-tls-'));
  const cert = join(folder, 'cert.pem');
  const key = join(folder, 'key.pem');
  afterAll(() => rmSync(folder, { recursive: true }));
  beforeAll(() => {
    const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2';
    const subject = '-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1';
    const files = ['-keyout', key, '-out', cert];
    execFileSync('openssl', [...`${request} ${subject}`.split(' '), ...files], { stdio: 'ignore' });
  });

  const tlsServer = async () => {
    const files = { cert: readFileSync(cert), key: readFileSync(key) };
    const server = createTlsServer(
      { ...files, ca: files.cert, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        const { authorized } = request.socket as unknown as { authorized: boolean };
        json(response, 200, { authorized });
      },
    );
    const at = await listen(server);
    return { ...at, url: `https://127.0.0.1:${at.port}` };
  };

  test('trusts the cafile, whoever it is when insecure, and nobody else', async () => {
    await using server = await tlsServer();
    for (const tls of [{ cafile: cert }, { insecure: true }]) {
      expect(await ask(server.url, 'post', { tls })).toMatchObject({
        value: { body: { authorized: false } },
      });
    }
    const answer = await ask(server.url, 'post');
    expect(answer).toMatchObject(faultOf('unreachable'));
    expect(answer).toMatchObject({ error: { detail: expect.stringContaining('self-signed') } });
  });

  test('shows its own certificate', async () => {
    await using server = await tlsServer();
    const tls = { cafile: cert, certfile: cert, keyfile: key };
    const answer = await ask(server.url, 'get', { tls });
    expect(answer).toMatchObject({ value: { body: { authorized: true } } });
  });

  test('a missing file is a fault, not the end', async () => {
    await using server = await tlsServer();
    const answer = await ask(server.url, 'post', { tls: { cafile: join(folder, 'none') } });
    expect(answer).toMatchObject(faultOf('unreachable'));
    expect(answer).toMatchObject({ error: { detail: expect.stringContaining('ENOENT') } });
  });
});
