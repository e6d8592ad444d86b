import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { loadConfig } from '#app/config.ts';
import { readText } from '#app/config-text.ts';
import { ok } from '#domain/result.ts';

const folder = mkdtempSync(join(tmpdir(), 'chainkeeper-text-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const GOOD = `[api]
auth_strategy = noauth
[cinder]
auth_type = none
endpoint = http://c
`;

/** Files as editors and slips of the hand make them, and what is said of each. */
const FILES: readonly (readonly [name: string, bytes: Buffer | string, said: string | null])[] = [
  ['plain', GOOD, null],
  ['empty', '', '[cinder] auth_type is not set'],
  ['mark', `\uFEFF${GOOD}`, 'mark:1: it begins with a byte order mark: save it as UTF-8 without'],
  ['mark-alone', '\uFEFF', 'mark-alone:1: it begins with a byte order mark'],
  ['mark-comment', `\uFEFF# x\n${GOOD}`, 'mark-comment:1: it begins with a byte order mark'],
  ['utf16', Buffer.from(`\uFEFF${GOOD}`, 'utf16le'), 'utf16: line 1 is no UTF-8: save it as UTF-8'],
  ['latin1', Buffer.from(`${GOOD}host = caf\xe9\n`, 'latin1'), 'latin1: line 6 is no UTF-8'],
  ['in-comment', Buffer.from(`${GOOD}# caf\xe9\n`, 'latin1'), 'in-comment: line 6 is no UTF-8'],
  ['surrogate', Buffer.from('[api]\n#\xed\xa0\x80', 'latin1'), 'surrogate: line 2 is no UTF-8'],
  ['cut-off', Buffer.from(`${GOOD}# \xc3`, 'latin1'), 'cut-off: line 6 is no UTF-8'],
];

describe('a configuration file', () => {
  for (const [name, bytes] of FILES) writeFileSync(at(name), bytes);

  test.each(FILES)('%s', (name, _, said) => {
    const loaded = loadConfig({ files: [at(name)], env: {} });
    if (said === null) expect(loaded.ok).toBe(true);
    else expect(loaded).toMatchObject({ error: { 0: expect.stringContaining(said) } });
  });

  const oslo = spawnSync('/usr/bin/python3', ['-c', 'import oslo_config']).status === 0;
  test.skipIf(!oslo)('is read by oslo.config, or not, just as by us', () => {
    const script = `
import sys
from oslo_config import cfg
for name in sys.argv[1:]:
    try:
        cfg.ConfigOpts()([], default_config_files=[name])
        print('ok')
    except (cfg.Error, UnicodeDecodeError, OSError):
        print('no')`;
    const names = [...FILES.map(([name]) => name), '.', 'missing'];
    const told = spawnSync('/usr/bin/python3', ['-B', '-c', script, ...names.map(at)], {
      encoding: 'utf8',
      env: { PYTHONUTF8: '1' },
    });
    const ours = names.map((name) => {
      const loaded = loadConfig({ files: [at(name)], env: {} });
      // What is missing in a file that was read is not what oslo.config looks at.
      return loaded.ok || loaded.error.join().includes('is not set') ? 'ok' : 'no';
    });
    expect(told.stdout.trim().split('\n')).toEqual(ours);
  });

  test('a NUL byte in a value that counts is a mistake, with its place', () => {
    writeFileSync(at('nul'), `${GOOD}[DEFAULT]\n# \0 in a comment\nstate_path = /x\0y\n`);
    expect(loadConfig({ files: [at('nul')], env: {} })).toMatchObject({
      error: [
        `${at('nul')}:8: [DEFAULT] state_path has a NUL byte in it: save the file as UTF-8 text`,
      ],
    });
  });
});

describe('what is no file', () => {
  symlinkSync('nowhere', at('dangling'));
  symlinkSync('loop', at('loop'));
  mkdirSync(at('folder'));

  test.each([
    ['folder', 'cannot be read: it is a folder: name a file'],
    ['missing', 'cannot be read: it is not there: make it, or name another'],
    ['dangling', 'cannot be read: it is not there: make it, or name another'],
    ['loop', 'cannot be read: its symbolic links lead in a circle: mend them, or name another'],
    ['plain/x', 'cannot be read: part of the path is a file and no folder: name another'],
    ['/dev/zero', 'is longer than 1 MiB: name a configuration'],
  ])('%s', (name, sentence) => {
    expect(readText(name.startsWith('/') ? name : at(name))).toMatchObject({ error: { sentence } });
  });

  test('/dev/null is a file in which nothing is set, as for oslo.config', () => {
    expect(readText('/dev/null')).toEqual(ok(''));
  });
});

describe('a pipe', () => {
  const patience = { openingMs: 300, writingMs: 600 };
  const pipe = (name: string, command: string | null) => {
    spawnSync('mkfifo', [at(name)]);
    if (command !== null) spawn('sh', ['-c', `exec >${at(name)}; ${command}`], { stdio: 'ignore' });
    return at(name);
  };

  test('of a shell is read to its end, however slowly it comes', () => {
    const path = pipe('slow', 'printf "[api]\\n"; sleep 0.5; printf "bind_port = 1\\n"');
    expect(readText(path)).toEqual(ok('[api]\nbind_port = 1\n'));
  });

  test('that nobody opens is not waited for without end', () => {
    expect(readText(pipe('nobody', null), patience)).toMatchObject({
      error: { sentence: 'is a pipe, and nobody writes into it' },
    });
  });

  test('that does not end neither', () => {
    const path = pipe('endless', 'while sleep 0.1; do echo; done');
    expect(readText(path, { ...patience, openingMs: 5000 })).toMatchObject({
      error: { sentence: 'is a pipe, and whoever writes into it has not ended within 0.6 s' },
    });
  });
});
