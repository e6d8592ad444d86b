import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SqliteJournal } from '#adapters/sqlite/journal.ts';
import { SimClock } from '#sim/clock.ts';
import { journalContract } from './journal.ts';

function folder(): { readonly file: string } & Disposable {
  const made = mkdtempSync(join(tmpdir(), 'chainkeeper-journal-'));
  const remove = () => rmSync(made, { recursive: true, force: true });
  return { file: join(made, 'journal.sqlite'), [Symbol.dispose]: remove };
}

function opened(file: string, clock: SimClock): SqliteJournal {
  const journal = SqliteJournal.open(file, clock);
  if (!journal.ok) throw new Error(journal.error);
  return journal.value;
}

journalContract('SQLite', async () => {
  const clock = new SimClock();
  const place = folder();
  let journal = opened(place.file, clock);
  return {
    get journal() {
      return journal;
    },
    reopen: async () => {
      await journal[Symbol.asyncDispose]();
      journal = opened(place.file, clock);
      return journal;
    },
    [Symbol.asyncDispose]: async () => {
      await journal[Symbol.asyncDispose]();
      place[Symbol.dispose]();
    },
  };
});

test('a second process on the same journal is told so and does nothing', async () => {
  using place = folder();
  await using _first = opened(place.file, new SimClock());
  expect(SqliteJournal.open(place.file, new SimClock())).toEqual({
    ok: false,
    error: `The journal ${place.file} is in use by another chainkeeper: stop that one first.`,
  });
});

test('a database of something else is left alone', async () => {
  using place = folder();
  const { DatabaseSync } = await import('node:sqlite');
  const other = new DatabaseSync(place.file);
  other.exec('CREATE TABLE precious (it TEXT)');
  other.close();
  const { readFileSync } = await import('node:fs');
  const before = readFileSync(place.file);
  expect(SqliteJournal.open(place.file, new SimClock())).toEqual({
    ok: false,
    error: `${place.file} is a database of something else: name another state_path.`,
  });
  expect(readFileSync(place.file).equals(before), 'not a byte of it').toBe(true);
});

test('a damaged journal is not used', async () => {
  using place = folder();
  await opened(place.file, new SimClock())[Symbol.asyncDispose]();
  const { readFileSync, writeFileSync } = await import('node:fs');
  const bytes = readFileSync(place.file);
  bytes.fill(0xab, 2 * 4096, 3 * 4096);
  writeFileSync(place.file, bytes);
  const journal = SqliteJournal.open(place.file, new SimClock());
  expect(!journal.ok && journal.error).toMatch(/is damaged/);
});

test('a file that is no journal is left alone', async () => {
  using place = folder();
  const { writeFileSync, readFileSync } = await import('node:fs');
  writeFileSync(place.file, 'something else entirely, and long enough to be looked at '.repeat(40));
  const before = readFileSync(place.file);
  const journal = SqliteJournal.open(place.file, new SimClock());
  expect(journal.ok).toBe(false);
  expect(!journal.ok && journal.error).toContain('move it away');
  expect(readFileSync(place.file)).toEqual(before);
});
