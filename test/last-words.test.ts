import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { settingsOf } from '#app/composition.ts';
import type { Config } from '#app/config.ts';
import { lastWords } from '#app/last-words.ts';

/** What SQLite throws when its file can grow no more, as on a full disk. */
function full(): unknown {
  const db = new DatabaseSync(':memory:');
  try {
    db.exec('PRAGMA max_page_count = 2; CREATE TABLE it (x)');
    db.exec('INSERT INTO it VALUES (zeroblob(100000))');
    return expect.unreachable('it had room');
  } catch (error) {
    return error;
  } finally {
    db.close();
  }
}

test('a full disk ends the process with one sentence, and no stack', () => {
  expect(lastWords(full())).toBe(
    'chainkeeper: The journal cannot be written: its file system is full: free some room there. ' +
      'What is not written down is not done, so this process ends; the next start goes on from ' +
      'what is.',
  );
});

test('nor is it counted as a defect of the operation that was to be written down', () => {
  const { isDefect } = settingsOf({ cinder: {}, libvirt: {} } as Config, () => {});
  expect(isDefect(full())).toBe(false);
  expect(isDefect(new Error('we contradict ourselves'))).toBe(true);
});

test('what SQLite calls a mistake of ours keeps its stack', () => {
  const db = new DatabaseSync(':memory:');
  try {
    db.exec('CREATE TABLE it (x UNIQUE); INSERT INTO it VALUES (1), (1)');
  } catch (error) {
    expect(lastWords(error)).toMatch(/UNIQUE constraint failed.*\n +at .*last-words/);
  }
  expect.assertions(1);
  db.close();
});

test('a defect is told with where it was', () => {
  expect(lastWords(new Error('we contradict ourselves'))).toMatch(/ourselves\n +at .*last-words/);
  expect(lastWords('x')).toBe("'x'");
});
