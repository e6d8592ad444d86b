import type { OperationId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { GuestView, SnapshotView } from '#domain/sight.ts';
import type { Update } from '#domain/status.ts';
import type { Answer } from '#ports/assisted-snapshots.ts';
import type { SnapshotOrder } from '#ports/hypervisor.ts';
import type { CopyOrder } from '#ports/images.ts';
import { type Asked, acceptedBy, type SeenCall, type Watcher } from './watcher.ts';
import type { World } from './world.ts';

/** Every second something is looked at that has not ended; see `pollMs`. */
const LEFT_ALONE_MS = 5_000;
/** As long as a create waits for a pull of another disk of the guest (docs/HAZARDS.md, F14). */
const BESIDE_A_PULL_MS = 10_000;
/** The longest that a set-back which was due can take to be sent. */
const A_WHILE_MS = 400_000;

/**
 * Laws 11, 20, 21, 22, 27, 29 and 30, as far as they are about what the program has heard when it
 * acts, and about what it does at the same time.
 */
export class HeardLaws implements Watcher {
  readonly #world: World;
  /** What the last look at a volume showed of the snapshot. */
  readonly #status = new Map<SnapshotId, string>();
  /**
   * Questions that belong to a look: they come right after the hypervisor was asked, or, where what
   * was seen is still good, right before the journal is.
   */
  readonly #looks = new WeakSet<SeenCall>();
  #before: SeenCall | null = null;
  /** Volumes on which the last look showed a block job. */
  readonly #atWork = new Set<VolumeId>();
  /** Snapshots about which something is being said just now. */
  readonly #saying = new Set<SnapshotId>();
  /** By volume: the calls that have no answer yet, and when the last one was made or answered. */
  readonly #calls = new Map<VolumeId, { open: number; last: number; beside: number }>();
  /** The volume that a call was about when it was made. */
  readonly #about = new WeakMap<SeenCall, VolumeId>();
  readonly #refused = new Set<string>();
  /** Counts what happens, for before and after. */
  #order = 0;
  readonly #asked = new Map<string, number>();
  readonly #setBack = new Map<SnapshotId, number>();

  constructor(world: World) {
    this.#world = world;
  }

  asked({ requestId }: Asked): void {
    this.#asked.set(requestId, ++this.#order);
  }

  answered({ kind, requestId, snapshot, volume }: Asked, answer: Answer): void {
    if (!answer.ok) this.#refused.add(requestId);
    if (kind !== 'delete' || !answer.ok || answer.value.operation === null) return;
    const confirmed = this.#setBack.get(snapshot) ?? 0;
    if (confirmed > (this.#asked.get(requestId) ?? 0)) return;
    this.#world.break(30, `${snapshot} is acknowledged and was not set back to 0%`, volume);
  }

  calling(call: SeenCall): void {
    const { port, method, args } = call;
    this.#busy(call, 1);
    const before = this.#before;
    if (before?.port === 'libvirt' && before.method === 'look') this.#looks.add(call);
    if (before !== null && port === 'journal' && method === 'formats') this.#looks.add(before);
    this.#before = call;
    if (port === 'cinder' && method === 'update') {
      const [snapshot, update] = args as [SnapshotId, Update];
      if (this.#saying.has(snapshot)) {
        this.#world.break(11, `two words about ${snapshot} at once`, null);
      }
      this.#saying.add(snapshot);
      if (update.kind === 'deleting' && update.percent === 0) this.#written(snapshot);
    }
    if (port !== 'libvirt' || (method !== 'snapshot' && method !== 'merge')) return;
    const [{ volume }] = args as [SnapshotOrder];
    if (this.#atWork.has(volume)) {
      this.#world.break(21, `a ${method} over a block job that was seen`, volume);
    }
    const [state, status] = method === 'merge' ? MERGE : SWITCH;
    const op = this.#world.journal.all.find(
      ({ accepted, saga }) => accepted && saga.request.volume === volume && saga.at === state,
    );
    const heard = op && this.#status.get(op.saga.request.snapshot);
    if (heard === undefined || heard === status) return;
    this.#world.break(29, `a ${method} for a snapshot that was heard to be ${heard}`, volume);
  }

  reached(call: SeenCall, answer: unknown): void {
    const { port, method, args } = call;
    const said = answer as { ok: boolean; value: unknown };
    const accepted = acceptedBy(call);
    if (accepted !== null) this.#accepted(accepted);
    if (port === 'cinder' && method === 'update') {
      const [snapshot, update] = args as [SnapshotId, Update];
      const back = update.kind === 'deleting' && update.percent === 0;
      if (back && said.ok && said.value === 'accepted') this.#setBack.set(snapshot, ++this.#order);
    }
  }

  back(call: SeenCall, answer: unknown): void {
    const { port, method, args } = call;
    this.#busy(call, -1);
    const said = answer as { ok: boolean; value: unknown };
    if (port === 'cinder' && method === 'update') this.#saying.delete(args[0] as SnapshotId);
    if (port === 'cinder' && method === 'snapshot' && said.ok && this.#looks.has(call)) {
      const view = said.value as SnapshotView | null;
      this.#status.set(args[0] as SnapshotId, view?.status ?? 'gone');
    }
    if (port === 'libvirt' && method === 'look' && said.ok) {
      const view = said.value as GuestView;
      const [{ volume }] = args as [{ volume: VolumeId }];
      if (view.kind === 'disk' && view.unasked) return;
      if (view.kind === 'disk' && view.job !== null) this.#atWork.add(volume);
      else this.#atWork.delete(volume);
    }
  }

  ended(): void {
    this.#saying.clear();
    this.#calls.clear();
    this.#status.clear();
    this.#atWork.clear();
  }

  /** Law 22: whoever has something to do does it, whatever the other volumes wait for. */
  moment(): void {
    const { journal, clock, program, life } = this.#world;
    if (program === null || life.over) {
      this.#calls.clear();
      return;
    }
    for (const { accepted, saga } of journal.all) {
      if (!accepted || saga.at === 'end') continue;
      const { volume } = saga.request;
      const known = this.#of(volume);
      if (this.#pulledBeside(volume)) known.beside = clock.now();
      const { open, last, beside } = known;
      const allowed = LEFT_ALONE_MS + (beside >= last ? BESIDE_A_PULL_MS : 0);
      if (open > 0 || clock.now() - last <= allowed) continue;
      this.#world.break(22, `${volume} is left alone, and has a ${saga.kind} to do`, volume);
      this.#calls.delete(volume);
    }
  }

  /** Whether a pull of another disk of the guest is at work, or was asked for. */
  #pulledBeside(volume: VolumeId): boolean {
    const { cloud, journal } = this.#world;
    const mine = cloud.disks.find((one) => one.volume === volume);
    const beside = cloud.disks.filter((one) => one !== mine && one.guest === mine?.guest);
    const asked = journal.all.filter(({ saga }) =>
      saga.at === 'merging'
        ? saga.plan.merge.kind === 'pull'
        : // A header is healed by a pull.
          saga.at === 'switching' && !!saga.heals,
    );
    return beside.some(
      ({ disk, volume }) =>
        disk.job?.kind === 'pull' || asked.some(({ saga }) => saga.request.volume === volume),
    );
  }

  /** Law 27: a progress is set back for a request that is written down. */
  #written(snapshot: SnapshotId): void {
    const { journal, clock } = this.#world;
    const open = journal.all.some(
      ({ saga, updatedAt }) =>
        saga.kind === 'delete' &&
        saga.request.snapshot === snapshot &&
        (saga.at !== 'end' || updatedAt > clock.now() - A_WHILE_MS),
    );
    if (open) return;
    this.#world.break(27, `${snapshot} is set back to 0% for a request nobody wrote down`, null);
  }

  #accepted(id: OperationId): void {
    const op = this.#world.journal.all.find((one) => one.id === id);
    if (op === undefined) return;
    const { kind, request } = op.saga;
    const twice = this.#world.journal.all.some(
      ({ id: other, accepted, saga }) =>
        other !== id &&
        accepted &&
        saga.at !== 'end' &&
        saga.kind === kind &&
        saga.request.snapshot === request.snapshot,
    );
    if (twice) this.#world.break(20, `a second ${kind} of ${request.snapshot}`, request.volume);
    if (!this.#refused.has(op.requestId)) return;
    // Late or not, a last word that a set-back has wiped out is said once more; nothing else is
    // done.
    if (op.saga.at === 'confirming') return;
    const words = `${op.requestId} is accepted after the answer was no`;
    this.#world.break(27, words, request.volume);
  }

  #busy(call: SeenCall, more: 1 | -1): void {
    const volume = more === 1 ? this.#volumeOf(call) : (this.#about.get(call) ?? null);
    if (volume === null) return;
    this.#about.set(call, volume);
    const known = this.#of(volume);
    known.open = Math.max(0, known.open + more);
    known.last = this.#world.clock.now();
  }

  #of(volume: VolumeId) {
    const last = this.#world.clock.now();
    const known = this.#calls.get(volume) ?? { open: 0, last, beside: 0 };
    this.#calls.set(volume, known);
    return known;
  }

  /** The volume that a call is about, if it is one that an operation in progress makes. */
  #volumeOf({ port, method, args }: SeenCall): VolumeId | null {
    const { journal, cloud } = this.#world;
    const [first, file] = args as [unknown, string | undefined];
    if (port === 'images') {
      const name = file ?? (first as CopyOrder).chain.file;
      return this.#world.volumeOf(name) ?? null;
    }
    if (port === 'libvirt') return (first as { volume?: VolumeId } | undefined)?.volume ?? null;
    if (port === 'cinder' && method === 'attachments') return first as VolumeId;
    if (port === 'cinder' && method === 'snapshot') {
      // Cinder may have lost its row by now, or lose it before it answers.
      const op = journal.all.find(({ saga }) => saga.request.snapshot === first);
      const row = cloud.cinder.snapshots.get(first as SnapshotId);
      return op?.saga.request.volume ?? row?.volume ?? null;
    }
    if (port === 'cinder' && method === 'activeFile') {
      return cloud.cinder.attachments.get(first as string)?.volume ?? null;
    }
    if (method === 'commit') {
      return journal.all.find(({ id }) => id === first)?.saga.request.volume ?? null;
    }
    return null;
  }
}

const SWITCH = ['switching', 'creating'] as const;
const MERGE = ['merging', 'deleting'] as const;
