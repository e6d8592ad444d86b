import { explainFault, type Fault } from '#domain/failure.ts';
import type { SnapshotId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import { livePercent, type Update } from '#domain/status.ts';
import type { Clock } from '#ports/clock.ts';
import type { Journal, Notice } from '#ports/journal.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import type { Volumes } from '#ports/volumes.ts';
import { toMicroseconds } from './stopwatch.ts';

export interface SenderWorld {
  readonly volumes: Volumes;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}

const PROGRESS_EVERY_MS = 10_000;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 60_000;

/** What is under way for one snapshot. */
interface Line {
  tail: Promise<unknown>;
  waiting: number;
  /** Notices up to this one belong to an attempt that a newer request has replaced. */
  superseded: number;
  nudge: AbortController;
  /** When live progress was last said, by the monotonic clock; null when never. */
  progressAt: number | null;
  progressMuted: boolean;
}

/**
 * The only one who tells Cinder anything: one sender per snapshot, in the order of the journal,
 * each notice until Cinder accepts it or has no use for it any more.
 */
export class Sender {
  readonly #world: SenderWorld;
  readonly #lines = new Map<SnapshotId, Line>();
  #stopped = false;

  constructor(world: SenderWorld) {
    this.#world = world;
  }

  /** Takes up what an earlier process left unsent. */
  async resume(): Promise<void> {
    for (const notice of await this.#world.journal.notices({ state: 'pending' })) this.post(notice);
  }

  /**
   * Delivers a journalled notice, retrying until it is settled. `began`: when its entry was begun,
   * by the monotonic clock; of one that an earlier process wrote, its time counts from here.
   */
  post(notice: Notice, began = this.#world.clock.monotonic()): void {
    void this.#turn(notice.snapshot, (line) => this.#deliver(notice, line, began));
  }

  /** Says something once, in its turn; not journalled, because the caller waits for the answer. */
  say(snapshot: SnapshotId, update: Update): Promise<Result<'accepted' | 'obsolete', Fault>> {
    return this.#turn(snapshot, () => this.#world.volumes.update(snapshot, update));
  }

  /**
   * Live progress, at most every 10 s and never while anything else is being said. After an
   * unclear answer it falls silent: a late arrival must not overwrite the last word.
   */
  progress(snapshot: SnapshotId, percent: number): void {
    // 0% is what a delete began with.
    if (livePercent(percent) === 0) return;
    const line = this.#line(snapshot);
    const now = this.#world.clock.monotonic();
    if (line.waiting > 0 || line.progressMuted) return;
    if (line.progressAt !== null && now - line.progressAt < PROGRESS_EVERY_MS) return;
    line.progressAt = now;
    const update = { kind: 'deleting', percent: livePercent(percent) } as const;
    void this.#turn(snapshot, async () => {
      const answer = await this.#world.volumes.update(snapshot, update);
      if (!answer.ok && answer.error.kind === 'unknown') line.progressMuted = true;
    });
  }

  /** An operation is over: no more progress of it comes, and nothing of it need be remembered. */
  forget(snapshot: SnapshotId): void {
    const line = this.#lines.get(snapshot);
    if (line === undefined) return;
    line.progressAt = null;
    line.progressMuted = false;
    this.#drop(snapshot, line);
  }

  /** A newer request replaces whatever an ended attempt still had to say about the snapshot. */
  async supersede(snapshot: SnapshotId): Promise<void> {
    const pending = await this.#world.journal.notices({ state: 'pending' });
    for (const { seq, snapshot: whose } of pending) {
      if (whose !== snapshot) continue;
      const line = this.#lines.get(snapshot);
      if (line !== undefined) {
        line.superseded = Math.max(line.superseded, seq);
        line.progressMuted = false;
        line.nudge.abort();
      }
      await this.#world.journal.settle(seq, 'obsolete');
    }
  }

  /** Stops between two attempts; what is unsent stays in the journal. */
  async stop(): Promise<void> {
    this.#stopped = true;
    const lines = [...this.#lines.values()];
    for (const line of lines) line.nudge.abort();
    await Promise.all(lines.map((line) => line.tail));
  }

  async #deliver(notice: Notice, line: Line, began: number): Promise<void> {
    const { volumes, journal, clock, telemetry } = this.#world;
    for (let attempt = 0; !this.#stopped; attempt++) {
      if (notice.seq <= line.superseded) return;
      if (await this.#replaced(notice)) return journal.settle(notice.seq, 'obsolete');
      const answer = await volumes.update(notice.snapshot, notice.update);
      if (answer.ok) {
        const level = answer.value === 'accepted' ? 'debug' : 'warning';
        telemetry.log(level, `Cinder: ${notice.snapshot} ${notice.update.kind}: ${answer.value}`, {
          operation: notice.operation,
        });
        const tookMs = toMicroseconds(clock.monotonic() - began);
        return journal.settle(notice.seq, answer.value, tookMs);
      }
      telemetry.log('warning', `${explainFault(answer.error)} Telling it again.`, {
        operation: notice.operation,
      });
      // Whoever nudged while Cinder was being asked must not wait for the pause as well.
      if (this.#stopped || notice.seq <= line.superseded) return;
      const most = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempt, 10));
      if (line.nudge.signal.aborted) line.nudge = new AbortController();
      await clock.sleep(FIRST_RETRY_MS / 2 + clock.random() * most, line.nudge.signal);
    }
  }

  /** An operation may still have been under way when a newer request was accepted. */
  async #replaced({ operation, snapshot }: Notice): Promise<boolean> {
    const [newest] = await this.#world.journal.operations({ snapshot, limit: 1 });
    return newest !== undefined && newest.id !== operation;
  }

  #turn<T>(snapshot: SnapshotId, job: (line: Line) => Promise<T>): Promise<T> {
    const line = this.#line(snapshot);
    line.waiting++;
    const done = line.tail.then(() => job(line));
    const settled = () => {
      line.waiting--;
      this.#drop(snapshot, line);
    };
    line.tail = done.then(settled, settled);
    return done;
  }

  /** Nothing under way and nothing to remember: what was superseded has left the line too. */
  #drop(snapshot: SnapshotId, line: Line): void {
    if (line.waiting > 0 || line.progressAt !== null) return;
    if (this.#lines.get(snapshot) === line) this.#lines.delete(snapshot);
  }

  #line(snapshot: SnapshotId): Line {
    const known = this.#lines.get(snapshot);
    if (known !== undefined) return known;
    const line: Line = {
      tail: Promise.resolve(),
      waiting: 0,
      superseded: 0,
      nudge: new AbortController(),
      progressAt: null,
      progressMuted: false,
    };
    this.#lines.set(snapshot, line);
    return line;
  }
}
