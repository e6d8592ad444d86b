import type { FileName, Format, OperationId, SnapshotId, VolumeId } from '#domain/ids.ts';
import type { Saga } from '#domain/saga.ts';
import type { Update } from '#domain/status.ts';
import type { MergeOrder, SnapshotOrder } from '#ports/hypervisor.ts';
import type { CopyOrder } from '#ports/images.ts';
import type { SnapshotRow } from '../cinder-rows.ts';
import { nodesFrom } from '../node.ts';
import { coldFiles, type DiskTruth } from './truth.ts';
import type { Asked, SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

/** How often a look is taken at every snapshot. */
const EVERY = 12;

/** What must stay true for good: more of the laws 4, 5, 8, 9, 10, 14 to 16 and 23. */
export class LastingLaws implements Watcher {
  readonly #world: World;
  #moments = 0;
  /** Snapshots whose content a commit has begun to overwrite. */
  readonly #overwritten = new Set<SnapshotId>();
  readonly #formats = new Map<string, Format>();
  /** When a request for a snapshot was last answered, and its status last seen, in operations. */
  readonly #asked = new Map<SnapshotId, number>();
  readonly #seen = new Map<SnapshotId, number>();

  constructor(world: World) {
    this.#world = world;
  }

  answered({ snapshot }: Asked): void {
    this.#asked.set(snapshot, this.#world.operations);
  }

  back({ port, method, args }: SeenCall): void {
    if (port !== 'cinder' || method !== 'snapshot') return;
    this.#seen.set(args[0] as SnapshotId, this.#world.operations);
  }

  calling({ port, method, args }: SeenCall): void {
    if (port === 'libvirt' && method === 'merge') this.#merges(args[0] as MergeOrder);
    if (port === 'images' && method === 'copy') this.#copies(args[0] as CopyOrder);
    if (port === 'libvirt' && method === 'snapshot') this.#switches(args[0] as SnapshotOrder);
    if (port === 'cinder' && method === 'update')
      this.#says(args[0] as SnapshotId, args[1] as Update);
  }

  reached({ port, method, args }: SeenCall): void {
    if (port !== 'journal' || method !== 'commit') return;
    const saga = this.#saga(args[0] as OperationId);
    if (saga === null) return;
    this.#withdrawn(saga);
    const { volume } = saga.request;
    for (const [file, format] of this.#world.journal.recorded(volume)) {
      const key = `${volume} ${file}`;
      const known = this.#formats.get(key);
      this.#formats.set(key, format);
      if (known === undefined || known === format) continue;
      this.#world.break(5, `${file} was recorded as ${known}, now as ${format}`, volume);
    }
  }

  moment(): void {
    if (this.#moments++ % EVERY === 0) this.look();
  }

  rest(): void {
    this.look();
    for (const truth of this.#world.truths) this.#named(truth);
  }

  look(): void {
    for (const row of this.#world.cloud.cinder.snapshots.values()) {
      if (row.status !== 'available' || this.#world.meddled.has(row.id)) continue;
      if (this.#overwritten.has(row.id)) {
        this.#world.break(4, `${row.id} is available, and a commit has overwritten it`, row.volume);
      }
      this.#inUse(row);
    }
    for (const truth of this.#world.truths) this.#gone(truth);
  }

  /** Law 8: a file that Cinder heard may go is in no chain, now or after a crash, for ever. */
  #gone({ disk, it }: DiskTruth): void {
    if (!this.#attached(it.volume)) return;
    const { journal } = this.#world;
    const chains = new Set<string>(coldFiles(disk.share, disk.config.file));
    for (const { file } of nodesFrom(disk.top)) chains.add(file.name);
    for (const { update, state, operation } of journal.told) {
      const saga = update.kind === 'deleted' && state === 'accepted' ? this.#saga(operation) : null;
      if (saga?.kind !== 'delete' || saga.at !== 'end' || saga.gone === null) continue;
      if (saga.request.volume !== it.volume) continue;
      this.#world.saw('a file that Cinder heard may go');
      if (!chains.has(saga.gone)) continue;
      const [guard = null] = this.#world.excuses.get(it.volume) ?? [];
      this.#world.break(8, `${saga.gone} may go, and is in a chain`, it.volume, guard);
    }
  }

  /** Law 9: what was reported as created stays in the chain until somebody merges it away. */
  #inUse({ id, volume }: SnapshotRow): void {
    const truth = this.#truth(volume);
    const file = this.#world.cloud.cinder.info(volume)?.[id];
    if (truth === undefined || file === undefined || this.#mergedAway(volume, file)) return;
    if (!this.#attached(volume)) return;
    // A transient guest that is gone has no chain: whoever makes it anew takes what Cinder names.
    if (!truth.it.guest.known) return;
    const { disk } = truth;
    this.#world.saw('an overlay of a snapshot that is available');
    const live = disk.top === null || disk.node(file) !== null;
    const cold = coldFiles(disk.share, disk.config.file).includes(file);
    if (live && cold) return;
    const where = live ? 'and a crash would leave it out' : 'and not in the live chain';
    const [guard = null] = this.#world.excuses.get(volume) ?? [];
    this.#world.break(9, `${file} belongs to a snapshot, ${where}`, volume, guard);
  }

  #mergedAway(volume: VolumeId, file: FileName): boolean {
    return this.#world.journal.all.some(({ saga }) => {
      if (saga.kind !== 'delete' || saga.request.volume !== volume) return false;
      if (saga.at === 'end' || saga.at === 'confirming') return saga.gone === file;
      if (!('plan' in saga)) return false;
      const { merge, before } = saga.plan;
      return file === (merge.kind === 'commit' ? merge.top : before.on?.file);
    });
  }

  /** Law 16: what Cinder lists is there, in the order and of the formats that QEMU has. */
  #named({ disk, it }: DiskTruth): void {
    if (!this.#attached(it.volume)) return;
    const { cinder } = this.#world.cloud;
    const cold = coldFiles(disk.share, disk.config.file);
    const [guard = null] = this.#world.excuses.get(it.volume) ?? [];
    const info = cinder.info(it.volume) ?? {};
    for (const [whose, file] of Object.entries(info)) {
      if (cold.includes(file as FileName) || this.#mergedAway(it.volume, file as FileName))
        continue;
      // What it was at by itself when cinder-volume died: whoever writes .info anew may not know.
      if (this.#world.offline.has(whose as SnapshotId) && !disk.share.files.has(file as FileName)) {
        this.#world.excuse(it.volume, 'drift record');
        continue;
      }
      this.#world.break(16, `Cinder lists ${file} for ${whose}`, it.volume, guard);
    }
    const name = cinder.attachmentsOf(it.volume)[0]?.name ?? null;
    if (name !== cold[0] && guard === null) {
      this.#world.break(16, `${cold[0]} is active, the attachment says ${name}`, it.volume);
    }
    for (const { file, driver: format } of nodesFrom(disk.top)) {
      this.#world.saw('a format at rest');
      if (file.format === format) continue;
      this.#world.break(16, `${file.name} is ${file.format}, open as ${format}`, it.volume);
    }
  }

  /** Laws 14 and 15: whoever withdraws leaves no Cinder waiting. */
  #withdrawn(saga: Saga): void {
    if (saga.at !== 'end' || saga.outcome !== 'withdrawn' || saga.kind === 'undo') return;
    const { snapshot, volume } = saga.request;
    const { status } = this.#world.cloud.cinder.snapshots.get(snapshot) ?? {};
    this.#world.saw('a request is withdrawn from');
    if (status !== (saga.kind === 'create' ? 'creating' : 'deleting')) return;
    // What Cinder has set since it was looked at, it has still to ask for.
    if ((this.#asked.get(snapshot) ?? 0) < (this.#seen.get(snapshot) ?? 0)) return;
    const law = saga.kind === 'create' ? 15 : 14;
    this.#world.break(law, `${snapshot} is ${status}, and was withdrawn from`, volume);
  }

  /** Law 23: only the files that the request names are merged, or switched to. */
  #copies({ chain, merge }: CopyOrder): void {
    const volume = this.#world.volumeOf(chain.file);
    if (volume !== undefined) this.#merges({ volume, merge }, 'offline');
  }

  #merges({ volume, merge }: Pick<MergeOrder, 'volume' | 'merge'>, at = 'merging'): void {
    const saga = this.#world.journal.all.find(
      (one) => one.saga.request.volume === volume && one.saga.at === at,
    )?.saga;
    if (saga?.kind !== 'delete') return;
    const { fileToMerge, mergeTarget, snapshot } = saga.request;
    if (merge.kind === 'commit') this.#overwritten.add(snapshot);
    this.#world.saw(`a ${merge.kind} of the files that were named`);
    const asked =
      merge.kind === 'commit'
        ? merge.top === fileToMerge && merge.into === mergeTarget
        : merge.onto === fileToMerge && mergeTarget === null;
    if (!asked) this.#world.break(23, `a ${merge.kind} of files that nobody named`, volume);
  }

  #switches({ volume, file }: SnapshotOrder): void {
    const named = this.#world.journal.all.some(
      ({ saga }) =>
        saga.kind === 'create' && saga.at === 'switching' && saga.request.newFile === file,
    );
    if (!named) this.#world.break(23, `${file} is switched to and nobody named it`, volume);
  }

  /** Law 10: what is said is what the operation has ended with, on disk. */
  #says(snapshot: SnapshotId, { kind }: Update): void {
    if (kind === 'deleting') return;
    const wanted = OUTCOMES[kind];
    const notices = this.#world.journal.told.filter(
      (one) => one.snapshot === snapshot && one.update.kind === kind && one.state === 'pending',
    );
    const proven = notices.some(({ operation }) => {
      const saga = this.#saga(operation);
      return saga?.at === 'end' && saga.outcome === wanted;
    });
    if (!proven) this.#world.break(10, `${kind} of ${snapshot} is said without its end`, null);
  }

  #saga(operation: OperationId): Saga | null {
    return this.#world.journal.all.find(({ id }) => id === operation)?.saga ?? null;
  }

  /** What nobody has attached is Cinder's own: see OfflineLaws. */
  #attached(volume: VolumeId): boolean {
    return this.#world.cloud.cinder.attachmentsOf(volume).length > 0;
  }

  #truth(volume: VolumeId): DiskTruth | undefined {
    return this.#world.truths.find(({ it }) => it.volume === volume);
  }
}

const OUTCOMES = {
  created: 'created',
  deleted: 'merged',
  'create-failed': 'failed',
  'delete-failed': 'failed',
} as const;
