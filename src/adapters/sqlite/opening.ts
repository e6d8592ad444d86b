import { DatabaseSync } from 'node:sqlite';
import { err, ok, type Result } from '#domain/result.ts';
import { folderAt, LOCK_MODE, protect } from './place.ts';
import { lockOf, SCHEMA, SCHEMA_VERSION } from './schema.ts';

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
  let db: DatabaseSync;
  try {
    const folder = folderAt(path);
    if (folder !== null) return err(`${path}: ${folder}: move it, or name another state_path.`);
    protect(path);
    db = openIn(path);
  } catch (error) {
    return err(`The journal ${path} cannot be opened: ${messageOf(error)}.`);
  }
  try {
    // Before anything of it is changed, even how it is written.
    const stranger = notOurs(db, path);
    if (stranger !== null) return err(stranger);
    // Never given back, and by the kernel when the process ends.
    protect(lockOf(path), LOCK_MODE);
    const lock = openIn(lockOf(path));
    lock.exec('BEGIN EXCLUSIVE');
    db.exec('PRAGMA journal_mode=WAL');
    db.exec('PRAGMA synchronous=FULL');
    db.exec('PRAGMA foreign_keys=ON');
    const problem = migrate(db, path);
    if (problem !== null) return err(problem);
    opened.move();
    return ok({ db, lock });
  } catch (error) {
    return err(unusable(path, messageOf(error)));
  }
}

function unusable(path: string, why: string): string {
  if (/locked|busy/i.test(why)) {
    return `The journal ${path} is in use by another chainkeeper: stop that one first.`;
  }
  if (/malformed|not a database|corrupt/i.test(why)) {
    return (
      `The journal ${path} is damaged (${why}): restore it, or move it away, and then compare ` +
      'each volume that has a snapshot creating or deleting with chainkeeper chain show.'
    );
  }
  return `The journal ${path} cannot be used (${why}): free the disk, or mend its file system.`;
}

const versionOf = (db: DatabaseSync): number =>
  Number(db.prepare('PRAGMA user_version').get()?.user_version ?? 0);

/** Why a file is no journal of ours, or one that a newer chainkeeper has written; null is fine. */
function notOurs(db: DatabaseSync, path: string): string | null {
  const version = versionOf(db);
  if (version > SCHEMA_VERSION) {
    return `A newer chainkeeper wrote the journal ${path} (schema ${version}): run that one.`;
  }
  const tables = Number(db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n ?? 0);
  if (version > 0 || tables === 0) return null;
  return `${path} is a database of something else: name another state_path.`;
}

/** Makes the tables of a new file, and those that an older chainkeeper did not know. */
function migrate(db: DatabaseSync, path: string): string | null {
  const version = versionOf(db);
  const [check] = db.prepare('PRAGMA quick_check(1)').all();
  if (check?.quick_check !== 'ok') return unusable(path, `malformed: ${check?.quick_check}`);
  for (const [at, change] of SCHEMA.entries()) {
    if (at >= version) db.exec(`BEGIN; ${change} PRAGMA user_version=${at + 1}; COMMIT`);
  }
  db.exec('DELETE FROM operation WHERE accepted = 0');
  return null;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : `${error}`);
