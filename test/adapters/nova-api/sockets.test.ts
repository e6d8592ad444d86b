import { once } from 'node:events';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { ok } from '#domain/result.ts';
import { api, createBody, type Harness, PATH } from './harness.ts';

const BODY = JSON.stringify(createBody());
const POST =
  `POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
  `Content-Length: ${BODY.length}\r\n`;

async function open({ app }: Harness): Promise<Socket> {
  await app.listen({ host: '127.0.0.1', port: 0 });
  const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}

/** Everything that is answered until the other side hangs up. */
async function converse(it: Harness, words: string): Promise<string> {
  const socket = await open(it);
  socket.write(words, 'latin1');
  return text(socket);
}

describe('on a real socket', () => {
  test('requests in one packet are answered in order', async () => {
    const it = api();
    const last = `${POST.replace(PATH, '/nowhere')}Connection: close\r\n\r\n${BODY}`;
    const said = await converse(it, `${POST}\r\n${BODY}${POST}\r\n${BODY}${last}`);
    expect(said.match(/HTTP\/1\.1 \d+/g)).toEqual(
      ['200', '200', '404'].map((status) => `HTTP/1.1 ${status}`),
    );
    expect(it.calls).toHaveLength(2);
  });

  test('Expect: 100-continue is served, another expectation ignored', async () => {
    for (const [expectation, first] of [
      ['100-continue', '100'],
      ['tea', '200'],
    ]) {
      const it = api();
      const head = `${POST}Connection: close\r\nExpect: ${expectation}\r\n\r\n`;
      const said = await converse(it, head + BODY);
      expect(said).toMatch(new RegExp(`^HTTP/1\\.1 ${first} `));
      expect(it.calls).toHaveLength(1);
    }
  });

  test.each([
    ['no HTTP', 'hello\r\n\r\n', 400, 'badRequest'],
    ['no Host', `GET / HTTP/1.1\r\nConnection: close\r\n\r\n`, 400, 'badRequest'],
    ['a length and chunks', `${POST}Transfer-Encoding: chunked\r\n\r\n${BODY}`, 400, 'badRequest'],
    ['two lengths', `${POST}Content-Length: 1\r\n\r\n${BODY}`, 400, 'badRequest'],
    ['a folded header', `${POST}X-A: b\r\n c\r\n\r\n${BODY}`, 400, 'badRequest'],
    ['a NUL in a header', `${POST}X-A: b\0\r\n\r\n${BODY}`, 400, 'badRequest'],
    [
      'dots for an id',
      `DELETE ${PATH}/..?delete_info={"volume_id":"x"} HTTP/1.1\r\nHost: x\r\n` +
        'Connection: close\r\n\r\n',
      400,
      'badRequest',
    ],
    ['bare line feeds', `${POST}X-A: b\n\n${BODY}`, 400, 'badRequest'],
    ['a huge header', `${POST}X-A: ${'x'.repeat(30_000)}\r\n\r\n${BODY}`, 431, 'computeFault'],
    ['a large header', `${POST}X-A: ${'x'.repeat(16_400)}\r\n\r\n${BODY}`, 431, 'computeFault'],
    ['a long URL', `GET /?${'x'.repeat(9_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 414, 'computeFault'],
    [
      'a body that is announced too large',
      `POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
        'Content-Length: 99999999\r\n\r\n',
      413,
      'overLimit',
    ],
    [
      'chunks without end',
      `POST ${PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n` +
        `Transfer-Encoding: chunked\r\n\r\n5000\r\n${' '.repeat(0x5000)}\r\n`,
      413,
      'overLimit',
    ],
  ])('%s', async (_, words, status, name) => {
    const it = api();
    const said = await converse(it, words);
    expect(said).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(said).toMatch(/^x-compute-request-id: req-/im);
    expect(said).toMatch(/^content-type: application\/json; charset=UTF-8\r$/im);
    const body = said.slice(said.indexOf('\r\n\r\n') + 4);
    expect(JSON.parse(body)).toMatchObject({ [name]: { code: status } });
    expect(it.calls).toEqual([]);
  });

  test('headers that dribble in are cut off after 10 s', { timeout: 20_000 }, async () => {
    const it = api();
    const socket = await open(it);
    const started = performance.now();
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n');
    const drip = setInterval(() => socket.write('X-A: b\r\n'), 500);
    const said = await text(socket);
    clearInterval(drip);
    expect(said).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    expect(said).toContain('"code":408');
    expect(performance.now() - started).toBeLessThan(13_000);
  });

  test('a request that is being decided is answered although we stop', async () => {
    let finish = () => {};
    const decided = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const it = api({
      answer: async () => {
        await decided;
        return ok({ operation: null });
      },
    });
    const socket = await open(it);
    socket.write(`${POST}\r\n${BODY}`);
    await expect.poll(() => it.calls.length).toBe(1);
    const closed = it.app.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    // This one is read, but comes too late.
    socket.write(`${POST}\r\n${BODY}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    finish();
    const said = await text(socket);
    expect(said.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 503']);
    expect(said).toContain('This service is stopping: nothing was changed.');
    expect(it.calls).toHaveLength(1);
    await closed;
  });
});
