import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { OsloLog } from '#adapters/operator/log.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';

vi.setConfig({ testTimeout: 60_000 });

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'chainkeeper-laws-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Tells a story in a process that may write nowhere but in `writable`, and start no other. */
async function confined(statePath: string, writable: string) {
  const flags = ['--permission', '--allow-addons', '--allow-fs-read=*'];
  const script = join(import.meta.dirname, 'confined.ts');
  const args = [...flags, `--allow-fs-write=${writable}`, script, statePath];
  return promisify(execFile)(process.execPath, args);
}

test('law 25: nothing is written but in the folder of the journal', async () => {
  using state = folder();
  const { stdout } = await confined(state.path, state.path);
  expect(stdout).toBe('available available deleted available\n');
  expect(readdirSync(state.path).sort()).toEqual([
    'chainkeeper.conf',
    'chainkeeper.log',
    'journal.sqlite',
    'journal.sqlite-lock',
  ]);
});

test('law 25: a write elsewhere would be seen', async () => {
  using state = folder();
  using other = folder();
  await expect(confined(state.path, other.path)).rejects.toThrow('ERR_ACCESS_DENIED');
});

test('law 36: no secret is in the log, the journal, the command line, or an answer', async () => {
  using state = folder();
  const password = 'Hunter2-is-not-the-word';
  await using host = await SimulatedHost.open({
    port: 0,
    statePath: state.path,
    tickMs: 5,
    password,
    debug: true,
  });
  const encoded = Buffer.from(`chainkeeper:${password}`).toString('base64');
  // A Cinder, or a proxy before it, that says back what it was sent.
  let echoes = 0;
  const said: string[] = [];
  host.http.instead = ({ headers, method }) => {
    said.push(String(headers.authorization));
    if (++echoes % 3 !== 0) return null;
    const status = [500, 401, 400, 413][echoes % 4] ?? 500;
    const message = `${method} with ${headers.authorization} and ${password}`;
    return { status, body: { [message]: { code: status, message } } };
  };
  const { cinder, volume } = host.cloud;
  for (let times = 0; times < 3; times++) {
    const { snapshot } = await cinder.createSnapshot(volume);
    await cinder.deleteSnapshot(snapshot);
  }
  const mine = 'Basic bWluZTpteS1vd24tc2VjcmV0';
  const answers: string[] = [];
  for (const path of ['/v2.1/', '/v2.1/os-assisted-volume-snapshots', '/nowhere']) {
    const answer = await fetch(new URL(path, host.url), {
      headers: { authorization: mine, 'x-auth-token': mine },
    });
    answers.push(await answer.text());
  }
  expect(said.filter((it) => it === `Basic ${encoded}`).length).toBeGreaterThan(5);
  const logged = readFileSync(join(state.path, 'chainkeeper.log'), 'utf8');
  expect(logged.match(/WARNING/g)?.length, 'it had something to say').toBeGreaterThan(2);
  const written = readdirSync(state.path)
    .filter((name) => name !== 'chainkeeper.conf' && !name.endsWith('.sock'))
    .map((name) => readFileSync(join(state.path, name), 'latin1'));
  for (const text of [
    ...written,
    ...answers,
    process.argv.join(' '),
    JSON.stringify(host.config),
  ]) {
    for (const secret of [password, encoded, mine.slice(6)]) expect(text).not.toContain(secret);
  }
});

test('law 26: whatever is logged is one line, and no terminal obeys it', () => {
  using state = folder();
  const file = join(state.path, 'log');
  const hostile = fc.string({ unit: 'binary', maxLength: 80 });
  let lines = 0;
  for (const useJson of [false, true]) {
    const log = new OsloLog({ debug: true, useJson, file });
    fc.assert(
      fc.property(
        hostile,
        hostile,
        hostile,
        hostile,
        (text, requestId, globalRequestId, operation) => {
          log.log('info', text, { requestId, globalRequestId, operation });
          lines++;
        },
      ),
      { numRuns: 500 },
    );
  }
  const written = readFileSync(file, 'utf8').split('\n');
  expect(written.pop()).toBe('');
  expect(written).toHaveLength(lines);
  const obeyed = /[\p{Cc}\u2028-\u202e\u2066-\u2069]/u;
  expect(written.filter((line) => obeyed.test(line))).toEqual([]);
});
