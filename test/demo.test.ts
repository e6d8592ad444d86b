/** The first thing that anybody types. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';

vi.setConfig({ testTimeout: 60_000 });

/** Runs the demo in a temporary folder of its own, and answers what it said and left behind. */
async function demo(interruptAt?: RegExp) {
  const TMPDIR = mkdtempSync(join(tmpdir(), 'chainkeeper-demo-'));
  try {
    const child = spawn(process.execPath, ['demo/main.ts'], { env: { ...process.env, TMPDIR } });
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
      if (interruptAt?.test(said)) child.kill('SIGINT');
    });
    const code = await new Promise((resolve) => child.once('exit', resolve));
    const left = readdirSync(TMPDIR).filter((name) => name.startsWith('chainkeeper'));
    return { code, said, left };
  } finally {
    rmSync(TMPDIR, { recursive: true, force: true });
  }
}

test('the demo survives an attack and a crash, and loses nothing', async () => {
  const { code, said, left } = await demo();
  expect(said).toContain('mended: volume-');
  expect(said).toContain('the service was killed while the merge ran');
  expect(said.trimEnd().split('\n').at(-1)).toBe('The guest reads what it wrote: every byte.');
  expect(code).toBe(0);
  expect(left).toEqual([]);
});

test('interrupted, it puts everything away', async () => {
  const { code, left } = await demo(/Take the second snapshot/);
  expect(code).toBe(130);
  expect(left).toEqual([]);
});
