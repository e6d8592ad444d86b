import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { type Heard, listenTo } from '#adapters/operator/events-client.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-events-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('a service that dies and comes back: nothing that ended meanwhile is missed', async () => {
  await using host = await SimulatedHost.open({ port: 0 });
  const { cinder, volume } = host.cloud;
  const enough = new AbortController();
  const heard: Heard[] = [];
  const listening = (async () => {
    for await (const one of listenTo(host.config.operator.socket, enough.signal)) heard.push(one);
  })();
  const has = (event: string) => heard.filter((one) => one.event === event);
  const ended = () => has('operation').filter(({ data }) => data.state === 'end');
  await expect.poll(() => has('ready').length).toBe(1);
  await cinder.createSnapshot(volume);
  await expect.poll(() => ended().length, { timeout: 5000 }).toBe(1);

  await host.crash();
  await expect.poll(() => has('lost').length, { timeout: 5000 }).toBe(1);
  // Some attempts in vain.
  await sleep(2500);
  await host.boot();
  // Before the listener is back, which it tries once a second.
  const { snapshot } = await cinder.createSnapshot(volume);
  await host.hexagon.runner.idle();
  await expect.poll(() => ended().length, { timeout: 10_000 }).toBe(2);
  expect(ended()[1]?.data).toMatchObject({ snapshot, outcome: 'created' });
  expect(has('ready'), 'it went on from where it was').toHaveLength(1);
  expect(
    [has('lost'), has('back')].map(({ length }) => length),
    'said once',
  ).toEqual([1, 1]);
  enough.abort();
  await listening;
});

test('pieces of a stream, wherever they are cut', async () => {
  const socket = join(folder, 'cut.sock');
  const text =
    ': alive\n\nid: 4\nevent: operation\ndata: {"id":"ü"}\nother: x\n\nevent: progress\n\n';
  const server = createServer((_, answer) => {
    const bytes = Buffer.from(text);
    let at = 0;
    const timer = setInterval(() => {
      if (at >= bytes.length) clearInterval(timer);
      else answer.write(bytes.subarray(at, ++at));
    }, 1);
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const enough = new AbortController();
  for await (const one of listenTo(socket, enough.signal)) {
    expect(one).toEqual({ event: 'operation', data: { id: 'ü' } });
    enough.abort();
  }
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test('a first attempt that fails is an error, and a refusal of the service too', async () => {
  const none = listenTo(join(folder, 'nobody.sock'), new AbortController().signal);
  await expect(none.next()).rejects.toThrow(/ENOENT/);
  const socket = join(folder, 'no.sock');
  const server = createServer((_, answer) => answer.writeHead(503).end());
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const refused = listenTo(socket, new AbortController().signal);
  await expect(refused.next()).rejects.toThrow('tells nothing (status 503)');
  await new Promise((resolve) => server.close(resolve));
});

test('a service that hangs is waited for, and that is said once for each time', async () => {
  const socket = join(folder, 'hangs.sock');
  const said: number[] = [];
  const server = createServer(async (_, answer) => {
    await sleep(300);
    answer.writeHead(200).write('event: ready\ndata: {}\n\n');
    await sleep(700);
    answer.write('event: operation\ndata: {}\n\n');
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const enough = new AbortController();
  const pace = { againMs: 10, answerMs: 100, aliveMs: 250 };
  const heard: string[] = [];
  for await (const { event } of listenTo(socket, enough.signal, (ms) => said.push(ms), pace)) {
    heard.push(event);
    if (event === 'operation') enough.abort();
  }
  expect([heard, said]).toEqual([
    ['ready', 'operation'],
    [100, 250],
  ]);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});
