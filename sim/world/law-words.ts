import type { Layer } from '#domain/chain.ts';
import { type FileName, type OperationId, QCOW2, type SnapshotId } from '#domain/ids.ts';
import type { Saga } from '#domain/saga.ts';
import type { Update } from '#domain/status.ts';
import type { Answer } from '#ports/assisted-snapshots.ts';
import type { Notice, Operation } from '#ports/journal.ts';
import { nodesFrom } from '../node.ts';
import { isGuarded } from './boot-guard.ts';
import { coldFiles, coldView, restarted } from './truth.ts';
import type { Asked, SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

type Word = Exclude<Update['kind'], 'deleting'>;

/** Laws 8 to 13 and 30: what Cinder is told, and when it may be. */
export class WordLaws implements Watcher {
  readonly #world: World;
  readonly #words = new Map<OperationId, Set<Word>>();
  /** Snapshots whose last word is out, of which nothing was asked since, and whose word it was. */
  readonly #finished = new Map<SnapshotId, OperationId>();
  /** By snapshot: requests that may each set the progress back once. */
  readonly #resets = new Map<SnapshotId, number>();

  constructor(world: World) {
    this.#world = world;
  }

  asked({ kind, snapshot }: Asked): void {
    this.#finished.delete(snapshot);
    // Once to join an operation, and once more when that one ended meanwhile.
    if (kind === 'delete') this.#resets.set(snapshot, (this.#resets.get(snapshot) ?? 0) + 2);
  }

  calling({ port, method, args }: SeenCall): void {
    if (port === 'libvirt' || port === 'images') this.#effect(method, args);
    if (port !== 'cinder' || method !== 'update') return;
    const [snapshot, update] = args as [SnapshotId, Update];
    if (update.kind === 'deleting') {
      this.#progress(snapshot, update.percent);
      return;
    }
    const notice = this.#world.journal.told.find(
      (one) =>
        one.snapshot === snapshot && one.state === 'pending' && one.update.kind === update.kind,
    );
    if (notice === undefined) {
      this.#world.break(10, `${update.kind} of ${snapshot} is sent and not journalled`, null);
      return;
    }
    this.#word(notice, update.kind);
  }

  answered(asked: Asked, answer: Answer): void {
    if (asked.kind !== 'delete' || !answer.ok || answer.value.operation === null) return;
    const row = this.#world.cloud.cinder.snapshots.get(asked.snapshot);
    this.#world.saw('a delete is acknowledged');
    if (row?.status !== 'deleting' || row.progress !== '90%') return;
    if (this.#world.meddled.has(asked.snapshot)) return;
    const op = this.#world.journal.all.find(({ id }) => id === answer.value.operation);
    const done = op?.saga.at === 'end' && op.saga.outcome === 'merged';
    if (!done) this.#world.break(30, `${asked.snapshot} is at 90% when acknowledged`, asked.volume);
  }

  /** Whatever changes something was journalled as intended before. */
  #effect(method: string, args: readonly unknown[]): void {
    const states = INTENTS[method];
    if (states === undefined) return;
    const [first, overlay] = args as [{ volume?: string; chain?: Layer } | string, FileName];
    const intended = this.#world.journal.all.some(({ saga, accepted }) => {
      if (!accepted || !states.includes(saga.at)) return false;
      // A create merges nothing; it may have a header written anew by a pull.
      if (method === 'merge' && saga.at === 'switching' && saga.heals === undefined) return false;
      if (typeof first !== 'string' && first.volume !== undefined)
        return saga.request.volume === first.volume;
      if (saga.kind === 'create') return saga.request.newFile === overlay;
      if (saga.at !== 'restoring' && saga.at !== 'offline') return false;
      if (typeof first === 'string') return saga.plan.repointed === overlay;
      return saga.plan.before.file === first.chain?.file;
    });
    this.#world.saw(`${method} was journalled before`);
    if (!intended) this.#world.break(10, `${method} is not journalled as intended`, null);
  }

  #progress(snapshot: SnapshotId, percent: number): void {
    this.#world.saw(percent === 0 ? 'a progress set back to 0%' : 'live progress');
    if (percent === 90) this.#world.break(11, `90% as progress of ${snapshot}`, null);
    const resets = this.#resets.get(snapshot) ?? 0;
    if (percent === 0) this.#resets.set(snapshot, resets - 1);
    if (percent === 0 && resets <= 0) {
      this.#world.break(11, `${snapshot} is set back to 0% and nobody asked`, null);
    }
    const { all } = this.#world.journal;
    const newest = all.findLast(
      ({ accepted, saga }) => accepted && saga.request.snapshot === snapshot,
    );
    // The word of an attempt that is over may arrive when the next one has begun.
    if (percent > 0 && newest !== undefined && this.#finished.get(snapshot) === newest.id) {
      this.#world.break(11, `progress of ${snapshot} after the last word`, null);
    }
  }

  #word(notice: Notice, word: Word): void {
    const { journal } = this.#world;
    const { snapshot, operation } = notice;
    this.#world.saw(`Cinder is told ${word}`);
    // A snapshot that is being deleted is past every word about its making, and Cinder says so.
    const due = word === 'created' || word === 'create-failed' ? 'creating' : 'deleting';
    const heeded = this.#world.cloud.cinder.snapshots.get(snapshot)?.status === due;
    if (heeded) this.#finished.set(snapshot, operation);
    else this.#world.saw('a word that Cinder is past');
    const words = this.#words.get(operation) ?? new Set();
    this.#words.set(operation, words.add(word));
    if (words.size > 1) this.#world.break(12, `${snapshot}: ${[...words].join(' and ')}`, null);
    const at = journal.all.findIndex(({ id }) => id === operation);
    const op = journal.all[at];
    const newer = journal.all
      .slice(at + 1)
      .some(({ accepted, saga }) => accepted && saga.request.snapshot === snapshot);
    if (newer && heeded)
      this.#world.break(13, `${word} of ${snapshot} after a newer request`, null);
    if (op !== undefined && word === 'deleted') this.#deleted(op);
    if (op !== undefined && word === 'created') this.#created(op);
    if (op !== undefined && word === 'delete-failed') this.#failed(op);
  }

  #deleted({ saga }: Operation): void {
    const truth = this.#truth(saga);
    const gone = saga.kind === 'delete' && saga.at === 'end' ? saga.gone : null;
    if (truth === undefined || gone === null || !truth.attached) return;
    const { disk, it } = truth;
    const live = [...nodesFrom(disk.top)].some(({ file }) => file.name === gone);
    const cold = coldFiles(disk.share, disk.config.file).includes(gone);
    if (live || cold) this.#world.break(8, `${gone} is still in the chain`, it.volume);
    // The word is said again, and the next merge is not yet safe: that is not about this file.
    const next = this.#world.journal.all.some(
      (one) =>
        one.saga.request.volume === it.volume &&
        one.saga.request.snapshot !== saga.request.snapshot &&
        ['merging', 'flushing'].includes(one.saga.at),
    );
    if (next) return;
    const view = restarted(disk);
    const lost = typeof view === 'string' || truth.lost(view) !== null;
    this.#world.saw('what a crash would leave when 90% is said');
    // A header below, which nobody could set back in time, would lose it all the same.
    const guard = this.#world.excuses.get(it.volume)?.has('boot guard') ? 'boot guard' : null;
    const words = `without ${gone} a crash now would lose data`;
    if (lost) this.#world.break(8, words, it.volume, guard);
  }

  #created({ saga }: Operation): void {
    const truth = this.#truth(saga);
    if (truth === undefined || saga.kind !== 'create' || !truth.attached) return;
    const { snapshots } = this.#world.cloud.cinder;
    if (snapshots.get(saga.request.snapshot)?.status !== 'creating') return;
    const { disk, it } = truth;
    const { newFile } = saga.request;
    if (!it.guest.known) {
      this.#world.saw('a create is reported of a guest that is gone');
      const view = coldView(disk.share, newFile, QCOW2);
      const lost = typeof view === 'string' || truth.lost(view) !== null;
      if (lost) this.#world.break(9, `${newFile} is not what the guest left`, it.volume);
      return;
    }
    const live = disk.top === null || disk.node(newFile) !== null;
    const cold = coldFiles(disk.share, disk.config.file).includes(newFile);
    if (live && cold) return;
    // It was when this was journalled; the volume was detached since, and Cinder had given it up.
    const excuses = this.#world.excuses.get(it.volume) ?? new Set();
    const guard = (['offline undo', 'boot guard'] as const).find((one) => excuses.has(one)) ?? null;
    this.#world.break(9, `${newFile} is not in the chain`, it.volume, guard);
  }

  /**
   * QEMU died under a merge whose new header is on disk, and the guest was started again before the
   * header could be set back. Cinder takes
   * the overlay for stale, and removes it at the next attempt (remotefs.py,
   * _delete_stale_snapshot).
   */
  #failed({ saga }: Operation): void {
    const truth = this.#truth(saga);
    const gone = saga.kind === 'delete' && saga.at === 'end' ? saga.gone : null;
    if (truth === undefined || gone === null) return;
    const { disk, it } = truth;
    if (coldFiles(disk.share, disk.config.file).includes(gone)) return;
    this.#world.saw('a failed merge whose header is rewritten');
    if (!isGuarded(this.#world, it)) this.#world.excuse(it.volume, 'boot guard');
  }

  #truth({ request }: Saga) {
    return this.#world.truths.find(({ it }) => it.volume === request.volume);
  }
}

/** In which state an operation must be on disk before the method is called. */
const INTENTS: Readonly<Record<string, readonly string[]>> = {
  snapshot: ['switching'],
  merge: ['merging', 'switching'],
  flush: ['flushing'],
  commitActive: ['committing'],
  pivot: ['pivoting'],
  cancelCommit: ['canceling'],
  mend: ['mending', 'restoring', 'offline'],
  copy: ['offline'],
  sync: ['offline'],
  unchain: ['restoring', 'offline'],
};
