import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, describe, expect, test } from 'vitest';
import { SqliteJournal } from '#adapters/sqlite/journal.ts';
import { SCHEMA, SCHEMA_VERSION } from '#adapters/sqlite/schema.ts';
import { makeStatePath } from '#app/state-path.ts';
import { SimClock } from '#sim/clock.ts';

const folder = mkdtempSync(join(tmpdir(), 'chainkeeper-state-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const pipe = (path: string) => spawnSync('mkfifo', [path]);

writeFileSync(at('file'), 'precious');
pipe(at('pipe'));
symlinkSync('nowhere', at('dangling'));
symlinkSync('loop', at('loop'));

describe('a state_path', () => {
  test.each([
    ['file', 'is a file: move it, or name a folder.'],
    ['pipe', 'is a named pipe: move it, or name a folder.'],
    ['dangling', 'is a link to nowhere, where nothing is: move it, or name a folder.'],
    ['loop', 'cannot be used: its symbolic links lead in a circle: mend them, or name another.'],
    ['file/x', 'cannot be used: part of the path is a file and no folder: name another.'],
    ['x'.repeat(300), 'cannot be used: the name is longer than a file system takes: name a'],
    ['no/such', 'cannot be made, because PLACE/no is not there: mount its file system, or make'],
  ])('%.20s is said in one sentence, and nothing is made', (name, sentence) => {
    const before = readdirSync(folder);
    expect(() => makeStatePath(at(name))).toThrow(
      `The state_path ${at(name)} ${sentence.replace('PLACE', folder)}`,
    );
    expect(readdirSync(folder)).toEqual(before);
    expect(readFileSync(at('file'), 'utf8')).toBe('precious');
  });

  test('that is a folder is taken, and one that is not there is made, for us alone', () => {
    makeStatePath(at('made'));
    makeStatePath(at('made'));
    expect(existsSync(at('made'))).toBe(true);
  });
});

describe('a journal', () => {
  /** A state folder; what opening the journal in it says, while all in it stays as it is. */
  function said(prepare: (path: string) => void): string {
    const state = mkdtempSync(at('j-'));
    const path = join(state, 'journal.sqlite');
    prepare(path);
    const before = bytesIn(state);
    const journal = SqliteJournal.open(path, new SimClock());
    if (journal.ok) throw new Error('it was opened');
    expect(bytesIn(state)).toMatchObject(before);
    return journal.error.replaceAll(path, 'J');
  }
  const bytesIn = (state: string) =>
    Object.fromEntries(
      readdirSync(state, { withFileTypes: true })
        .filter((it) => it.isFile())
        .map(({ name }) => [name, readFileSync(join(state, name)).toString('latin1')]),
    );
  const database = (sql: string) => (path: string) => {
    const db = new DatabaseSync(path);
    db.exec(sql);
    db.close();
  };
  const version = (n: number) => `PRAGMA user_version = ${n};`;

  test.each<[string, (path: string) => void, string]>([
    [
      'a link to nowhere',
      (path) => symlinkSync('/no/where', path),
      'J: it is a link to /no/where, where nothing is, and the journal is one file: move it, or',
    ],
    ['a pipe', pipe, 'J: it is a named pipe, and the journal is one file: move it, or'],
    ['a folder', (path) => mkdirSync(path), 'J: it is a folder, and the journal is one file:'],
    ['a -wal that is a folder', (path) => mkdirSync(`${path}-wal`), 'J-wal: it is a folder, and'],
    ['a -lock that is a pipe', (path) => pipe(`${path}-lock`), 'J-lock: it is a named pipe, and'],
    [
      'a -lock that is something else',
      (path) => writeFileSync(`${path}-lock`, 'a shopping list'.repeat(99)),
      'J-lock is no lock of a journal: move it away, for nothing is kept in such a lock.',
    ],
    [
      'a newer one',
      database(`${version(99)} CREATE TABLE it (x)`),
      'A newer chainkeeper wrote the journal J (schema 99): run that one, or name another',
    ],
    [
      "another program's, which counts its versions too",
      database(`${version(2)} CREATE TABLE precious (it)`),
      'J is a database of something else: name another state_path.',
    ],
    [
      'one that has lost a table',
      database(`${SCHEMA.join('')} ${version(SCHEMA_VERSION)} DROP TABLE chain`),
      'The journal J is damaged (it has no column chain.',
    ],
    [
      'one that has lost a trigger',
      database(`${SCHEMA.join('')} ${version(SCHEMA_VERSION)} DROP TRIGGER change_noted`),
      'The journal J is damaged (it has no trigger change_noted): restore it, or move it away',
    ],
  ])('%s is left as it is, and named', (_, prepare, sentence) => {
    expect(said(prepare)).toContain(sentence);
  });

  test('of an older chainkeeper has what that one made, and is taken', async () => {
    for (let older = 1; older < SCHEMA_VERSION; older++) {
      const path = join(mkdtempSync(at('old-')), 'journal.sqlite');
      database(`${SCHEMA.slice(0, older).join('')} ${version(older)}`)(path);
      const journal = SqliteJournal.open(path, new SimClock());
      expect(journal.ok, String(older)).toBe(true);
      if (journal.ok) await journal.value[Symbol.asyncDispose]();
    }
  });

  test('of no bytes is a new one', async () => {
    const path = join(mkdtempSync(at('new-')), 'journal.sqlite');
    writeFileSync(path, '');
    const journal = SqliteJournal.open(path, new SimClock());
    expect(journal.ok).toBe(true);
    if (journal.ok) await journal.value[Symbol.asyncDispose]();
  });
});

/** What a user without rights hears, and one whose file systems are full or read-only. */
const mountable = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'x', folder]).status === 0;
describe.skipIf(!mountable)('on a file system that takes nothing', () => {
  const src = join(import.meta.dirname, '../src');
  const probe = join(folder, 'probe.ts');
  writeFileSync(
    probe,
    `import { SqliteJournal } from '${src}/adapters/sqlite/journal.ts';
     import { makeStatePath } from '${src}/state-path.ts';
     try {
       makeStatePath(process.argv[2]);
       const it = SqliteJournal.open(process.argv[2] + '/journal.sqlite', { now: Date.now });
       console.log(it.ok ? 'it was opened' : it.error);
     } catch (error) { console.log(error.message); }`,
  );
  const heard = (prepare: string, state: string, as = '') => {
    const words = `mount -t tmpfs -o size=1m,mode=755 x ${at('mnt')}; cd ${at('mnt')}; ${prepare}
      cd /; exec ${as} ${process.execPath} ${probe} ${at(`mnt/${state}`)}`;
    const { stdout, stderr } = spawnSync('unshare', ['-m', 'sh', '-ec', words], {
      encoding: 'utf8',
    });
    return (stdout + stderr).replaceAll(at('mnt'), 'M').trimEnd();
  };
  const ALIEN = 'setpriv --reuid=65534 --regid=65534 --clear-groups';
  mkdirSync(at('mnt'));
  chmodSync(folder, 0o755);

  test.each<[string, string, string, RegExp]>([
    ['mkdir s; mount -o remount,ro .', 's', '', /^The state_path M\/s cannot be used: its file s/],
    ['mount -o remount,ro .', 's', '', /^The state_path .*its file system is read-only: mount it/],
    [
      'mkdir s; cat /dev/zero >fill || true',
      's',
      '',
      /^The (journal|lock) M\/s\/journal.sqlite.*: its file system is full: free some room/,
    ],
    ['mkdir -m 755 s', 's', ALIEN, /^The state_path M\/s cannot be used: uid 65534 may not: run/],
    [
      'mkdir -m 700 p; mkdir p/s',
      'p/s',
      ALIEN,
      /^The state_path M\/p\/s cannot be used: uid 65534/,
    ],
    [
      'mkdir s; chown 65534 s; touch s/journal.sqlite; chmod 600 s/journal.sqlite',
      's',
      ALIEN,
      /^The journal M\/s\/journal.sqlite cannot be used: uid 65534 may not: run it as/,
    ],
  ])('%s', (prepare, state, as, sentence) => {
    expect(heard(prepare, state, as)).toMatch(sentence);
  });
});
