import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SqliteJournal } from '#adapters/sqlite/journal.ts';
import { isPassing } from '#adapters/sqlite/opening.ts';
import type { FileName, OperationId } from '#domain/ids.ts';
import type { Saga } from '#domain/saga.ts';
import type { Entry, Operation } from '#ports/journal.ts';
import { SimClock } from '#sim/clock.ts';
import { END, journalContract, operation } from './journal.ts';

const REQUEST = { volume: 'v', snapshot: 's', server: 'g', newFile: 'volume-v.s' };
const ASKED = {
  saga: { kind: 'create', request: REQUEST, at: 'accepted', limits: { maxChainDepth: 8 } },
  ...{ accepted: false, requestId: 'req-a', globalRequestId: null, askedAt: 1, updatedAt: 1 },
} as unknown as Operation;

const NO_DOUBTS = 'ALTER TABLE chain DROP COLUMN doubts;';
const NO_TRACES = `${NO_DOUBTS}
  ALTER TABLE operation DROP COLUMN trace; ALTER TABLE notice DROP COLUMN took_ms;`;
const NO_CHANGES = `${NO_TRACES}
  DROP TABLE change; DROP TRIGGER change_noted; DROP TRIGGER change_gone;`;

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
    error:
      `The journal ${place.file} is in use by another chainkeeper (process ${process.pid}): stop ` +
      'that one first.',
  });
});

test('whoever reads it meanwhile sees all that is committed, and holds nothing up', async () => {
  using place = folder();
  const { DatabaseSync } = await import('node:sqlite');
  const journal = opened(place.file, new SimClock());
  const reader = new DatabaseSync(place.file, { readOnly: true });
  reader.exec('BEGIN');
  const count = () => reader.prepare('SELECT count(*) AS n FROM operation').get()?.n;
  expect(count()).toBe(0);
  await journal.ask({ ...ASKED, id: 'a' as OperationId });
  await journal.accept('a' as OperationId);
  expect(count()).toBe(0);
  reader.exec('COMMIT');
  expect(count()).toBe(1);
  reader.close();
  await journal[Symbol.asyncDispose]();
});

test('a journal of a chainkeeper that kept no chains is taken over, with all it has', async () => {
  using place = folder();
  const { DatabaseSync } = await import('node:sqlite');
  const journal = opened(place.file, new SimClock());
  await journal.ask({ ...ASKED, id: 'a' as OperationId });
  await journal.accept('a' as OperationId);
  await journal[Symbol.asyncDispose]();
  const old = new DatabaseSync(place.file);
  old.exec(`${NO_CHANGES} DROP TABLE chain; PRAGMA user_version = 1`);
  old.close();
  await using again = opened(place.file, new SimClock());
  expect(await again.unfinished()).toHaveLength(1);
  expect(await again.chain(ASKED.saga.request.volume)).toBeNull();
});

test('a refused start is told of what is at work, or else of what left the doubt', async () => {
  using place = folder();
  const { DatabaseSync } = await import('node:sqlite');
  await using journal = opened(place.file, new SimClock());
  const id = 'a' as OperationId;
  await journal.ask({ ...ASKED, id, accepted: true });
  const doubts = [{ operation: 'b' as OperationId, process: 'qemu-1', gone: 'v' as FileName }];
  const chain = { directory: '/mnt', files: ['v' as FileName], held: 'all', process: null, doubts };
  const entry = { ...{ evidence: [], tell: null, formats: [] }, chain } as unknown as Entry;
  const named = () => {
    const reader = new DatabaseSync(place.file, { readOnly: true });
    const found = reader.prepare('SELECT operation FROM chain').get()?.operation;
    reader.close();
    return found;
  };
  await journal.commit(id, { ...entry, saga: ASKED.saga });
  expect(named()).toBe('a');
  const end = { at: 'end', outcome: 'failed', reason: '', formats: [] };
  await journal.commit(id, { ...entry, saga: { ...ASKED.saga, ...end } as Saga });
  expect(named()).toBe('b');
});

test('what is in the way for a moment is no defect, and neither is a disk', async () => {
  using place = folder();
  const { DatabaseSync } = await import('node:sqlite');
  await using journal = opened(place.file, new SimClock());
  const other = new DatabaseSync(place.file);
  other.exec('BEGIN IMMEDIATE');
  const refused = await journal.ask({ ...ASKED, id: 'a' as OperationId }).catch((error) => error);
  other.exec('COMMIT');
  other.close();
  expect([refused?.errcode, isPassing(refused)]).toEqual([5, true]);
  expect(isPassing(Object.assign(new Error('full'), { errcode: 13 }))).toBe(true);
  expect(isPassing(Object.assign(new Error('no such table'), { errcode: 1 }))).toBe(false);
  expect(isPassing(new Error('we contradict ourselves'))).toBe(false);
  await journal.ask({ ...ASKED, id: 'a' as OperationId });
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

test('nobody but its owner and group reads it, nor one that was open to all', async () => {
  using place = folder();
  const mode = (name: string) => (statSync(name).mode & 0o777).toString(8);
  const umask = process.umask(0);
  try {
    for (const before of [null, 0o644, 0o600]) {
      if (before !== null) chmodSync(place.file, before);
      const journal = opened(place.file, new SimClock());
      const expected = before === 0o600 ? '600' : '640';
      expect([mode(place.file), mode(`${place.file}-wal`)]).toEqual([expected, expected]);
      // Whoever could open it could hold it, and no service would start.
      expect(mode(`${place.file}-lock`)).toBe('600');
      await journal[Symbol.asyncDispose]();
    }
  } finally {
    process.umask(umask);
  }
});

test('a folder in its place is named as one', () => {
  using place = folder();
  mkdirSync(place.file);
  expect(SqliteJournal.open(place.file, new SimClock())).toEqual({
    ok: false,
    error:
      `${place.file}: it is a folder, and the journal is one file: move it, or name another ` +
      'state_path.',
  });
});

test('a journal of before there were changes notes them from then on', async () => {
  using place = folder();
  const { DatabaseSync } = await import('node:sqlite');
  await opened(place.file, new SimClock())[Symbol.asyncDispose]();
  const old = new DatabaseSync(place.file);
  old.exec(`${NO_CHANGES} PRAGMA user_version = 2`);
  old.close();
  await using journal = opened(place.file, new SimClock());
  expect([await journal.lastChange(), await journal.changes(0, 9)]).toEqual([0, []]);
});

test('a journal of before there were traces has none, and takes new ones', async () => {
  using place = folder();
  const { DatabaseSync } = await import('node:sqlite');
  const id = 'a' as OperationId;
  const journal = opened(place.file, new SimClock());
  await journal.ask(operation('a'));
  await journal.accept(id);
  const nothing = { evidence: [], formats: [], chain: null };
  const tell = { kind: 'create-failed' } as const;
  await journal.commit(id, { saga: END, ...nothing, tell });
  await journal[Symbol.asyncDispose]();
  const old = new DatabaseSync(place.file);
  old.exec(`${NO_TRACES} PRAGMA user_version = 3`);
  old.close();
  await using again = opened(place.file, new SimClock());
  const [notice] = await again.notices({ state: 'pending' });
  expect(await again.operation(id)).not.toHaveProperty('trace');
  expect(notice).toMatchObject({ operation: 'a', update: tell });
  expect(notice).not.toHaveProperty('tookMs');
  await again.commit(id, { saga: END, ...nothing, tell: null, trace: { event: 1.5 } });
  expect((await again.operation(id))?.trace).toEqual({ event: 1.5 });
});

test('a journal of before there were doubts has none, and takes new ones', async () => {
  using place = folder();
  const { DatabaseSync } = await import('node:sqlite');
  const id = 'a' as OperationId;
  const { volume } = END.request;
  const journal = opened(place.file, new SimClock());
  await journal.ask({ ...ASKED, id });
  await journal.accept(id);
  const held = { directory: '/mnt', files: [], held: 'all', process: 'qemu-1' } as const;
  const entry = { saga: END, evidence: [], formats: [], tell: null };
  await journal.commit(id, { ...entry, chain: held });
  await journal[Symbol.asyncDispose]();
  const old = new DatabaseSync(place.file);
  old.exec(`${NO_DOUBTS} PRAGMA user_version = 4`);
  old.close();
  await using again = opened(place.file, new SimClock());
  expect(await again.chain(volume)).toEqual(held);
  const doubts = [{ operation: 'b' as OperationId, process: 'qemu-1', gone: 'v' as FileName }];
  await again.commit(id, { ...entry, chain: { ...held, doubts } });
  expect(await again.chain(volume)).toEqual({ ...held, doubts });
  // What the boot guard names to whoever is refused a start.
  using now = new DatabaseSync(place.file, { readOnly: true });
  expect(now.prepare('SELECT operation FROM chain').get()).toEqual({ operation: 'b' });
});

test('what is forgotten leaves no row of any table behind', async () => {
  using place = folder();
  const { DatabaseSync } = await import('node:sqlite');
  const journal = opened(place.file, new SimClock());
  for (const id of ['a', 'b']) {
    await journal.ask(operation(id));
    await journal.accept(id as OperationId);
    await journal.commit(id as OperationId, {
      saga: END,
      evidence: [],
      tell: null,
      formats: [],
      chain: null,
    });
  }
  expect(await journal.prune(Number.MAX_SAFE_INTEGER, 9, () => true)).toBe(1);
  await journal[Symbol.asyncDispose]();
  const db = new DatabaseSync(place.file);
  for (const table of ['operation', 'change']) {
    expect(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()).toEqual({ n: 1 });
  }
  db.close();
});
