import { DatabaseSync } from 'node:sqlite';
import { SCHEMA, SCHEMA_VERSION } from './schema.ts';

/** Why a database is no journal that we may use: not ours, of the future, or not whole. */
export type Strange =
  | { readonly is: 'other' }
  | { readonly is: 'newer'; readonly version: number }
  | { readonly is: 'incomplete'; readonly lacks: string };

export const versionOf = (db: DatabaseSync): number =>
  Number(db.prepare('PRAGMA user_version').get()?.user_version ?? 0);

/**
 * Judges a database before anything of it is changed; null is a journal, or a new file. Many
 * programs count in `user_version` too, so that the number alone makes no journal.
 */
export function strangeness(db: DatabaseSync): Strange | null {
  const version = versionOf(db);
  const found = partsOf(db);
  if (found.size === 0) return null;
  if (version > SCHEMA_VERSION) return { is: 'newer', version };
  const wanted = wantedBy(version);
  const lacking = [...wanted].filter((part) => !found.has(part));
  if (lacking.length === wanted.size) return { is: 'other' };
  const [lacks] = lacking;
  return lacks === undefined ? null : { is: 'incomplete', lacks };
}

/** What the changes up to this version make, by making it. */
function wantedBy(version: number): ReadonlySet<string> {
  const model = new DatabaseSync(':memory:');
  try {
    model.exec(SCHEMA.slice(0, Math.max(0, version)).join('\n'));
    return partsOf(model);
  } finally {
    model.close();
  }
}

const partsOf = (db: DatabaseSync): ReadonlySet<string> =>
  new Set(
    db
      .prepare(PARTS)
      .all()
      .map(({ part }) => String(part)),
  );

const PARTS = `
SELECT 'column ' || it.name || '.' || has.name AS part
  FROM sqlite_schema AS it, pragma_table_info(it.name) AS has WHERE it.type = 'table'
UNION ALL SELECT 'trigger ' || name FROM sqlite_schema WHERE type = 'trigger'`;
