import { find } from '#domain/chain.ts';
import type { Fault, Refusal } from '#domain/failure.ts';
import type { OperationId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { isNamedFor, type Limits, planCreate } from '#domain/plan-create.ts';
import { planDelete } from '#domain/plan-delete.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Saga } from '#domain/saga.ts';
import type { SnapshotView } from '#domain/sight.ts';
import type {
  Answer,
  AssistedCreate,
  AssistedDelete,
  AssistedRequest,
  AssistedSnapshots,
  Caller,
  Trouble,
} from '#ports/assisted-snapshots.ts';
import { type Clock, OVER } from '#ports/clock.ts';
import type { Operation } from '#ports/journal.ts';
import { type Attachments, serverOf, withHost } from './attached.ts';
import { type Earlier, earlier, type Request } from './earlier.ts';
import type { Seen } from './fresh.ts';
import { type LookWorld, look } from './look.ts';
import type { Runner } from './runner.ts';
import type { Sender } from './sender.ts';
import { Stopwatch } from './stopwatch.ts';

export interface ServiceWorld extends LookWorld {
  readonly runner: Runner;
  readonly sender: Sender;
  readonly clock: Clock;
  readonly limits: Limits;
}

/** Whatever can be known in this time is decided before the answer (cinder waits without end). */
export const DECIDE_WITHIN_MS = 8000;

/**
 * Accepts requests. Everything that can be checked is checked first; then the request is written
 * down as asked, a delete's progress is set back to 0% in Cinder, the request is written down as
 * accepted, and only then answered.
 */
export class Service implements AssistedSnapshots {
  readonly #world: ServiceWorld;
  /** By volume: requests are decided one after the other, because each changes what is true. */
  readonly #doors = new Map<VolumeId, Promise<unknown>>();

  constructor(world: ServiceWorld) {
    this.#world = world;
  }

  create(request: AssistedCreate, caller: Caller): Promise<Answer> {
    const plain: AssistedRequest = { kind: 'create', ...request };
    return this.inTurn(plain.volume, (time) => this.#decide(plain, caller, time));
  }

  delete(request: AssistedDelete, caller: Caller): Promise<Answer> {
    const plain: AssistedRequest = { kind: 'delete', ...request };
    return this.inTurn(plain.volume, (time) => this.#decide(plain, caller, time));
  }

  /**
   * Decides something about a volume while nothing else is decided about it. Once it is too late
   * nothing is accepted any more: no answer contradicts the journal.
   */
  async inTurn<T>(
    volume: VolumeId,
    decide: (time: Time) => Promise<Result<T, Trouble>>,
  ): Promise<Result<T, Trouble>> {
    const late = new AbortController();
    const decided = new AbortController();
    const watch = new Stopwatch(this.#world.clock);
    const about = { late: late.signal, decide: () => decided.abort(OVER), watch };
    const time: Time = { ...about, asking: 'Cinder' };
    const answer = this.#throughDoor(volume, time, () => decide(time));
    const alarm = this.#world.clock.sleep(DECIDE_WITHIN_MS, decided.signal).then(() => {
      if (!decided.signal.aborted) late.abort(OVER);
      return decided.signal.aborted ? answer : tooSlow(time.asking);
    });
    return Promise.race([answer, alarm]).finally(() => decided.abort(OVER));
  }

  #throughDoor<T>(volume: VolumeId, time: Time, decide: () => Promise<T>): Promise<T> {
    const before = this.#doors.get(volume) ?? Promise.resolve();
    const mine = before.then(decide);
    const over = () => {};
    // Too late is over too: nothing more is accepted, and nobody need wait for what still hangs.
    const settled = Promise.race([mine.then(over, over), aborted(time.late)]);
    this.#doors.set(volume, settled);
    void settled.then(() => {
      if (this.#doors.get(volume) === settled) this.#doors.delete(volume);
    });
    return mine;
  }

  async #decide(plain: AssistedRequest, caller: Caller, time: Time): Promise<Answer> {
    if (time.late.aborted) return tooSlow(time.asking);
    const { volumes } = this.#world;
    // A Cinder takes its time for each: what the second one says is of use only if the first is.
    const [snapshot, attachments] = await Promise.all([
      volumes.snapshot(plain.snapshot),
      volumes.attachments(plain.volume),
    ]);
    if (!snapshot.ok) return fault(snapshot.error);
    // Tempest asks for snapshots that Cinder has never heard of, and expects a yes.
    if (snapshot.value === null) return ok({ operation: null });
    const wrong = wrongSnapshot(plain, snapshot.value);
    if (wrong !== null) return refused(wrong);
    const history = await earlier(this.#world.journal, plain);
    if (history.kind === 'refused') return refused(history.refusal);
    if (history.kind === 'running') return this.#join(plain, history.operation, caller, time);
    const opening = await this.#open(plain, history, attachments, time);
    if (!opening.ok) return opening;
    const { saga, seen } = opening.value;
    return this.#accept(saga, seen, caller, time);
  }

  /** Checks all that can be known now, and answers the saga that would begin. */
  async #open(
    plain: AssistedRequest,
    history: Earlier,
    attachments: Attachments,
    time: Time,
  ): Promise<Result<Opening, Trouble>> {
    const server = serverOf(plain.volume, attachments);
    if (!server.ok) return server;
    const request = { ...plain, server: server.value.server };
    if (history.kind === 'done') return ok(unseen(history.confirm(request.server)));
    const { limits, runner, clock } = this.#world;
    const doubt = history.kind === 'none' ? history.doubt : undefined;
    if (doubt && runner.busy(plain.volume)) return refused(doubt.refusal);
    if (runner.busy(plain.volume)) return ok(unseen(sagaAt(request, 'waiting', limits)));
    time.asking = 'libvirt';
    const since = clock.monotonic();
    const sight = await look(this.#world, {
      disk: { server: request.server, volume: plain.volume },
      headers: headersNamed(request),
      newcomer: request.kind === 'create' ? request.newFile : null,
      snapshot: null,
      attachment: server.value.id,
      late: () => false,
    });
    time.asking = 'Cinder';
    if (!sight.ok) return fault(sight.error);
    const { guest } = sight.value;
    if (doubt && !(guest.kind === 'disk' && find(guest.chain, doubt.gone))) {
      return refused(doubt.refusal);
    }
    const plan =
      request.kind === 'create'
        ? planCreate(request, sight.value, limits)
        : planDelete(request, sight.value);
    if (!plan.ok) return refused(withHost(plan.error, server.value));
    return ok({ saga: sagaAt(request, 'accepted', limits), seen: { guest, since } });
  }

  async #accept(
    saga: Saga,
    seen: Seen | null,
    caller: Caller,
    { late, decide, asking, watch }: Time,
  ): Promise<Answer> {
    const { journal, clock, runner, sender } = this.#world;
    if (late.aborted) return tooSlow(asking);
    const now = clock.now();
    const id = clock.uuid() as OperationId;
    const operation: Operation = {
      id,
      saga,
      accepted: true,
      requestId: caller.requestId,
      globalRequestId: caller.globalRequestId,
      askedAt: now,
      updatedAt: now,
    };
    watch.lap('preflight');
    if (saga.kind === 'create') {
      // Nothing is changed for it before the answer, so one entry says both.
      decide();
      await journal.ask(operation);
      watch.lap('journal');
      await sender.supersede(saga.request.snapshot);
    } else {
      await journal.ask({ ...operation, accepted: false });
      watch.lap('journal');
      await sender.supersede(saga.request.snapshot);
      const trouble = await this.#reset(saga.request.snapshot);
      if (trouble !== null || late.aborted) {
        await journal.drop(id);
        return trouble ?? tooSlow(asking);
      }
      // From here on the journal has the last word, and the answer waits for it.
      decide();
      watch.lap('preflight');
      await journal.accept(id);
      watch.lap('journal');
    }
    runner.start({ ...operation, trace: watch.trace }, seen);
    return ok({ operation: id });
  }

  /** The same request again while its operation runs: it gets that operation's result. */
  async #join(
    plain: AssistedRequest,
    operation: Operation,
    caller: Caller,
    time: Time,
  ): Promise<Answer> {
    if (time.late.aborted) return tooSlow(time.asking);
    if (plain.kind === 'delete') {
      const trouble = await this.#reset(plain.snapshot);
      if (trouble !== null) return trouble;
    }
    await this.#world.runner.join(operation.id);
    const now = await this.#world.journal.operation(operation.id);
    if (now?.saga.at !== 'end') return ok({ operation: operation.id });
    // It ended while we reset the progress, which may have wiped its last word out: late or not,
    // that word must be said again.
    const history = await earlier(this.#world.journal, plain);
    if (history.kind === 'refused') return refused(history.refusal);
    if (history.kind === 'running') return ok({ operation: history.operation.id });
    const attachments = await this.#world.volumes.attachments(plain.volume);
    const opening = await this.#open(plain, history, attachments, time);
    if (!opening.ok) return opening;
    const late = new AbortController().signal;
    return this.#accept(opening.value.saga, null, caller, { ...time, late });
  }

  /**
   * Cinder never resets a snapshot's progress, and its wait ends at the first 90% it sees: one
   * left over from an earlier attempt makes it remove a file that is still in use. Its loop
   * begins only after our answer, so 0% must be there before.
   */
  async #reset(snapshot: SnapshotId): Promise<Err | null> {
    const told = await this.#world.sender.say(snapshot, { kind: 'deleting', percent: 0 });
    if (!told.ok) return fault(told.error);
    if (told.value === 'accepted') return null;
    return refused({
      kind: 'wrong-status',
      snapshot,
      status: 'no longer deleting',
      needed: 'deleting',
    });
  }
}

/** `late`: the answer is out, and nothing may be accepted. `decide`: it will be what it will be. */
export interface Time {
  readonly late: AbortSignal;
  readonly decide: () => void;
  /** What the answer spends its time on. */
  readonly watch: Stopwatch;
  /** Whose answer is being waited for. */
  asking: Fault['who'];
}

/** The saga that would begin, and what was seen of the guest, if it was looked at. */
interface Opening {
  readonly saga: Saga;
  readonly seen: Seen | null;
}

const unseen = (saga: Saga): Opening => ({ saga, seen: null });

type Err = { readonly ok: false; readonly error: Trouble };

function wrongSnapshot(plain: AssistedRequest, view: SnapshotView): Refusal | null {
  const { snapshot } = plain;
  if (view.volume !== plain.volume) return { kind: 'other-volume', snapshot, volume: view.volume };
  const needed = plain.kind === 'create' ? 'creating' : 'deleting';
  if (plain.kind === 'create' && !isNamedFor(plain)) {
    return { kind: 'other-name', snapshot, file: plain.newFile };
  }
  if (view.status === needed) return null;
  return { kind: 'wrong-status', snapshot, status: view.status, needed };
}

function sagaAt(request: Request, at: 'waiting' | 'accepted', limits: Limits): Saga {
  if (request.kind === 'delete') return { kind: 'delete', request: bare(request), at };
  return { kind: 'create', request: bare(request), at, limits };
}

const bare = <R extends Request>({ kind: _, ...request }: R): Omit<R, 'kind'> => request;

const headersNamed = (request: Request) => {
  const named = request.kind === 'create' ? request.newFile : request.fileToMerge;
  return named === null ? [] : [named];
};

const refused = (refusal: Refusal): Err => err({ kind: 'refused', refusal });
const fault = (it: Fault): Err => err({ kind: 'fault', fault: it });

export const tooSlow = (who: Fault['who']): Err =>
  fault({ kind: 'unreachable', who, detail: `no answer within ${DECIDE_WITHIN_MS / 1000} s` });

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
