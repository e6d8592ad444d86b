import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ask } from '#adapters/operator/client.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-client-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function listening(answer: RequestListener) {
  const socket = join(folder, 'it.sock');
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    socket,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test('a silent service is waited for, which is said once, and then it is away', async () => {
  await using it = await listening(() => {});
  const said: string[] = [];
  const reply = await ask(it.socket, '/v1/operations', undefined, 300, (text) => said.push(text));
  expect(reply).toMatchObject({ kind: 'away', why: 'silent' });
  expect(said).toEqual([
    `the service on ${it.socket} has not answered for 0.15 s; waiting for it up to 0.3 s ` +
      '(Ctrl-C ends that).',
  ]);
});

test('one that answers in time is not spoken of', async () => {
  await using it = await listening((_, answer) => answer.end('{}'));
  const said: string[] = [];
  await ask(it.socket, '/', undefined, 300, (text) => said.push(text));
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(said).toEqual([]);
});

test.each([
  [404, '{"message":"page not found"}'],
  [404, '{"error":"Not Found","message":"x"}'],
  [200, 'hello'],
  [200, ''],
  [500, '<html>'],
])('a stranger there, who answers %i %j, is named as one', async (status, text) => {
  await using it = await listening((_, answer) => answer.writeHead(status).end(text));
  expect(await ask(it.socket, '/v1/operations')).toMatchObject({
    kind: 'no',
    why: expect.stringMatching(/does not answer as chainkeeper does \(.*\): name its socket/),
  });
});

test('what is no socket', async () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  for (const path of [join(file, 'x'), join(folder, 'x'.repeat(200))]) {
    expect(await ask(path, '/')).toMatchObject({ kind: 'away', why: 'absent' });
  }
  expect(await ask(file, '/')).toMatchObject({
    why: 'absent',
    sentence: `${file} is a file: name the socket by --socket.`,
  });
  expect(await ask(folder, '/')).toMatchObject({
    why: 'absent',
    sentence: `${folder} is a folder: name the socket by --socket.`,
  });
});
