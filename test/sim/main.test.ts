import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';

/** What `chainkeeper sim` says and how it ends. */
function sim(...args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const done = (error: (Error & { code?: unknown }) | null, out: string, err: string) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err });
    execFile(process.execPath, ['bin/chainkeeper.js', 'sim', ...args], done);
  });
}

test('a seed tells its story, the same one each time', async () => {
  const [once, twice, all] = await Promise.all([
    sim('--seed', '12'),
    sim('--seed=12'),
    sim('--seed', '12', '--all'),
  ]);
  expect(once).toMatchObject({ code: 0, err: '' });
  expect(once.out).toMatch(/\nseed 12: \d+ operations, digest [0-9a-f]{8}\nfaults: /);
  expect(twice).toEqual(once);
  expect(all.out.length).toBeGreaterThan(once.out.length);
  expect(all.out).toContain('journal commit');
});

test.each([
  [['--seed', 'x'], "--seed is 'x': give a whole number"],
  [['--seed', '1.5'], "--seed is '1.5': give a whole number"],
  [['--seed', ''], "--seed is '': give a whole number"],
  [['--port', ''], "--port is '': give a whole number from 0 to 65535"],
  [['--port', '0x10'], "--port is '0x10': give a whole number from 0 to 65535"],
  [['--seed', '1', '--port', '0'], '--port is for the service, not for --seed N'],
  [
    ['--seed', '1', 'more'],
    "Unexpected argument 'more'. This command does not take positional arguments",
  ],
  [['--all'], '--all belongs to --seed N'],
  [['--port', 'x'], "--port is 'x': give a whole number from 0 to 65535"],
])('%j is refused in a sentence', async (args, sentence) => {
  expect(await sim(...args)).toEqual({ code: 2, out: '', err: `chainkeeper sim: ${sentence}\n` });
});

test('a port that somebody else has is named, with what to do', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  try {
    const { port } = other.address() as AddressInfo;
    const { code, err } = await sim('--port', String(port));
    expect(code).toBe(2);
    expect(err).toContain(`Somebody else listens on 127.0.0.1:${port}: stop it, or name another`);
  } finally {
    other.close();
  }
});
