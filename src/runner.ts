import { aborting } from '#domain/aborting.ts';
import type { Refusal } from '#domain/failure.ts';
import type { OperationId, VolumeId } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import type { Event, Evidence, Next, Saga } from '#domain/saga.ts';
import { expecting, learnt, next, parked } from '#domain/sagas.ts';
import type { Clock } from '#ports/clock.ts';
import type { Operation } from '#ports/journal.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { type Seen, whileFresh } from './fresh.ts';
import type { LookWorld } from './look.ts';
import { Mailbox } from './mailbox.ts';
import { Page, type Written } from './page.ts';
import { perform } from './perform.ts';
import type { Sender } from './sender.ts';
import { contextOf, knownAfter, sameEvidence, writeStep } from './step.ts';
import { Stopwatch } from './stopwatch.ts';

export interface RunnerWorld extends LookWorld {
  readonly sender: Sender;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly createTimeoutMs: number;
  readonly pollMs: number;
  /** Called with a defect, after it is journalled: the process must end. */
  readonly die: (defect: unknown) => void;
  /** Whether what was thrown is a mistake of ours, and not a disk that cannot be written. */
  readonly isDefect: (thrown: unknown) => boolean;
}

/** How often an operation may meet a defect in one state before it is left to a person. */
const MAX_DEFECTS = 2;

/**
 * Drives every accepted operation to its end, one at a time per volume, and takes all of them up
 * again after a restart. What a step found and what Cinder must hear are one journal entry,
 * written before the step's effect is performed. After good news, which is only a reason to look,
 * that is written together with what the look shows: whoever dies in between has not heard it.
 */
export class Runner {
  readonly #world: RunnerWorld;
  /** By volume: the operations in the order in which they were accepted; the first one runs. */
  readonly #queues = new Map<VolumeId, Operation[]>();
  /** When each operation was asked for, by the monotonic clock. */
  readonly #asked = new WeakMap<Operation, number>();
  readonly #watches = new WeakMap<Operation, Stopwatch>();
  readonly #running = new Map<OperationId, Running>();
  readonly #listeners = new Set<(ended: Operation) => void>();
  #stopped = false;

  constructor(world: RunnerWorld) {
    this.#world = world;
  }

  /**
   * Takes up what an earlier process left. Those that had begun come before those that wait.
   * `hear` is told of all of them before the first one begins.
   */
  async resume(hear: (open: readonly Operation[]) => void = () => {}): Promise<void> {
    // First what was left unsaid: what is taken up below writes notices of its own.
    await this.#world.sender.resume();
    const open = await this.#world.journal.unfinished();
    hear(open);
    const begun = (operation: Operation) => operation.saga.at !== 'waiting';
    for (const one of open.filter(begun)) this.start(one);
    for (const one of open.filter((operation) => !begun(operation))) this.start(one);
  }

  /** Whether an operation of ours has the volume, so that another one must wait its turn. */
  busy(volume: VolumeId): boolean {
    return this.#queues.has(volume);
  }

  /**
   * Somebody asks for it again while it runs: whatever it has seen of Cinder is out of date by now.
   * Resolves once the step that is being written down is written.
   */
  async join(id: OperationId): Promise<void> {
    const running = this.#running.get(id);
    if (running === undefined) return;
    running.again = true;
    await running.writing;
  }

  /** Calls `listener` with every operation that ends, until what is answered is called. */
  whenEnded(listener: (ended: Operation) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * An operator wants it to come to nothing. One that runs is overruled between two steps, so that
   * no step is under way then. Null when it is not, or no longer, driven here.
   */
  abort(id: OperationId): Promise<Overruled> {
    const running = this.#running.get(id);
    if (running === undefined) return this.#abortWaiting(id);
    const { promise, resolve } = Promise.withResolvers<Overruled>();
    running.aborts.push(resolve);
    running.mailbox.nudge();
    return promise;
  }

  /** `seen` is what it was accepted on: good if it begins at once, and begins soon. */
  start(operation: Operation, seen: Seen | null = null): void {
    const { volume } = operation.saga.request;
    const { clock } = this.#world;
    // Only for the time before this process need the wall clock be believed.
    const before = Math.max(0, clock.now() - operation.askedAt);
    this.#asked.set(operation, clock.monotonic() - before);
    this.#watches.set(operation, new Stopwatch(clock, operation.trace));
    const queue = this.#queues.get(volume);
    if (queue !== undefined) queue.push(operation);
    else {
      this.#queues.set(volume, [operation]);
      this.#begin(operation, seen);
    }
  }

  /** Resolves when nothing is running any more; for tests and simulated worlds. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) {
      await Promise.all([...this.#running.values()].map((one) => one.done));
    }
  }

  /** Lets the calls in flight come back, then leaves the rest to the next process. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const one of this.#running.values()) one.mailbox.nudge();
    await Promise.all([...this.#running.values()].map((one) => one.done));
  }

  #begin(operation: Operation, seen: Seen | null = null): void {
    const { clock, hypervisor } = this.#world;
    const mailbox = new Mailbox(hypervisor, operation.saga.request.server, clock);
    const idle = { done: Promise.resolve(), again: false, writing: null, aborts: [] };
    const running: Running = { ...idle, mailbox };
    this.#running.set(operation.id, running);
    running.done = this.#drive(operation, running, seen)
      .catch((defect) => this.#broken(operation, defect))
      .finally(() => this.#leave(operation, running));
  }

  #leave(operation: Operation, running: Running): void {
    running.mailbox[Symbol.dispose]();
    answerAll(running, null);
    this.#running.delete(operation.id);
    this.#world.sender.forget(operation.saga.request.snapshot);
    const { volume } = operation.saga.request;
    const queue = this.#queues.get(volume) ?? [];
    queue.shift();
    const following = queue[0];
    if (following === undefined) this.#queues.delete(volume);
    else if (!this.#stopped) this.#begin(following);
  }

  /** It is taken out of the queue first: nobody begins it while that is written down. */
  async #abortWaiting(id: OperationId): Promise<Overruled> {
    for (const queue of this.#queues.values()) {
      const operation = queue.find((one) => one.id === id);
      if (operation === undefined) continue;
      const step = aborting(operation.saga);
      if (!step.ok) return step;
      queue.splice(queue.indexOf(operation), 1);
      const watch = this.#watch(operation);
      watch.lap('waiting');
      await this.#write({ ...operation, trace: watch.trace }, step.value);
      return ok(null);
    }
    return null;
  }

  async #write(operation: Operation, step: Written): Promise<void> {
    const { saga } = step;
    await writeStep(this.#world, operation, step, learnt(saga));
    if (saga.at !== 'end') return;
    const ended = { ...operation, saga, updatedAt: this.#world.clock.now() };
    for (const hear of this.#listeners) hear(ended);
  }

  /** The only loop in the program. */
  async #drive(operation: Operation, running: Running, seen: Seen | null): Promise<void> {
    const { mailbox } = running;
    let saga = operation.saga;
    let event: Event = WOKE;
    let last: Evidence | null = null;
    const page = new Page();
    const watch = this.#watch(operation);
    watch.lap('waiting');
    const driven = {
      mailbox,
      age: () => this.#age(operation),
      fresh: whileFresh(this.#world.clock, seen),
    };
    // A job that an earlier process began: how it ends is told to this one.
    mailbox.expect(expecting(saga));
    while (!this.#stopped) {
      const overruled = overrule(running, saga);
      const step = overruled ?? next(saga, event);
      if (running.again && isWithdrawn(step.saga)) {
        running.again = false;
        event = WOKE;
        continue;
      }
      const evidence = step.evidence.filter((one) => !sameEvidence(one, last));
      last = step.evidence.at(-1) ?? last;
      // What Cinder must hear belongs to an end, which is another state.
      if (step.saga !== saga || evidence.length > 0) page.put(saga, { ...step, evidence });
      saga = step.saga;
      const only = isGoodNews(event) && step.effect?.do === 'look';
      if (!only) await this.#turn(page, operation, running);
      if (overruled !== null) answerAll(running, ok(null));
      if (step.effect === null) return;
      const { snapshot } = saga.request;
      if (step.progress !== null) this.#world.sender.progress(snapshot, step.progress);
      event = await perform(this.#world, step.effect, saga, driven);
      watch.did(step.effect);
    }
    await this.#turn(page, operation, running);
  }

  /** Writes down what is on the page, if anything is. */
  async #turn(page: Page, operation: Operation, running: Running): Promise<void> {
    const put = page.take();
    if (put === null) return;
    const watch = this.#watch(operation);
    running.writing = this.#write({ ...operation, saga: put.from, trace: watch.trace }, put.step);
    await running.writing;
    watch.lap('journal');
  }

  #watch(operation: Operation): Stopwatch {
    return this.#watches.get(operation) ?? new Stopwatch(this.#world.clock, operation.trace);
  }

  #age(operation: Operation): number {
    const now = this.#world.clock.monotonic();
    return now - (this.#asked.get(operation) ?? now);
  }

  /** The process ends; when we contradict ourselves a second time the operation is set aside. */
  async #broken(operation: Operation, defect: unknown): Promise<void> {
    const { journal, telemetry, die, isDefect } = this.#world;
    const ours = isDefect(defect);
    const reason = defect instanceof Error ? (defect.stack ?? defect.message) : String(defect);
    telemetry.log('error', `${ours ? 'defect' : 'broken off'}: ${reason}`, contextOf(operation));
    try {
      if (ours && (await journal.defect(operation.id)) >= MAX_DEFECTS) {
        const why = `chainkeeper met a defect of its own here twice: ${reason.split('\n')[0]}`;
        // The step is the one in which this process took it up: another one would count anew.
        const saga = parked(operation.saga, why);
        const chain = await knownAfter(journal, operation, saga);
        await journal.commit(operation.id, { saga, evidence: [], tell: null, formats: [], chain });
      }
    } finally {
      die(defect);
    }
  }
}

const WOKE: Event = { kind: 'woke' };

const isGoodNews = (event: Event): boolean =>
  event.kind === 'did' || (event.kind === 'ended' && event.how === 'completed');

/** An operation that is being driven. */
interface Running {
  done: Promise<void>;
  readonly mailbox: Mailbox;
  /** It was asked for again since it last meant to withdraw. */
  again: boolean;
  writing: Promise<unknown> | null;
  /** Operators who want it to come to nothing, and wait for the answer. */
  readonly aborts: ((answer: Overruled) => void)[];
}

/** Null: it was not there to be overruled. */
export type Overruled = Result<null, Refusal> | null;

/** The end that operators asked for, or null; those who come too late are told so. */
function overrule(running: Running, saga: Saga): Next<Saga> | null {
  if (running.aborts.length === 0) return null;
  const step = aborting(saga);
  if (step.ok) return step.value;
  answerAll(running, step);
  return null;
}

function answerAll({ aborts }: Running, it: Overruled): void {
  for (const answer of aborts.splice(0)) answer(it);
}

const isWithdrawn = (saga: Saga): boolean => saga.at === 'end' && saga.outcome === 'withdrawn';
