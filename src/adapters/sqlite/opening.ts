import { DatabaseSync } from 'node:sqlite';
import { err, ok, type Result } from '#domain/result.ts';
import { codeOf, whyNot } from '../system/access.ts';
import { holderOf } from './glance.ts';
import { type Strange, strangeness, versionOf } from './judging.ts';
import { besides, LOCK_MODE, noFileAt, protect } from './place.ts';
import { lockOf, SCHEMA } from './schema.ts';

/** The journal's file, and the one beside it that says who has it open for writing. */
export interface Pages {
  readonly db: DatabaseSync;
  readonly lock: DatabaseSync;
}

/** Opens or makes a journal's file, for one process; the error is one sentence for the operator. */
export function openPages(path: string): Result<Pages, string> {
  using opened = new DisposableStack();
  const openIn = (file: string) =>
    opened.adopt(new DatabaseSync(file, { timeout: 500 }), (it) => it.close());
  // What is spoken of when something fails.
  let file = path;
  try {
    for (const one of [...besides(path), ...besides(lockOf(path))]) {
      file = one;
      const problem = noFileAt(one);
      if (problem !== null) return err(`${one}: ${problem}: move it, or name another state_path.`);
    }
    file = path;
    protect(path);
    const db = openIn(path);
    // Before anything of it is changed, even how it is written.
    const strange = strangeness(db);
    if (strange !== null) return err(explain(strange, path));
    // Never given back, and by the kernel when the process ends.
    file = lockOf(path);
    protect(file, LOCK_MODE);
    const lock = openIn(file);
    lock.exec('BEGIN EXCLUSIVE');
    file = path;
    db.exec('PRAGMA journal_mode=WAL');
    db.exec('PRAGMA synchronous=FULL');
    db.exec('PRAGMA foreign_keys=ON');
    const damage = migrate(db);
    if (damage !== null) return err(damaged(path, damage));
    opened.move();
    return ok({ db, lock });
  } catch (error) {
    return err(file === lockOf(path) ? noLock(path, error) : unusable(path, error));
  }
}

/** Makes the tables of a new file, and those that an older chainkeeper did not know. */
function migrate(db: DatabaseSync): string | null {
  const version = versionOf(db);
  const [check] = db.prepare('PRAGMA quick_check(1)').all();
  if (check?.quick_check !== 'ok') return String(check?.quick_check);
  for (const [at, change] of SCHEMA.entries()) {
    if (at >= version) db.exec(`BEGIN; ${change} PRAGMA user_version=${at + 1}; COMMIT`);
  }
  db.exec('DELETE FROM operation WHERE accepted = 0');
  return null;
}

function explain(strange: Strange, path: string): string {
  switch (strange.is) {
    case 'newer':
      return (
        `A newer chainkeeper wrote the journal ${path} (schema ${strange.version}): run that ` +
        'one, or name another state_path.'
      );
    case 'other':
      return `${path} is a database of something else: name another state_path.`;
    case 'incomplete':
      return damaged(path, `it has no ${strange.lacks}`);
  }
}

/** SQLite's result codes (sqlite3.h), without what it adds in the higher bytes. */
const [BUSY, LOCKED, NOMEM, READONLY, IOERR, CORRUPT] = [5, 6, 7, 8, 10, 11];
const [FULL, CANTOPEN, NOTADB] = [13, 14, 26];

/**
 * Of an error that a statement of an open journal threw, in words, where the disk is at fault; null
 * of any other, which is a defect of ours.
 */
export function whyUnwritten(error: unknown): string | null {
  const code = sqliteOf(error);
  if (code === null || ![READONLY, IOERR, FULL, CANTOPEN].includes(code)) return null;
  return whyNot(errnoOf(code, error));
}

/** Whether the same entry would be written another time: nothing is wrong with what it says. */
export function isPassing(error: unknown): boolean {
  const code = sqliteOf(error);
  if (code === BUSY || code === LOCKED || code === NOMEM) return true;
  return whyUnwritten(error) !== null;
}

function unusable(path: string, error: unknown): string {
  const code = sqliteOf(error);
  if (code === BUSY || code === LOCKED) return inUse(path);
  if (code === CORRUPT || code === NOTADB) return damaged(path, messageOf(error));
  return `The journal ${path} cannot be used: ${whyNot(errnoOf(code, error))}.`;
}

/** Nothing is kept in it; but while it is held it must stay. */
function noLock(path: string, error: unknown): string {
  const code = sqliteOf(error);
  if (code === BUSY || code === LOCKED) return inUse(path);
  const lock = lockOf(path);
  if (code === CORRUPT || code === NOTADB) {
    return `${lock} is no lock of a journal: move it away, for nothing is kept in such a lock.`;
  }
  return `The lock ${lock} cannot be held: ${whyNot(errnoOf(code, error))}.`;
}

function inUse(path: string): string {
  let who = '';
  try {
    const holder = holderOf(path);
    if (holder !== null) who = ` (process ${holder.pid})`;
  } catch {
    // Without /proc/locks it is in use all the same.
  }
  return `The journal ${path} is in use by another chainkeeper${who}: stop that one first.`;
}

const damaged = (path: string, why: string): string =>
  `The journal ${path} is damaged (${why}): restore it, or move it away, and then compare ` +
  'each volume that has a snapshot creating or deleting with chainkeeper chain show.';

/** SQLite does not hand the errno on; node:sqlite does not ask it. */
function errnoOf(code: number | null, error: unknown): string {
  switch (code) {
    case null:
      return codeOf(error);
    case READONLY:
    case CANTOPEN:
      return 'EACCES';
    case FULL:
      return 'ENOSPC';
    default:
      return messageOf(error);
  }
}

function sqliteOf(error: unknown): number | null {
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) : null;
  return code === null ? null : code & 0xff;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : `${error}`);
