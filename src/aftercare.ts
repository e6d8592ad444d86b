import { find } from '#domain/chain.ts';
import type { CreateSaga } from '#domain/create-saga.ts';
import type { OperationId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { isGivenUp, type Made } from '#domain/undo-saga.ts';
import type { Clock } from '#ports/clock.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Journal, Operation } from '#ports/journal.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import type { Volumes } from '#ports/volumes.ts';
import { attachmentOn } from './look.ts';
import type { Runner } from './runner.ts';

export interface AftercareWorld {
  readonly hypervisor: Hypervisor;
  readonly volumes: Volumes;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly runner: Runner;
  /** Called with a defect: the process must end. */
  readonly die: (defect: unknown) => void;
}

/** As long as it can take Cinder to make up its mind: its own wait is 600 s. */
const WATCH_FOR_MS = 900_000;
/** While all may be well. */
const POLL_MS = 5_000;
/** Once Cinder seems to have given up. */
const SOON_MS = 2_000;
/** Cinder names the new file in the attachment a moment before it says so of the snapshot. */
const LOOKS = 3;
/** Cinder is still at it; the second is the spec's. */
const UNDER_WAY: readonly string[] = ['creating', 'creating_compute_complete'];
/** More creates than a host sees in that time. */
const RECENT = 1_000;

/** A create that is over, and what it made of the chain. */
interface Watched {
  readonly operation: Operation;
  readonly saga: Ended;
  readonly made: Made;
}

type Ended = Extract<CreateSaga, { at: 'end' }>;

/**
 * Looks after a create once it is over. Cinder can refuse our report, can have stopped waiting
 * before it came, and any member of the project can post an error; then it goes on from the old
 * file while the guest writes to the overlay. Whatever Cinder gives up is undone (undo-saga.ts).
 */
export class Aftercare {
  readonly #world: AftercareWorld;
  readonly #watched = new Map<SnapshotId, Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(world: AftercareWorld) {
    this.#world = world;
    world.runner.whenEnded((operation) => this.#watch(operation));
  }

  /** Takes up what an earlier process was looking after. */
  async resume(): Promise<void> {
    const { journal } = this.#world;
    const recent = await journal.operations({ kind: 'create', limit: RECENT });
    const seen = new Set<VolumeId>();
    for (const one of recent) {
      if (one.saga.kind !== 'create' || one.saga.at !== 'end' || !one.saga.made) continue;
      const { volume } = one.saga.request;
      // Only the newest can be on top. How old it is says little: clocks jump, and Cinder may
      // have given it up while nobody was there.
      if (!seen.has(volume)) this.#watch(one);
      seen.add(volume);
    }
  }

  /** How many snapshots are being looked after. */
  get watching(): number {
    return this.#watched.size;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#watched.values());
  }

  #watch(operation: Operation): void {
    const { saga } = operation;
    if (saga.kind !== 'create' || saga.at !== 'end' || saga.made === undefined) return;
    const { snapshot } = saga.request;
    if (this.#watched.has(snapshot) || this.#stopping.signal.aborted) return;
    const over = this.#care({ operation, saga, made: saga.made })
      .catch(this.#world.die)
      .finally(() => this.#watched.delete(snapshot));
    this.#watched.set(snapshot, over);
  }

  async #care(watched: Watched): Promise<void> {
    const { clock, telemetry } = this.#world;
    const { signal } = this.#stopping;
    const { snapshot } = watched.saga.request;
    const until = clock.monotonic() + WATCH_FOR_MS;
    for (let given = 0; ; ) {
      await clock.sleep(given === 0 ? POLL_MS : SOON_MS, signal);
      if (signal.aborted) return;
      const seen = await this.#look(watched);
      if (seen === 'settled') return;
      given = seen === 'given up' ? given + 1 : 0;
      if (given >= LOOKS) {
        await this.#undo(watched);
        given = 0;
      }
      if (clock.monotonic() < until) continue;
      const what = `Cinder has not made up its mind about snapshot ${snapshot}: compare it with`;
      telemetry.log('warning', `${what} 'chainkeeper chain show'.`, {});
      return;
    }
  }

  /** What Cinder makes of it; `unclear` is to be asked again. */
  async #look({ saga, made }: Watched): Promise<'settled' | 'given up' | 'unclear'> {
    const { hypervisor, volumes, journal } = this.#world;
    const { snapshot, volume, server } = saga.request;
    const [newest] = await journal.operations({ snapshot, limit: 1 });
    if (newest !== undefined) {
      const last = newest.saga;
      if (last.at !== 'end') return 'unclear';
      if (last.kind === 'delete') return 'settled';
      if (last.kind === 'undo' && last.outcome !== 'withdrawn') return 'settled';
    }
    const seen = await volumes.snapshot(snapshot);
    if (!seen.ok) return 'unclear';
    const status = seen.value?.status ?? 'gone';
    if (UNDER_WAY.includes(status)) return 'unclear';
    const attachment = await attachmentOn(volumes, { volume, server });
    if (!attachment.ok || attachment.value === null) return 'unclear';
    const active = await volumes.activeFile(attachment.value);
    if (!active.ok) return 'unclear';
    // A Cinder that does not name the file: its word on the snapshot is all there is.
    if (active.value === null) return isGivenUp(status) ? 'unclear' : 'settled';
    // The overlay, or one on top of it by now.
    if (active.value !== made.before.file) return 'settled';
    // What Cinder is still to hear it may yet take.
    const told = await journal.notices({ state: 'pending' });
    if (told.some((one) => one.snapshot === snapshot)) return 'unclear';
    if (!isGivenUp(status)) return 'unclear';
    const guest = await hypervisor.look({ server, volume });
    if (!guest.ok) return 'unclear';
    const { value: view } = guest;
    // It is undone while the guest runs, and only then.
    if (view.kind === 'absent' || view.process === null || view.job !== null) return 'unclear';
    return find(view.chain, saga.request.newFile) === null ? 'settled' : 'given up';
  }

  async #undo({ operation, saga, made }: Watched): Promise<void> {
    const { journal, clock, runner } = this.#world;
    const { requestId, globalRequestId } = operation;
    const now = clock.now();
    const undo: Operation = {
      id: clock.uuid() as OperationId,
      saga: { kind: 'undo', request: saga.request, made, at: 'waiting' },
      accepted: true,
      requestId,
      globalRequestId,
      askedAt: now,
      updatedAt: now,
    };
    await journal.ask(undo);
    runner.start(undo);
  }
}
