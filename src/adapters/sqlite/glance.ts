import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { strangeness } from './judging.ts';
import { noFileAt } from './place.ts';
import { lockOf } from './schema.ts';

/** A process, and how it was started. */
export interface Holder {
  readonly pid: number;
  readonly command: string;
}

/**
 * Who has locked the journal, or null. The kernel tells (/proc/locks); asking SQLite would have to
 * take the lock, and a service that starts just then would be refused.
 */
export function holderOf(journal: string): Holder | null {
  const path = lockOf(journal);
  if (!existsSync(path)) return null;
  const inode = String(statSync(path).ino);
  const lines = readFileSync('/proc/locks', 'utf8').split('\n');
  for (const line of lines) {
    const [, , , , pid = '', place = ''] = line.trim().split(/\s+/);
    if (place.split(':')[2] === inode && hasOpen(pid, path)) {
      return { pid: Number(pid), command: commandOf(pid) };
    }
  }
  return null;
}

/** What is wrong with a journal that nobody has open, or null; nothing is changed by looking. */
export function glance(path: string): string | null {
  try {
    const thing = noFileAt(path);
    if (thing !== null) return thing;
    if (statSync(path).size === 0) return null;
    const url = new URL(`${pathToFileURL(path)}?immutable=1`);
    const db = new DatabaseSync(url, { readOnly: true });
    try {
      const strange = strangeness(db);
      if (strange?.is === 'newer')
        return `a newer chainkeeper wrote it (schema ${strange.version})`;
      if (strange?.is === 'other') return 'it is a database of something else';
      if (strange?.is === 'incomplete') return `it is damaged: it has no ${strange.lacks}`;
      const check = db.prepare('PRAGMA quick_check(1)').get()?.quick_check;
      return check === 'ok' ? null : `it is damaged: ${check}`;
    } finally {
      db.close();
    }
  } catch (error) {
    return `it cannot be read: ${error instanceof Error ? error.message : error}`;
  }
}

/** An inode has its number on one file system only; whose files we may not see is believed. */
function hasOpen(pid: string, path: string): boolean {
  const folder = `/proc/${pid}/fd`;
  try {
    const real = realpathSync(path);
    return readdirSync(folder).some((fd) => linkOf(`${folder}/${fd}`) === real);
  } catch {
    return true;
  }
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
  } catch {
    return 'unknown';
  }
}
