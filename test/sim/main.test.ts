import { execFile, spawn } from 'node:child_process';
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
  [
    ['--seed', '-1'],
    "Option '--seed' argument is ambiguous. Did you forget to specify the option argument for " +
      "'--seed'? To specify an option argument starting with a dash use '--seed=-XYZ'.",
  ],
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
  [['--page-port', '70000'], "--page-port is '70000': give a whole number from 0 to 65535"],
  [['--seed', '1', '--page-port', '0'], '--page-port is for the service, not for --seed N'],
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

test('the service says where its page is, and there is something on it', async () => {
  const args = ['bin/chainkeeper.js', 'sim', '--port', '0'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'exit');
  try {
    let said = '';
    for await (const piece of child.stderr) {
      said += piece;
      if (said.includes('Ctrl-C')) break;
    }
    const [, address = ''] = /the page +(http:\/\/127\.0\.0\.1:\d+\/ui\/)/.exec(said) ?? [];
    const page = async () => (await fetch(address)).text();
    // The volume that has drifted has its snapshot within a second or two.
    await expect.poll(page, { timeout: 50_000, interval: 1000 }).toContain('1 thing needs you');
    const text = await page();
    expect(text).toContain('7 of 8 volumes agree');
    expect(text).toContain('active-behind');
    expect(text).toContain('instance-00000004 vdc');
  } finally {
    child.kill('SIGINT');
  }
  expect(await ended).toEqual([0, null]);
});
