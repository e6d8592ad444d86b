import type { FileName, OperationId, VolumeId } from '#domain/ids.ts';
import type { Saga } from '#domain/saga.ts';
import type { Entry, Operation } from '#ports/journal.ts';
import type { CloudDisk } from '../cloud.ts';
import { nodesFrom } from '../node.ts';
import { coldFiles, type DiskTruth } from './truth.ts';
import type { SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

/** Laws 14 to 16 and 32: how everything ends, once the faults are over. */
export class RestLaws implements Watcher {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** Nobody can say how an unanswered call ends, nor what Cinder would not hear of. */
  reached({ port, method, args }: SeenCall): void {
    if (port !== 'journal') return;
    const { journal, cloud, unclearVolumes } = this.#world;
    if (method === 'commit') {
      const { saga } = args[1] as Entry;
      const parked = saga.at === 'end' && saga.outcome === 'unknown';
      const { volume } = saga.request;
      if (parked) this.#world.parked.set(args[0] as OperationId, this.#world.clock.now());
      if (parked && unclearVolumes.has(volume)) this.#world.excuse(volume, 'drift record');
    }
    if (method !== 'settle' || args[1] !== 'obsolete') return;
    const notice = journal.told.find(({ seq }) => seq === args[0]);
    const row = notice && cloud.cinder.snapshots.get(notice.snapshot);
    if (notice?.update.kind === 'deleted' && row) this.#world.excuse(row.volume, 'drift record');
  }

  rest(): void {
    const { journal, truths } = this.#world;
    for (const { update, state, snapshot } of journal.told) {
      const row = this.#world.cloud.cinder.snapshots.get(snapshot);
      // Merged, and Cinder would not hear it: it still believes in a file that is in no chain.
      if (update.kind !== 'deleted' || state !== 'obsolete' || row === undefined) continue;
      this.#world.saw('a merge that Cinder would not hear of');
      this.#world.excuse(row.volume, 'drift record');
    }
    for (const op of journal.all) if (op.accepted) this.#ended(op);
    for (const truth of truths) if (truth.attached) this.#agree(truth);
  }

  /** What nobody has heard by now, Cinder goes on from by itself. */
  detached({ volume }: CloudDisk): void {
    const unheard = this.#world.journal.all.some(
      ({ saga }) =>
        saga.request.volume === volume &&
        saga.kind === 'delete' &&
        saga.at === 'end' &&
        saga.outcome === 'merged' &&
        this.#unheard(saga),
    );
    if (unheard) this.#world.excuse(volume, 'drift record');
  }

  #ended(op: Operation): void {
    const { saga } = op;
    const { volume, snapshot } = saga.request;
    const law = saga.kind === 'create' ? 15 : 14;
    if (saga.at !== 'end') {
      this.#world.break(law, `${saga.kind} of ${snapshot} is still ${saga.at}`, volume);
      return;
    }
    const one = saga.kind === 'undo' ? 'an undo' : `a ${saga.kind}`;
    this.#world.saw(`${one} ends ${saga.outcome}`);
    const it = this.#world.truths.find((truth) => truth.it.volume === volume);
    const sealed = it !== undefined && it.disk.keys.size > 0;
    if (sealed) this.#world.saw(`${one} of an encrypted volume ends ${saga.outcome}`);
    if (saga.kind === 'create' && this.#givenUp(volume, saga.request.newFile)) {
      this.#world.saw('a create that Cinder gave up, in use');
      const words = `${saga.request.newFile} is in use, and Cinder has given it up`;
      const guard = this.#undoable(op) ? this.#excused(volume) : 'drift record';
      this.#world.break(32, words, volume, guard);
      this.#world.excuse(volume, 'drift record');
    }
    if (saga.kind === 'delete' && saga.outcome === 'merged' && this.#unheard(saga)) {
      this.#world.saw('a merge done that no cinder-volume waited for');
      this.#world.excuse(volume, 'drift record');
    }
    if (saga.kind === 'delete' && saga.outcome === 'failed' && this.#mergedAfterAll(saga)) {
      this.#world.saw('a merge that came through after it was given up');
      this.#world.excuse(volume, 'drift record');
    }
    if (saga.kind === 'delete' && saga.reason.includes('is undone')) {
      this.#world.saw('a header set back by us');
      if (sealed) this.#world.saw('a header of an encrypted file set back by us');
    }
    // Settled or not: nobody may be asked without need.
    if (saga.outcome !== 'unknown' && !this.#world.parked.has(op.id)) return;
    const why = this.#world.unclearVolumes.has(volume) || this.#excused(volume) !== null;
    if (!why) this.#world.break(law, `${saga.kind} of ${snapshot}: ${saga.reason}`, volume);
    this.#world.excuse(volume, 'drift record');
  }

  /**
   * A pull onto a file changed the header that Cinder reads to find out what to ask for, and its
   * `.info` does not know: whatever it asks for now would merge the next layer (refused, as it
   * has to be). A commit it asks for in the same words, and is told that it is done; unless a
   * neighbour's merge has taken away the file below, without which Cinder asks for nothing.
   */
  #unheard({ request }: Extract<Saga, { kind: 'delete' }>): boolean {
    const { volume, snapshot, fileToMerge, mergeTarget } = request;
    const { cinder, share } = this.#world.cloud;
    if (mergeTarget === null ? fileToMerge === null : share.files.has(mergeTarget)) return false;
    return cinder.snapshots.has(snapshot) && cinder.info(volume)?.[snapshot] !== undefined;
  }

  #mergedAfterAll({ gone, request }: Extract<Saga, { kind: 'delete'; at: 'end' }>): boolean {
    const disk = this.#world.truths.find(({ it }) => it.volume === request.volume)?.disk;
    if (gone === null || disk === undefined) return false;
    const merged = this.#world.journal.all.some(
      ({ saga }) =>
        saga.kind === 'delete' &&
        saga.at === 'end' &&
        saga.outcome === 'merged' &&
        saga.gone === gone,
    );
    return !merged && !coldFiles(disk.share, disk.config.file).includes(gone);
  }

  /** In use, and in no chain that Cinder knows. */
  #givenUp(volume: VolumeId, file: FileName): boolean {
    // The headers, which Cinder goes by, have left the chain behind: see that guard.
    if (this.#world.excuses.get(volume)?.has(UNHEALED)) return false;
    const disk = this.#world.truths.find(({ it }) => it.volume === volume)?.disk;
    if (disk === undefined) return false;
    const live = [...nodesFrom(disk.top)].map((node) => node.file.name);
    // A guest whose other disk has lost a file does not start again; this one's is still its own.
    const files = disk.top === null ? coldFiles(disk.share, disk.config.file) : live;
    return files.includes(file) && !this.#cinderHas(volume, file);
  }

  /** Cinder has said so, in time and of what it attaches, and the guest runs. */
  #undoable({ saga, updatedAt }: Operation): boolean {
    if (saga.kind !== 'create' || saga.at !== 'end' || saga.made === undefined) return false;
    const { cloud, truths, clock, journal, unclearVolumes } = this.#world;
    const { volume, snapshot } = saga.request;
    // A switch that was never answered may come through after it was undone; or a person has it.
    const parked = journal.all.some(
      (one) =>
        one.saga.kind === 'undo' &&
        one.saga.request.snapshot === snapshot &&
        one.saga.at === 'end' &&
        ['unknown', 'failed'].includes(one.saga.outcome),
    );
    if (unclearVolumes.has(volume) || parked) return false;
    const truth = truths.find(({ it }) => it.volume === volume);
    const [attachment] = cloud.cinder.attachmentsOf(volume);
    if (!truth?.running || attachment?.name !== saga.made.before.file) return false;
    const { status = 'gone' } = cloud.cinder.snapshots.get(snapshot) ?? {};
    const said = ['error', 'gone', 'deleting', 'error_deleting'].includes(status);
    return said && clock.now() - updatedAt < CARED_FOR_MS;
  }

  #cinderHas(volume: VolumeId, file: FileName): boolean {
    const { cinder, share } = this.#world.cloud;
    const active = cinder.info(volume)?.active ?? (`volume-${volume}` as FileName);
    return coldFiles(share, active).includes(file);
  }

  #agree({ disk, it }: DiskTruth): void {
    const live = [...nodesFrom(disk.top)].map(({ file }) => file.name);
    const cold = coldFiles(disk.share, disk.config.file);
    this.#world.saw('a chain at rest');
    if (live.length > 0 && live.join() !== cold.join()) {
      const excused = this.#world.excuses.get(it.volume)?.has(UNHEALED) ? UNHEALED : null;
      this.#world.break(16, `live ${live}, by the headers ${cold}`, it.volume, excused);
    }
    const { cinder } = this.#world.cloud;
    const active = cinder.info(it.volume)?.active ?? `volume-${it.volume}`;
    if (active === (live[0] ?? cold[0])) return;
    const guard = this.#excused(it.volume);
    this.#world.break(
      16,
      `${live[0] ?? cold[0]} is active, Cinder says ${active}`,
      it.volume,
      guard,
    );
  }

  #excused(volume: DiskTruth['it']['volume']) {
    const [guard = null] = this.#world.excuses.get(volume) ?? [];
    return guard;
  }
}

/** As long as Cinder may take to make up its mind, less the time that an undo takes. */
const CARED_FOR_MS = 840_000;

const UNHEALED = 'boot guard';
