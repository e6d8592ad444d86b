import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SnapshotId } from '#domain/ids.ts';
import { within } from './within.ts';

/** From the entry of the last word to Cinder's yes: what the trace of an operation cannot have. */
const REPORT = 'report';

/** What operations have waited for, as their journal says it: read beside whoever writes it. */
export class Phases implements Disposable {
  readonly #db: DatabaseSync;

  constructor(journal: string) {
    this.#db = new DatabaseSync(journal, { readOnly: true });
  }

  /** By phase, in ms; it is there a moment after Cinder has said yes. */
  of(snapshot: SnapshotId): Promise<Readonly<Record<string, number>>> {
    return within(this.#written(snapshot), 10_000);
  }

  [Symbol.dispose](): void {
    this.#db.close();
  }

  async #written(snapshot: SnapshotId): Promise<Readonly<Record<string, number>>> {
    const row = this.#db.prepare(
      `SELECT trace, took_ms FROM operation JOIN notice ON notice.operation = operation.id
         WHERE operation.snapshot = ? AND took_ms IS NOT NULL ORDER BY operation.seq DESC LIMIT 1`,
    );
    for (;;) {
      const found = row.get(snapshot);
      if (found !== undefined) {
        return { ...JSON.parse(String(found.trace)), [REPORT]: Number(found.took_ms) };
      }
      await sleep(2);
    }
  }
}
