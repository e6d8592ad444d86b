import { queryObjects } from 'node:v8';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { Sender } from '#app/sender.ts';
import type { Fault } from '#domain/failure.ts';
import type { OperationId, SnapshotId } from '#domain/ids.ts';
import { err, type Result } from '#domain/result.ts';
import type { Update } from '#domain/status.ts';
import type { Notice } from '#ports/journal.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud } from '#sim/cloud.ts';
import { Life, wrapped } from '#sim/faulty.ts';
import { SimJournal } from '#sim/journal.ts';

vi.setConfig({ testTimeout: 30_000 });

type Told = Promise<Result<'accepted' | 'obsolete', Fault>>;

const fault = (kind: 'unreachable' | 'unknown') =>
  err({ kind, who: 'Cinder', detail: 'planted' } as const);
const FORBIDDEN = err({ kind: 'rejected', who: 'Cinder', code: 403, detail: 'planted' } as const);

const DELETED: Update = { kind: 'deleted', formats: [] };
const FAILED: Update = { kind: 'delete-failed' };
const PROGRESS: Update = { kind: 'deleting', percent: 7 };

/** A Cinder with rows to tell things of, and a journal with things to tell. */
class Post {
  readonly clock = new SimClock({ seed: 3 });
  readonly cloud = new SimCloud({ clock: this.clock });
  readonly journal = new SimJournal(this.clock);
  /** Every attempt, whatever came of it. */
  readonly tried: { at: number; snapshot: SnapshotId; words: string }[] = [];
  /** Decides what becomes of an attempt to tell Cinder something. */
  between: (call: () => Told, update: Update) => Told = (call) => call();
  #life = new Life();
  sender = this.boot();

  /** Another process; what the one before had not said, it never says. */
  boot(): Sender {
    this.#life.end();
    const life = new Life();
    this.#life = life;
    const seam = wrapped(this.cloud.volumes, (method, args, call) => {
      if (method !== 'update') return call(args);
      const [snapshot, update] = args as [SnapshotId, Update];
      const words = update.kind === 'deleting' ? `${update.percent}%` : update.kind;
      this.tried.push({ at: this.clock.now(), snapshot, words });
      return this.between(() => call(args) as Told, update);
    });
    this.sender = new Sender({
      volumes: life.holds('cinder', seam),
      journal: life.holds('journal', this.journal),
      clock: life.holds('clock', this.clock),
      telemetry: { log() {} },
    });
    return this.sender;
  }

  row(status = 'deleting', id = this.clock.uuid() as SnapshotId): SnapshotId {
    const { volume } = this.cloud;
    this.cloud.cinder.snapshots.set(id, { id, volume, status, progress: '0%', fileFormat: {} });
    return id;
  }

  /** A status that a saga has left in the journal; of one operation of the snapshot, or of it. */
  async notice(snapshot: SnapshotId, tell: Update, of?: OperationId): Promise<Notice> {
    const [known] = await this.journal.operations({ snapshot, limit: 1 });
    const id = of ?? known?.id ?? (await this.accepted(snapshot));
    const row = await this.journal.operation(id);
    if (row === null) throw new Error('no such operation');
    const entry = { saga: row.saga, evidence: [], tell, formats: [], chain: null };
    const notice = await this.journal.commit(id, entry);
    if (notice === null) throw new Error('nothing to tell');
    return notice;
  }

  async accepted(snapshot: SnapshotId): Promise<OperationId> {
    const id = this.clock.uuid() as OperationId;
    const { volume, server } = this.cloud;
    const request = { volume, server, snapshot, fileToMerge: null, mergeTarget: null };
    const saga = { kind: 'delete', request, at: 'accepted' } as const;
    const now = this.clock.now();
    const caller = { requestId: 'req-1', globalRequestId: null };
    const times = { askedAt: now, updatedAt: now };
    await this.journal.ask({ id, saga, accepted: false, ...caller, ...times });
    await this.journal.accept(id);
    return id;
  }

  words(snapshot: SnapshotId): readonly string[] {
    return this.tried.filter((one) => one.snapshot === snapshot).map((one) => one.words);
  }

  async states(): Promise<readonly string[]> {
    return (await this.journal.notices({})).map((one) => one.state);
  }
}

describe('a journalled status', () => {
  test('is told once and settled', async () => {
    const post = new Post();
    const id = post.row();
    post.sender.post(await post.notice(id, DELETED));
    await post.clock.advance(100);
    expect(post.words(id)).toEqual(['deleted']);
    expect(post.cloud.cinder.snapshots.get(id)).toMatchObject({ progress: '90%' });
    expect(await post.states()).toEqual(['accepted']);
    await post.clock.advance(600_000);
    expect(post.words(id)).toEqual(['deleted']);
  });

  test.each([
    ['it cannot be reached', fault('unreachable')],
    ['it gives no clear answer', fault('unknown')],
    ['it says no', FORBIDDEN],
  ] as const)('is told again while %s, until it is accepted', async (_, trouble) => {
    const post = new Post();
    const id = post.row();
    let times = 0;
    post.between = (call) => (++times <= 12 ? Promise.resolve(trouble) : call());
    post.sender.post(await post.notice(id, DELETED));
    await post.clock.advance(1_200_000);
    expect(post.words(id)).toHaveLength(13);
    expect(await post.states()).toEqual(['accepted']);
    const at = post.tried.map((one) => one.at);
    const pauses = at.slice(1).map((one, n) => one - at[n]!);
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(125);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(60_200);
  });

  test('is dropped when Cinder has no use for it', async () => {
    const post = new Post();
    const gone = post.row();
    post.cloud.cinder.snapshots.delete(gone);
    post.sender.post(await post.notice(gone, DELETED));
    post.sender.post(await post.notice(post.row('error_deleting'), DELETED));
    await post.clock.advance(600_000);
    expect(post.tried).toHaveLength(2);
    expect(await post.states()).toEqual(['obsolete', 'obsolete']);
  });

  test('is taken up by the next process, in order', async () => {
    const post = new Post();
    const id = post.row();
    post.between = async () => fault('unreachable');
    post.sender.post(await post.notice(id, PROGRESS));
    post.sender.post(await post.notice(id, DELETED));
    await post.clock.advance(5_000);
    post.tried.length = 0;
    post.between = (call) => call();
    await post.boot().resume();
    await post.clock.advance(5_000);
    expect(post.words(id)).toEqual(['7%', 'deleted']);
    expect(await post.states()).toEqual(['accepted', 'accepted']);
  });
});

describe('one sender per snapshot', () => {
  test('statuses of one snapshot never overtake each other, whatever fails', async () => {
    const fate = fc.constantFrom('ok', 'unreachable', 'unknown', 'slow');
    await fc.assert(
      fc.asyncProperty(fc.array(fate, { maxLength: 20 }), async (fates) => {
        const post = new Post();
        const id = post.row();
        let under = 0;
        post.between = async (call) => {
          expect(++under, 'two at a time').toBe(1);
          const next = fates.shift() ?? 'ok';
          if (next === 'slow') await post.clock.sleep(7_000);
          const answer = next === 'unreachable' ? fault(next) : await call();
          under--;
          return next === 'unknown' ? fault(next) : answer;
        };
        const updates: Update[] = [1, 2, 3, 4].map((percent) => ({ kind: 'deleting', percent }));
        for (const update of [...updates, DELETED]) {
          post.sender.post(await post.notice(id, update));
        }
        void post.sender.say(id, { kind: 'deleting', percent: 5 });
        await post.clock.advance(3_600_000);
        const firsts = [...new Set(post.words(id))];
        expect(firsts).toEqual(['1%', '2%', '3%', '4%', 'deleted', '5%']);
        // Nothing comes back once something later was said.
        const order = post.words(id).map((word) => firsts.indexOf(word));
        expect(order).toEqual(order.toSorted((a, b) => a - b));
        expect(await post.states()).toEqual(Array(5).fill('accepted'));
      }),
      { numRuns: 200 },
    );
  });

  test('snapshots do not wait for each other', async () => {
    const post = new Post();
    const [stuck, free] = [post.row(), post.row()];
    post.between = (call) =>
      post.tried.at(-1)?.snapshot === stuck ? new Promise(() => {}) : call();
    post.sender.post(await post.notice(stuck, DELETED));
    post.sender.post(await post.notice(free, DELETED));
    await post.clock.advance(1_000);
    expect(await post.states()).toEqual(['pending', 'accepted']);
  });
});

describe('a newer request', () => {
  test('replaces what an ended attempt had still to say', async () => {
    const post = new Post();
    const [id, other] = [post.row(), post.row()];
    post.between = async () => fault('unreachable');
    post.sender.post(await post.notice(id, PROGRESS));
    post.sender.post(await post.notice(id, FAILED));
    post.sender.post(await post.notice(other, FAILED));
    await post.clock.advance(60_000);
    await post.sender.supersede(id);
    post.tried.length = 0;
    post.between = (call) => call();
    const said = post.sender.say(id, { kind: 'deleting', percent: 0 });
    // The one before was in the middle of a long pause.
    await post.clock.advance(100);
    expect(post.words(id)).toEqual(['0%']);
    expect(await post.clock.until(said)).toEqual({ ok: true, value: 'accepted' });
    await post.clock.advance(600_000);
    expect(post.words(id)).toEqual(['0%']);
    expect(post.words(other)).toEqual(['delete-failed']);
    expect(await post.states()).toEqual(['obsolete', 'obsolete', 'accepted']);
  });

  test('silences an operation that ends after it was accepted', async () => {
    const post = new Post();
    const id = post.row();
    const older = await post.accepted(id);
    await post.sender.supersede(id);
    const newer = await post.accepted(id);
    post.sender.post(await post.notice(id, FAILED, older));
    post.sender.post(await post.notice(id, DELETED, newer));
    await post.clock.advance(1_000);
    expect(post.words(id)).toEqual(['deleted']);
    expect(await post.states()).toEqual(['obsolete', 'accepted']);
  });

  test('is not held up by a pause that begins after it came', async () => {
    const post = new Post();
    const id = post.row();
    let times = 0;
    post.between = async () => {
      if (++times === 10) await post.clock.sleep(3_000);
      return fault('unreachable');
    };
    post.sender.post(await post.notice(id, FAILED));
    // Into the tenth attempt, after which the pause is at its longest.
    while (times < 10) await post.clock.advance(100);
    await post.sender.supersede(id);
    post.tried.length = 0;
    post.between = (call) => call();
    void post.sender.say(id, { kind: 'deleting', percent: 0 });
    await post.clock.advance(3_100);
    expect(post.words(id)).toEqual(['0%']);
  });

  test('what it says itself is delivered', async () => {
    const post = new Post();
    const id = post.row();
    post.between = async () => fault('unreachable');
    post.sender.post(await post.notice(id, FAILED));
    await post.clock.advance(1_000);
    await post.sender.supersede(id);
    post.between = (call) => call();
    post.sender.post(await post.notice(id, DELETED));
    await post.clock.advance(1_000);
    expect(post.words(id).at(-1)).toBe('deleted');
    expect(await post.states()).toEqual(['obsolete', 'accepted']);
  });
});

describe('live progress', () => {
  test('is never 90%, never 0%, and at most every 10 s', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.double(), fc.nat(15_000)), { minLength: 1, maxLength: 50 }),
        async (moments) => {
          const post = new Post();
          const id = post.row();
          for (const [percent, pause] of moments) {
            post.sender.progress(id, percent);
            post.sender.progress(id, 90.5);
            await post.clock.advance(pause);
          }
          expect(post.words(id)).not.toContain('90%');
          expect(post.words(id)).not.toContain('0%');
          expect(post.cloud.cinder.updates.every((one) => one.accepted)).toBe(true);
          const at = post.tried.map((one) => one.at);
          for (const [n, one] of at.entries()) {
            if (n > 0) expect(one - at[n - 1]!).toBeGreaterThanOrEqual(10_000);
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  test('is not said while anything else is, nor after the last word', async () => {
    const post = new Post();
    const id = post.row();
    post.between = async (call) => {
      await post.clock.sleep(1_000);
      return call();
    };
    post.sender.progress(id, 10);
    post.sender.post(await post.notice(id, DELETED));
    await post.clock.advance(500);
    post.sender.progress(id, 20);
    await post.clock.advance(15_000);
    const other = post.row();
    post.sender.post(await post.notice(other, DELETED));
    post.sender.progress(other, 20);
    await post.clock.advance(500);
    post.sender.progress(other, 30);
    await post.clock.advance(15_000);
    expect(post.words(other)).toEqual(['deleted']);
    expect(post.words(id)).toEqual(['10%', 'deleted']);
    expect(post.cloud.cinder.snapshots.get(id)).toMatchObject({ progress: '90%' });
  });

  test('falls silent after an unclear answer, and is told again after a clear no', async () => {
    const post = new Post();
    const id = post.row();
    post.between = async () => fault('unreachable');
    post.sender.progress(id, 10);
    await post.clock.advance(10_000);
    post.between = async () => fault('unknown');
    post.sender.progress(id, 20);
    await post.clock.advance(10_000);
    post.between = (call) => call();
    post.sender.progress(id, 30);
    await post.clock.advance(60_000);
    post.sender.progress(id, 40);
    await post.clock.advance(60_000);
    expect(post.words(id)).toEqual(['10%', '20%']);
  });

  test('is not tried again when it fails', async () => {
    const post = new Post();
    const id = post.row();
    post.between = async () => fault('unreachable');
    post.sender.progress(id, 10);
    await post.clock.advance(60_000);
    expect(post.words(id)).toEqual(['10%']);
  });
});

describe('stopping', () => {
  test('lets the call in flight come back and keeps the rest in the journal', async () => {
    const post = new Post();
    const id = post.row();
    post.between = async (call) => {
      await post.clock.sleep(2_000);
      return call();
    };
    post.sender.post(await post.notice(id, PROGRESS));
    post.sender.post(await post.notice(id, DELETED));
    await post.clock.advance(1_000);
    await post.clock.until(post.sender.stop());
    await post.clock.advance(60_000);
    expect(post.words(id)).toEqual(['7%']);
    expect(await post.states()).toEqual(['accepted', 'pending']);
  });

  test('does not wait for a pause between two attempts', async () => {
    const post = new Post();
    const [id, other] = [post.row(), post.row()];
    let times = 0;
    post.between = async () => {
      times++;
      // One is asleep when the stop comes, the other one is just being told.
      if (post.tried.at(-1)?.snapshot === other && times > 22) await post.clock.sleep(500);
      return fault('unreachable');
    };
    post.sender.post(await post.notice(id, DELETED));
    post.sender.post(await post.notice(other, DELETED));
    while (times < 23) await post.clock.advance(100);
    const before = post.clock.now();
    await post.clock.until(post.sender.stop());
    expect(post.clock.now() - before).toBeLessThanOrEqual(500);
    expect(await post.states()).toEqual(['pending', 'pending']);
  });
});

describe('memory', () => {
  /** Each line has an AbortController of its own. */
  const lines = () => queryObjects(AbortController, { format: 'count' }) as number;
  const MANY = 300;

  async function held(use: (post: Post, id: SnapshotId) => unknown): Promise<number> {
    const post = new Post();
    const before = lines();
    for (let n = 0; n < MANY; n++) await use(post, post.row());
    await post.clock.advance(120_000);
    const after = lines();
    // The sender itself must be alive while they are counted.
    expect(post.sender).toBeInstanceOf(Sender);
    return after - before;
  }

  test('it can be seen', async () => {
    const kept: AbortController[] = [];
    const before = lines();
    for (let n = 0; n < MANY; n++) kept.push(new AbortController());
    expect(lines() - before).toBeGreaterThanOrEqual(kept.length);
  });

  test('of a snapshot that was told everything nothing is kept', async () => {
    const kept = await held(async (post, id) => {
      await post.clock.until(post.sender.say(id, { kind: 'deleting', percent: 0 }));
      post.sender.post(await post.notice(id, DELETED));
    });
    expect(kept).toBeLessThan(10);
  });

  test('nor of one whose 0% was not worth saying', async () => {
    expect(await held((post, id) => post.sender.progress(id, 0))).toBeLessThan(10);
  });

  test('nor of one that was superseded', async () => {
    const kept = await held(async (post, id) => {
      const notice = await post.notice(id, FAILED);
      post.between = async () => fault('unreachable');
      post.sender.post(notice);
      await post.clock.advance(1_000);
      await post.sender.supersede(id);
      post.between = (call) => call();
      post.sender.post(await post.notice(id, DELETED));
    });
    expect(kept).toBeLessThan(10);
  });

  test('nor of one whose progress was told, once its operation is over', async () => {
    const kept = await held(async (post, id) => {
      post.sender.progress(id, 10);
      post.sender.post(await post.notice(id, DELETED));
      await post.clock.advance(100);
      forget(post.sender, id);
    });
    expect(kept).toBeLessThan(10);
  });
});

/** What the runner says when an operation is over. */
const forget = (sender: object, id: SnapshotId): void =>
  (sender as { forget?: (id: SnapshotId) => void }).forget?.(id);
