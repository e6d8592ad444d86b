const TABLES = `
CREATE TABLE operation (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  volume TEXT NOT NULL,
  snapshot TEXT NOT NULL,
  at TEXT NOT NULL,
  saga TEXT NOT NULL,
  accepted INTEGER NOT NULL,
  request_id TEXT NOT NULL,
  global_request_id TEXT,
  asked_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  seq INTEGER NOT NULL
) STRICT;
CREATE INDEX operation_open ON operation (seq) WHERE at <> 'end';
CREATE INDEX operation_snapshot ON operation (snapshot, seq);
CREATE INDEX operation_volume ON operation (volume, seq);
CREATE INDEX operation_seq ON operation (seq);
CREATE TABLE evidence (
  seq INTEGER PRIMARY KEY,
  operation TEXT NOT NULL REFERENCES operation (id),
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
CREATE INDEX evidence_operation ON evidence (operation, seq);
CREATE TABLE notice (
  seq INTEGER PRIMARY KEY,
  operation TEXT NOT NULL REFERENCES operation (id),
  snapshot TEXT NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL DEFAULT 'pending'
) STRICT;
CREATE INDEX notice_pending ON notice (seq) WHERE state = 'pending';
CREATE INDEX notice_operation ON notice (operation, seq);
CREATE TABLE format (
  volume TEXT NOT NULL,
  file TEXT NOT NULL,
  format TEXT NOT NULL,
  provenance TEXT NOT NULL,
  PRIMARY KEY (volume, file)
) STRICT, WITHOUT ROWID;
CREATE TABLE defect (
  operation TEXT NOT NULL,
  at TEXT NOT NULL,
  times INTEGER NOT NULL,
  PRIMARY KEY (operation, at)
) STRICT, WITHOUT ROWID;
`;

/** What the boot guard reads (`contrib/libvirt/`); `files` is JSON text, the active one first. */
const KNOWN_CHAINS = `
CREATE TABLE chain (
  volume TEXT PRIMARY KEY,
  directory TEXT NOT NULL,
  files TEXT NOT NULL,
  held TEXT NOT NULL,
  process TEXT,
  operation TEXT NOT NULL,
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;

/**
 * Which operation changed when, by a number that is never given out twice. Kept by SQLite itself.
 */
const CHANGES = `
CREATE TABLE change (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  operation TEXT NOT NULL UNIQUE
) STRICT;
CREATE TRIGGER change_noted AFTER UPDATE OF saga, accepted ON operation BEGIN
  DELETE FROM change WHERE operation = new.id;
  INSERT INTO change (operation) VALUES (new.id);
END;
CREATE TRIGGER change_gone AFTER DELETE ON operation BEGIN
  DELETE FROM change WHERE operation = old.id;
END;
`;

/** JSON text; both are null in what was written before there were any. */
const TRACES = `
ALTER TABLE operation ADD COLUMN trace TEXT;
ALTER TABLE notice ADD COLUMN took_ms REAL;
`;

/** JSON text: the merges that hold a chain; null where there is none. */
const DOUBTS = `
ALTER TABLE chain ADD COLUMN doubts TEXT;
`;

/**
 * The journal's tables, as one list of changes: a journal has made as many of them as its
 * `user_version` says. Sagas and updates are JSON text: they are read by the code that wrote them,
 * and by people with the sqlite3 shell.
 */
export const SCHEMA: readonly string[] = [TABLES, KNOWN_CHAINS, CHANGES, TRACES, DOUBTS];
export const SCHEMA_VERSION = SCHEMA.length;

/** Whoever has the journal open for writing has locked this file. */
export const lockOf = (path: string): string => `${path}-lock`;
