import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ownFolder, removeLeftovers } from '#sim/leftovers.ts';

let within: string;
beforeEach(() => {
  within = mkdtempSync(join(tmpdir(), 'ck-left-'));
});
let child: ChildProcess | null = null;
afterEach(() => {
  child?.kill('SIGKILL');
  rmSync(within, { recursive: true });
});

/** A process that was, and is no more. */
const DEAD = spawnSync('true').pid;
const YEARS_AGO = new Date(0);

function folder(pid: number, made = new Date()): string {
  const path = mkdtempSync(ownFolder(within, pid));
  utimesSync(path, made, made);
  return path;
}

test('a folder of a dead process goes, and of nobody else', async () => {
  const gone = folder(DEAD, YEARS_AGO);
  const kept = [folder(process.pid, YEARS_AGO), folder(DEAD)];
  for (const name of ['chainkeeper-sim-abcdef', `x-chainkeeper-sim-${DEAD}-a`, 'other']) {
    mkdirSync(join(within, name));
    kept.push(join(within, name));
  }
  const linked = join(within, `chainkeeper-sim-${DEAD}-linked`);
  symlinkSync(kept[0] ?? '', linked);
  expect(await removeLeftovers(within)).toEqual([gone]);
  expect([...kept, linked].filter((it) => !existsSync(it))).toEqual([]);
});

test('one that somebody answers in is of another container, whatever its number', async () => {
  const path = folder(DEAD, YEARS_AGO);
  const socket = join(path, 'chainkeeper.sock');
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  utimesSync(path, YEARS_AGO, YEARS_AGO);
  expect(await removeLeftovers(within)).toEqual([]);
  await new Promise((resolve) => server.close(resolve));
});

/** The simulated service as `npm start` has it, and the folder that it works in. */
async function started(): Promise<{ readonly at: string; readonly first: ChildProcess }> {
  const env = { ...process.env, TMPDIR: within, npm_lifecycle_event: 'start' };
  const first = spawn(process.execPath, ['scripts/first.mjs', 'start', '--port', '0'], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  child = first;
  let said = '';
  first.stderr?.on('data', (piece) => {
    said += piece;
  });
  await expect.poll(() => said, { timeout: 30_000 }).toContain('Ctrl-C ends it');
  const [, at = ''] = /(\S+)\/chainkeeper\.sock/.exec(said) ?? [];
  return { at, first };
}

test('npm start: what a kill leaves goes with the next start, and none runs on', async () => {
  const { at, first } = await started();
  const [, pid] = /-(\d+)-\w+$/.exec(at) ?? [];
  process.kill(Number(pid), 'SIGKILL');
  await expect.poll(() => first.exitCode).not.toBe(null);
  expect(existsSync(at)).toBe(true);
  const again = await started();
  expect([existsSync(at), existsSync(again.at)]).toEqual([false, true]);
  // Not the service itself, but the one that started it.
  again.first.kill('SIGKILL');
  await expect.poll(() => existsSync(again.at), { timeout: 15_000 }).toBe(false);
});
