import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { FileName, Format, OperationId, VolumeId } from '#domain/ids.ts';
import type { KnownChain } from '#domain/known-chain.ts';
import { ok, type Result } from '#domain/result.ts';
import type { Evidence, Saga } from '#domain/saga.ts';
import type { Clock } from '#ports/clock.ts';
import type {
  Change,
  Entry,
  EvidenceRow,
  Journal,
  Notice,
  NoticeFilter,
  Operation,
  OperationFilter,
  Trace,
} from '#ports/journal.ts';
import { Recent } from '../system/recent.ts';
import { openPages, type Pages } from './opening.ts';
import { CHANGED, chainOf, FORGETTABLE, noticeOf, operationOf } from './rows.ts';

/** An operation asks three times for the formats of its volume. */
const MOST_VOLUMES = 256;

/**
 * The journal in one SQLite file: write-ahead log with `synchronous=FULL`, so that a commit that
 * has returned survives a power cut. Others may read it meanwhile, as the boot guard does; a lock
 * on a file beside it makes a second process fail to open it instead of doing everything twice.
 */
export class SqliteJournal implements Journal {
  readonly #db: DatabaseSync;
  readonly #lock: DatabaseSync;
  readonly #clock: Clock;
  readonly #statements = new Map<string, StatementSync>();
  /** As they are on disk: nobody else writes there. */
  readonly #formats = new Recent<ReadonlyMap<FileName, Format>>(MOST_VOLUMES);

  private constructor({ db, lock }: Pages, clock: Clock) {
    this.#db = db;
    this.#lock = lock;
    this.#clock = clock;
  }

  /** Opens or makes the journal; the error is one sentence for the operator. */
  static open(path: string, clock: Clock): Result<SqliteJournal, string> {
    const opened = openPages(path);
    return opened.ok ? ok(new SqliteJournal(opened.value, clock)) : opened;
  }

  async ask(operation: Operation): Promise<void> {
    if (!operation.accepted) return this.#insert(operation);
    this.#atOnce(() => {
      this.#insert(operation);
      this.#accept(operation.id);
    });
  }

  #insert(operation: Operation): void {
    const { saga } = operation;
    this.#run(
      `INSERT INTO operation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
         (SELECT coalesce(max(seq), 0) + 1 FROM operation), ?)`,
      operation.id,
      saga.kind,
      saga.request.volume,
      saga.request.snapshot,
      saga.at,
      JSON.stringify(saga),
      0,
      operation.requestId,
      operation.globalRequestId,
      operation.askedAt,
      operation.updatedAt,
      textOf(operation.trace),
    );
  }

  async accept(id: OperationId): Promise<void> {
    this.#accept(id);
  }

  async drop(id: OperationId): Promise<void> {
    this.#run('DELETE FROM operation WHERE id = ? AND accepted = 0', id);
  }

  async commit(id: OperationId, entry: Entry): Promise<Notice | null> {
    const { saga } = entry;
    const now = this.#clock.now();
    if (entry.formats.length > 0) this.#formats.delete(saga.request.volume);
    return this.#atOnce(() => {
      this.#run(
        `UPDATE operation SET at = ?, saga = ?, updated_at = ?, trace = coalesce(?, trace)
           WHERE id = ?`,
        saga.at,
        JSON.stringify(saga),
        now,
        textOf(entry.trace),
        id,
      );
      for (const one of entry.evidence) this.#note(id, one, now);
      for (const one of entry.formats) {
        this.#run(
          'INSERT INTO format VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
          saga.request.volume,
          one.file,
          one.format,
          one.provenance,
        );
      }
      if (entry.chain !== null) this.#know(id, entry, entry.chain, now);
      return entry.tell === null ? null : this.#tell(id, entry);
    });
  }

  async unfinished(): Promise<readonly Operation[]> {
    const open = "SELECT * FROM operation WHERE at <> 'end' AND accepted = 1 ORDER BY seq";
    return this.#all(open).map(operationOf);
  }

  async operation(id: OperationId): Promise<Operation | null> {
    const [row] = this.#all('SELECT * FROM operation WHERE id = ?', id);
    return row === undefined ? null : operationOf(row);
  }

  async operations(filter: OperationFilter): Promise<readonly Operation[]> {
    const where = ['accepted = 1'];
    const values: SQLInputValue[] = [];
    for (const column of ['snapshot', 'volume', 'kind'] as const) {
      const value = filter[column];
      if (value === undefined) continue;
      where.push(`${column} = ?`);
      values.push(value);
    }
    const sql = `SELECT * FROM operation WHERE ${where.join(' AND ')} ORDER BY seq DESC LIMIT ?`;
    return this.#all(sql, ...values, filter.limit).map(operationOf);
  }

  async evidence(id: OperationId): Promise<readonly EvidenceRow[]> {
    const sql = 'SELECT seq, at, kind, detail FROM evidence WHERE operation = ? ORDER BY seq';
    return this.#all(sql, id) as unknown as readonly EvidenceRow[];
  }

  async changes(after: number, limit: number): Promise<readonly Change[]> {
    return this.#all(CHANGED, after, limit).map((row) => ({
      seq: Number(row.change_seq),
      operation: operationOf(row),
    }));
  }

  async lastChange(): Promise<number> {
    const [row] = this.#all("SELECT seq FROM sqlite_sequence WHERE name = 'change'");
    return Number(row?.seq ?? 0);
  }

  async notices(filter: NoticeFilter): Promise<readonly Notice[]> {
    const where = ['1'];
    const values: SQLInputValue[] = [];
    if (filter.operation !== undefined) {
      where.push('operation = ?');
      values.push(filter.operation);
    }
    // Spelt out, so that the partial index on pending notices is used.
    if (filter.state !== undefined) where.push(`state = '${filter.state}'`);
    const sql = `SELECT * FROM notice WHERE ${where.join(' AND ')} ORDER BY seq`;
    return this.#all(sql, ...values).map(noticeOf);
  }

  async settle(seq: number, state: 'accepted' | 'obsolete', tookMs?: number): Promise<void> {
    this.#run('UPDATE notice SET state = ?, took_ms = ? WHERE seq = ?', state, tookMs ?? null, seq);
  }

  async formats(volume: VolumeId): Promise<ReadonlyMap<FileName, Format>> {
    const known = this.#formats.get(volume);
    if (known !== undefined) return known;
    const rows = this.#all('SELECT file, format FROM format WHERE volume = ?', volume);
    const read = new Map(rows.map((row) => [row.file as FileName, row.format as Format]));
    this.#formats.set(volume, read);
    return read;
  }

  async chain(volume: VolumeId): Promise<KnownChain | null> {
    const [row] = this.#all('SELECT * FROM chain WHERE volume = ?', volume);
    return row === undefined ? null : chainOf(row);
  }

  async prune(before: number, limit: number, over: (saga: Saga) => boolean): Promise<number> {
    const gone: string[] = [];
    for (const { id, saga } of this.#prepared(FORGETTABLE).iterate(before)) {
      if (!over(JSON.parse(String(saga)))) continue;
      gone.push(String(id));
      if (gone.length >= limit) break;
    }
    this.#atOnce(() => {
      for (const id of gone) {
        for (const table of ['evidence', 'notice', 'defect']) {
          this.#run(`DELETE FROM ${table} WHERE operation = ?`, id);
        }
        this.#run('DELETE FROM operation WHERE id = ?', id);
      }
    });
    return gone.length;
  }

  async defect(id: OperationId): Promise<number> {
    const [row] = this.#all(
      `INSERT INTO defect SELECT id, at, 1 FROM operation WHERE id = ?
         ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times`,
      id,
    );
    return Number(row?.times ?? 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#db.isOpen) this.#db.close();
    if (this.#lock.isOpen) this.#lock.close();
  }

  #accept(id: OperationId): void {
    this.#run('UPDATE operation SET accepted = 1 WHERE id = ?', id);
  }

  /** All of it or nothing. */
  #atOnce<T>(change: () => T): T {
    this.#run('BEGIN IMMEDIATE');
    try {
      const made = change();
      this.#run('COMMIT');
      return made;
    } catch (error) {
      // Of a full disk SQLite has rolled back by itself, and a second time would hide why.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #note(id: OperationId, one: Evidence, now: number): void {
    const sql = 'INSERT INTO evidence (operation, at, kind, detail) VALUES (?, ?, ?, ?)';
    this.#run(sql, id, now, one.kind, one.detail);
  }

  #know(id: OperationId, { saga }: Entry, chain: KnownChain, now: number): void {
    const { volume } = saga.request;
    const atWork = saga.at !== 'end';
    const { directory, files, held, process, doubts = [] } = chain;
    // Who is refused a start is told whose merge it is for: of one that is at work, or of another.
    const whose = atWork ? id : (doubts[0]?.operation ?? id);
    const why = doubts.length > 0 ? JSON.stringify(doubts) : null;
    const sql = 'INSERT OR REPLACE INTO chain VALUES (?, ?, ?, ?, ?, ?, ?, ?)';
    this.#run(sql, volume, directory, JSON.stringify(files), held, process, whose, now, why);
  }

  #tell(id: OperationId, entry: Entry): Notice {
    const [row] = this.#all(
      'INSERT INTO notice (operation, snapshot, body) VALUES (?, ?, ?) RETURNING *',
      id,
      entry.saga.request.snapshot,
      JSON.stringify(entry.tell),
    );
    return noticeOf(row ?? {});
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#prepared(sql).run(...values);
  }

  #all(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] {
    return this.#prepared(sql).all(...values);
  }

  #prepared(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const made = this.#db.prepare(sql);
    this.#statements.set(sql, made);
    return made;
  }
}

const textOf = (trace: Trace | undefined): string | null =>
  trace === undefined ? null : JSON.stringify(trace);
