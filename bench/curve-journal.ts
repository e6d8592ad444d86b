import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SqliteJournal } from '#adapters/sqlite/journal.ts';
import { systemClock } from '#adapters/system/clock.ts';
import type { Journal, Operation } from '#ports/journal.ts';
import { tell } from './axes.ts';
import { type Curve, curve } from './curve.ts';
import { idOf, named, ofNumber, operationOf, requestOf } from './curve-scenes.ts';
import { median, type Point } from './statistics.ts';

/** Operations that are over, on ever new volumes; `OPEN` of them are not. */
const OPEN = 500;

export async function journals(sizes: readonly number[]): Promise<Curve[]> {
  const folder = await mkdtemp(join(tmpdir(), 'ck-bench-'));
  const found = new Map<string, Point[]>();
  try {
    for (const x of sizes) {
      tell(`a journal of ${x} operations`);
      const path = join(folder, `${x}.sqlite`);
      await fill(path, x);
      const began = performance.now();
      await using journal = opened(path);
      const note = (name: string, y: number) =>
        found.set(name, [...(found.get(name) ?? []), { x, y }]);
      note('open the journal', performance.now() - began);
      for (const [name, use] of Object.entries(uses(journal, x))) {
        const times: number[] = [];
        for (let at = 0; at < 15; at++) {
          const from = performance.now();
          await use(at);
          times.push(performance.now() - from);
        }
        note(name, median(times));
      }
      await rm(path);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return [...found].map(([name, points]) => curve(name, 'operations in the journal', points));
}

function opened(path: string): SqliteJournal {
  const journal = SqliteJournal.open(path, systemClock);
  if (!journal.ok) throw new Error(journal.error);
  return journal.value;
}

const ended = (at: number): Operation['saga'] => ({
  ...{ kind: 'delete', request: requestOf(at), at: 'end', outcome: 'merged' },
  ...{ reason: 'it is done', formats: [], gone: named(1) },
});

/** What an operation costs the journal, and what is asked of it. */
function uses(journal: Journal, size: number): Record<string, (at: number) => Promise<unknown>> {
  const fresh = (at: number) => size * 2 + at;
  const detail = 'vda has the predicted chain';
  return {
    'write an operation down': async (at) => {
      const saga = ended(fresh(at));
      const id = idOf(fresh(at));
      await journal.ask({ ...operationOf(fresh(at), saga), accepted: false });
      await journal.accept(id);
      const evidence = [{ kind: 'completed', detail } as const];
      const tell = { kind: 'deleted', formats: [] } as const;
      const notice = await journal.commit(id, { saga, evidence, tell, formats: [], chain: null });
      await journal.settle(notice!.seq, 'accepted');
    },
    'list the newest 100': () => journal.operations({ limit: 100 }),
    'find what is known of a snapshot': (at) =>
      journal.operations({ ...ofNumber(at * 7), kind: 'delete', limit: 8 }),
    'find what Cinder has yet to hear': () => journal.notices({ state: 'pending' }),
    'find the 500 that are open': () => journal.unfinished(),
    'forget 25': () => journal.prune(size, 25, () => true),
  };
}

/** By SQL, since each entry of the journal's own waits for the disk. */
async function fill(path: string, count: number): Promise<void> {
  await opened(path)[Symbol.asyncDispose]();
  using db = new DatabaseSync(path);
  db.exec('PRAGMA synchronous=OFF; BEGIN');
  const operation = db.prepare('INSERT INTO operation VALUES (?,?,?,?,?,?,1,?,NULL,?,?,?,NULL)');
  const evidence = db.prepare(
    "INSERT INTO evidence (operation, at, kind, detail) VALUES (?, ?, 'completed', 'as predicted')",
  );
  const notice = db.prepare(
    "INSERT INTO notice (operation, snapshot, body, state) VALUES (?, ?, '{}', 'accepted')",
  );
  for (let at = 0; at < count; at++) {
    const open = at >= count - OPEN;
    const saga = open ? { kind: 'delete', request: requestOf(at), at: 'accepted' } : ended(at);
    const { volume, snapshot } = ofNumber(at);
    const text = JSON.stringify(saga);
    operation.run(
      idOf(at),
      'delete',
      volume,
      snapshot,
      open ? 'accepted' : 'end',
      text,
      'req',
      at,
      at,
      at,
    );
    for (let row = 0; row < 3; row++) evidence.run(idOf(at), at);
    if (!open) notice.run(idOf(at), snapshot);
  }
  db.exec('COMMIT');
}
