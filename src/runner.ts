import type { Fault } from '#domain/failure.ts';
import type { OperationId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { Effect, Event, Evidence, Outcome, Saga } from '#domain/saga.ts';
import { expecting, learnt, next, parked } from '#domain/sagas.ts';
import type { Clock } from '#ports/clock.ts';
import type { Operation } from '#ports/journal.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { type LookWorld, look } from './look.ts';
import { Mailbox } from './mailbox.ts';
import type { Sender } from './sender.ts';

export interface RunnerWorld extends LookWorld {
  readonly sender: Sender;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly createTimeoutMs: number;
  readonly pollMs: number;
  /** Called with a defect, after it is journalled: the process must end. */
  readonly die: (defect: unknown) => void;
}

/** A wait for something that libvirt or a share is about to show. */
const SOON_MS = 200;

/** How often an operation may meet a defect in one state before it is left to a person. */
const MAX_DEFECTS = 2;

/**
 * Drives every accepted operation to its end, one at a time per volume, and takes all of them up
 * again after a restart. What a step found and what Cinder must hear are one journal entry,
 * written before the step's effect is performed.
 */
export class Runner {
  readonly #world: RunnerWorld;
  /** By volume: the operations in the order in which they were accepted; the first one runs. */
  readonly #queues = new Map<VolumeId, Operation[]>();
  /** When each operation was asked for, by the monotonic clock. */
  readonly #asked = new Map<OperationId, number>();
  readonly #running = new Map<OperationId, Running>();
  readonly #listeners: ((ended: Operation) => void)[] = [];
  #stopped = false;

  constructor(world: RunnerWorld) {
    this.#world = world;
  }

  /** Takes up what an earlier process left. Those that had begun come before those that wait. */
  async resume(): Promise<void> {
    // First what was left unsaid: what is taken up below writes notices of its own.
    await this.#world.sender.resume();
    const open = await this.#world.journal.unfinished();
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

  /** Calls `listener` with every operation that comes to its end from now on. */
  whenEnded(listener: (ended: Operation) => void): void {
    this.#listeners.push(listener);
  }

  start(operation: Operation): void {
    const { volume } = operation.saga.request;
    const { clock } = this.#world;
    // Only for the time before this process need the wall clock be believed.
    const before = Math.max(0, clock.now() - operation.askedAt);
    this.#asked.set(operation.id, clock.monotonic() - before);
    const queue = this.#queues.get(volume);
    if (queue !== undefined) queue.push(operation);
    else {
      this.#queues.set(volume, [operation]);
      this.#begin(operation);
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

  #begin(operation: Operation): void {
    const { clock, hypervisor } = this.#world;
    const mailbox = new Mailbox(hypervisor, operation.saga.request.server, clock);
    const done = this.#drive(operation, mailbox).catch((defect) => this.#broken(operation, defect));
    const over = done.finally(() => this.#leave(operation));
    this.#running.set(operation.id, { done: over, mailbox, again: false, writing: null });
  }

  #leave(operation: Operation): void {
    this.#running.get(operation.id)?.mailbox[Symbol.dispose]();
    this.#running.delete(operation.id);
    this.#asked.delete(operation.id);
    this.#world.sender.forget(operation.saga.request.snapshot);
    const { volume } = operation.saga.request;
    const queue = this.#queues.get(volume) ?? [];
    queue.shift();
    const following = queue[0];
    if (following === undefined) this.#queues.delete(volume);
    else if (!this.#stopped) this.#begin(following);
  }

  /** The only loop in the program. */
  async #drive(operation: Operation, mailbox: Mailbox): Promise<void> {
    const { journal, sender, telemetry } = this.#world;
    let saga = operation.saga;
    let event: Event = { kind: 'woke' };
    let last: Evidence | null = null;
    // A job that an earlier process began: how it ends is told to this one.
    const target = expecting(saga);
    if (target !== null) mailbox.expect(target);
    while (!this.#stopped) {
      const step = next(saga, event);
      const running = this.#running.get(operation.id);
      if (running?.again && isWithdrawn(step.saga)) {
        running.again = false;
        event = { kind: 'woke' };
        continue;
      }
      const evidence = step.evidence.filter((one) => !sameEvidence(one, last));
      last = step.evidence.at(-1) ?? last;
      // What Cinder must hear belongs to an end, which is another state.
      if (step.saga !== saga || evidence.length > 0) {
        const entry = { saga: step.saga, evidence, tell: step.tell, formats: learnt(step.saga) };
        const writing = journal.commit(operation.id, entry);
        if (running !== undefined) running.writing = writing;
        const notice = await writing;
        if (notice !== null) sender.post(notice);
        for (const one of evidence) {
          const level = one.kind === 'left-frozen' ? 'warning' : 'info';
          telemetry.log(level, `${one.kind}: ${one.detail}`, contextOf(operation));
        }
      }
      saga = step.saga;
      if (saga.at === 'end') {
        for (const hear of this.#listeners) {
          hear({ ...operation, saga, updatedAt: this.#world.clock.now() });
        }
        const words = `${saga.outcome}: ${saga.reason}`;
        telemetry.log(levelOf(saga.outcome), words, contextOf(operation));
      }
      if (step.effect === null) return;
      if (step.progress !== null) sender.progress(saga.request.snapshot, step.progress);
      event = await this.#perform(step.effect, saga, operation, mailbox);
    }
  }

  async #perform(
    effect: Effect,
    saga: Saga,
    operation: Operation,
    mailbox: Mailbox,
  ): Promise<Event> {
    const { hypervisor, images } = this.#world;
    const { volume, server } = saga.request;
    switch (effect.do) {
      case 'look':
        return this.#look(effect, saga, operation);
      case 'watch':
        return mailbox.next(effect.soon ? SOON_MS : this.#world.pollMs);
      case 'mend':
        return did(
          await images.mend(effect.directory, effect.overlay, effect.backing, effect.format),
        );
      case 'snapshot':
        return did(await hypervisor.snapshot({ ...effect, volume, server }));
      case 'thaw':
        return did(await hypervisor.thaw({ ...effect, volume, server }));
      case 'merge':
        mailbox.expect(effect.target);
        return did(await hypervisor.merge({ ...effect, volume, server }));
      case 'commit-active':
        mailbox.expect(effect.target);
        return did(await hypervisor.commitActive({ ...effect, volume, server }));
      case 'pivot':
        return did(await hypervisor.pivot({ ...effect, volume, server }));
      case 'cancel':
        return did(await hypervisor.cancelCommit({ ...effect, volume, server }));
      case 'unchain':
        return did(await hypervisor.unchain({ ...effect, volume, server, process: null }));
      case 'flush':
        return did(await hypervisor.flush({ ...effect, volume, server }));
    }
  }

  async #look(
    effect: Extract<Effect, { do: 'look' }>,
    saga: Saga,
    operation: Operation,
  ): Promise<Event> {
    const { volumes, createTimeoutMs } = this.#world;
    const { volume, server, snapshot } = saga.request;
    let attachment: string | null = null;
    if (saga.at === 'waiting' || (saga.kind === 'undo' && effect.cinder)) {
      // It was accepted unseen: what Cinder believes is in use is compared now.
      const attached = await volumes.attachments(volume);
      if (!attached.ok) return { kind: 'blind', fault: attached.error };
      attachment = attached.value?.find((one) => one.server === server)?.id ?? null;
    }
    const sight = await look(this.#world, {
      disk: { server, volume },
      headers: effect.headers,
      newcomer: saga.kind === 'create' ? saga.request.newFile : null,
      snapshot: effect.cinder ? snapshot : null,
      attachment,
      late: () => saga.kind === 'create' && this.#age(operation) > createTimeoutMs,
    });
    if (!sight.ok) return { kind: 'blind', fault: sight.error };
    return { kind: 'saw', sight: sight.value };
  }

  #age({ id }: Operation): number {
    const now = this.#world.clock.monotonic();
    return now - (this.#asked.get(id) ?? now);
  }

  /** We contradict ourselves. The process ends; the second time the operation is set aside. */
  async #broken(operation: Operation, defect: unknown): Promise<void> {
    const { journal, telemetry, die } = this.#world;
    const reason = defect instanceof Error ? (defect.stack ?? defect.message) : String(defect);
    telemetry.log('error', `defect: ${reason}`, contextOf(operation));
    try {
      if ((await journal.defect(operation.id)) >= MAX_DEFECTS) {
        const why = `chainkeeper met a defect of its own here twice: ${reason.split('\n')[0]}`;
        const saga = parked(operation.saga, why);
        await journal.commit(operation.id, { saga, evidence: [], tell: null, formats: [] });
      }
    } finally {
      die(defect);
    }
  }
}

/** An operation that is being driven. */
interface Running {
  readonly done: Promise<void>;
  readonly mailbox: Mailbox;
  /** It was asked for again since it last meant to withdraw. */
  again: boolean;
  writing: Promise<unknown> | null;
}

const isWithdrawn = (saga: Saga): boolean => saga.at === 'end' && saga.outcome === 'withdrawn';

const did = (result: Result<null, Fault>): Event =>
  result.ok ? { kind: 'did' } : { kind: 'failed', fault: result.error };

const sameEvidence = (one: Evidence, other: Evidence | null): boolean =>
  one.kind === other?.kind && one.detail === other.detail;

const GOOD: readonly Outcome[] = ['created', 'merged', 'undone'];
const levelOf = (outcome: Outcome) => (GOOD.includes(outcome) ? 'info' : 'warning');

const contextOf = (operation: Operation) => ({
  operation: operation.id,
  requestId: operation.requestId,
  globalRequestId: operation.globalRequestId,
});
