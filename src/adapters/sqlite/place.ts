import { chmodSync, closeSync, existsSync, openSync, statSync } from 'node:fs';
import { thingAt } from '../system/access.ts';

/** Of the journal: its owner writes, its group may look, nobody else. */
const READABLE = 0o640;
/** Of its lock: whoever could read it could hold it. */
export const LOCK_MODE = 0o600;

/** Why there can be no journal at a path, before SQLite is asked; null when there can. */
export function noFileAt(path: string): string | null {
  const thing = thingAt(path);
  if (thing === null || thing === 'a file') return null;
  return `it is ${thing}, and the journal is one file`;
}

/**
 * Whoever reads the journal learns what is done to every project's volumes, and SQLite would let
 * everybody; what it keeps beside the file (`-wal`) gets the file's mode.
 */
export function protect(path: string, mode = READABLE): void {
  // A file that is there is not opened: to close it again would drop this process' locks on it.
  if (!existsSync(path)) closeSync(openSync(path, 'ax', mode));
  for (const file of besides(path)) {
    const has = statSync(file, { throwIfNoEntry: false })?.mode ?? 0;
    if ((has & ~mode & 0o777) !== 0) chmodSync(file, has & mode);
  }
}

/** A database in WAL mode, and what SQLite keeps beside it. */
export const besides = (path: string): readonly string[] => [path, `${path}-wal`, `${path}-shm`];
