import type { Merge } from '#domain/chain.ts';
import { type FileName, QCOW2, type SnapshotId, type VolumeId } from '#domain/ids.ts';
import type { Saga } from '#domain/saga.ts';
import type { SnapshotOrder } from '#ports/hypervisor.ts';
import type { CopyOrder } from '#ports/images.ts';
import type { CinderStep } from '../cinder-life.ts';
import type { SnapshotRow } from '../cinder-rows.ts';
import type { CloudDisk } from '../cloud.ts';
import type { StartFrom } from '../disk.ts';
import { nodesFrom } from '../node.ts';
import { isGuarded, isKeptOff } from './boot-guard.ts';
import type { Guests } from './guests.ts';
import type { MissingGuard } from './laws.ts';
import { misled } from './misled.ts';
import {
  coldFiles,
  coldView,
  type DiskTruth,
  type Headers,
  headersOf,
  readNow,
  restarted,
  standsOn,
} from './truth.ts';
import type { SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

/** How often a look is taken at what a crash would leave, and at what snapshots have frozen. */
const EVERY = 24;

/** Laws 1 to 4: what guests and snapshots read, now and after a crash. */
export class BytesLaws implements Watcher {
  readonly #world: World;
  readonly #guests: Guests;
  #moments = 0;
  #operations = -1;
  #before: Headers = new Map();
  /** Snapshots under deletion: how, and the file that holds what they froze. */
  readonly #merging = new Map<SnapshotId, Merging>();
  /** Of those, whose end Cinder has been told: the file may go. */
  readonly #told = new Set<SnapshotId>();
  /** Volumes of which Cinder has merged by itself what we had merged, or had begun to. */
  readonly #again = new Set<VolumeId>();

  constructor(world: World, guests: Guests) {
    this.#world = world;
    this.#guests = guests;
    guests.killed = (truth) => this.#killed(truth, 'QEMU was killed');
    guests.starting = (truth, from) => this.#starts(truth, from);
  }

  reaching({ port, method, args }: SeenCall): void {
    if (port === 'libvirt' && method === 'merge') {
      this.#before = headersOf(this.#world.cloud.share);
    }
    if (port === 'images' && method === 'copy') this.#copies(args[0] as CopyOrder);
  }

  reached(call: SeenCall, answer: unknown): void {
    if (call.port !== 'libvirt' || !(answer as { ok: boolean }).ok) return;
    const [order] = call.args as [SnapshotOrder?];
    const truth = this.#world.truths.find(({ it }) => it.volume === order?.volume);
    if (truth === undefined || order === undefined) return;
    if (call.method === 'snapshot') this.#froze(truth, order);
    if (call.method === 'merge') this.#began(truth);
  }

  cinder(step: CinderStep, snapshot: SnapshotId): void {
    if (step === 'after a commit of its own') {
      const begun = this.#told.has(snapshot) || this.#merging.has(snapshot);
      this.#merging.set(snapshot, { kind: 'commit', file: null });
      const volume = this.#world.cloud.cinder.snapshots.get(snapshot)?.volume;
      if (volume !== undefined && begun) this.#again.add(volume);
    }
  }

  calling({ port, method, args }: SeenCall): void {
    if (port !== 'cinder' || method !== 'update') return;
    const [snapshot, update] = args as [SnapshotId, { kind: string }];
    if (update.kind !== 'deleted') return;
    // From here on Cinder may remove the file: setting headers back is no way out any more.
    for (const { unproven } of this.#world.truths) {
      const at = unproven.findIndex((one) => one.snapshot === snapshot);
      if (at >= 0) unproven.splice(at, 1);
    }
    this.#told.add(snapshot);
  }

  moment(): void {
    const { truths, operations } = this.#world;
    this.#moments++;
    const moved = operations !== this.#operations;
    this.#operations = operations;
    for (const truth of truths) {
      if (!moved && truth.disk.job === null) continue;
      const at = truth.differs();
      if (at !== null) {
        this.#break(1, truth, `cluster ${at} of ${truth.disk.target} reads otherwise`);
        truth.startedOn(truth.disk.view());
      }
    }
    if (this.#moments % EVERY === 0) this.look();
  }

  /** What a crash now would leave, and what the snapshots have. */
  look(): void {
    for (const truth of this.#world.truths) {
      if (truth.running) this.#killed(truth, 'killed now');
      this.#snapshots(truth);
    }
  }

  /** Whoever takes a disk away does not wait for anyone to have looked at it either. */
  detached(it: CloudDisk): void {
    for (const one of this.#world.truths) if (one.it === it) this.#starts(one, 'the top file');
  }

  rest(): void {
    this.look();
  }

  /** An overlay is on top: what is below is what the snapshot has from now on. */
  #froze(truth: DiskTruth, { file, active }: SnapshotOrder): void {
    const { disk, frozen } = truth;
    const id = file.slice(-36) as SnapshotId;
    if (frozen.has(id)) return;
    const below = disk.node(file)?.backing ?? null;
    if (below !== null) {
      const length = truth.bytes.length;
      frozen.set(
        id,
        Array.from({ length }, (_, at) => below.read(at)),
      );
      truth.durable();
      return;
    }
    if (disk.top !== null || disk.config.file !== file) return;
    // What it was made as: the XML of a guest that is off forgets what is below (measured).
    const view = coldView(disk.share, active, disk.share.file(active)?.format ?? QCOW2);
    if (typeof view !== 'string') frozen.set(id, view);
  }

  #began(truth: DiskTruth): void {
    const { volume } = truth.it;
    const op = this.#world.journal.all.find(
      ({ saga }) => saga.request.volume === volume && saga.at === 'merging',
    );
    const snapshot = op?.saga.request.snapshot ?? null;
    truth.unproven.push({ headers: this.#before, snapshot });
    if (op?.saga.at === 'merging') this.#overwrites(op.saga);
  }

  #copies({ chain }: CopyOrder): void {
    for (const { saga } of this.#world.journal.all) {
      if (saga.at === 'offline' && saga.plan.before.file === chain.file) this.#overwrites(saga);
    }
  }

  #overwrites({ plan, request: { snapshot }, at }: Merger): void {
    const { merge, before } = plan;
    // What a commit has begun to overwrite no later pull brings back.
    if (this.#merging.get(snapshot)?.kind === 'commit') return;
    // Who asks with other arguments than Cinder's merges something else than what it froze.
    const frozen = before.file.endsWith(snapshot) ? (before.on?.file ?? null) : null;
    this.#merging.set(snapshot, { kind: merge.kind, file: frozen });
    this.#world.saw(`a ${merge.kind} begins${at === 'offline' ? ', the guest being off' : ''}`);
  }

  /** What it flushed is there, or somewhere yet; and until it is back no guest starts on it. */
  #killed(truth: DiskTruth, when: string): void {
    if (this.#whole(truth)) return;
    const { disk, it } = truth;
    const view = restarted(disk);
    const lost = typeof view === 'string' ? view : `cluster ${truth.lost(view)} is lost`;
    const guard = isGuarded(this.#world, it) ? null : 'boot guard';
    if (!this.#wouldSurvive(truth)) this.#break(2, truth, `${when}, ${disk.target}: ${lost}`);
    else if (isKeptOff(this.#world, truth)) this.#world.saw('a chain that is not whole is held');
    else this.#break(2, truth, `${when}, ${disk.target} may start as it is: ${lost}`, guard);
  }

  /**
   * The guest starts from what is on disk. The service had its time to set a header back once the
   * world is quiet; before that a guest may come back before anyone has looked.
   */
  #starts(truth: DiskTruth, from: StartFrom): void {
    const { swarm, unclearVolumes } = this.#world;
    if (this.#whole(truth, from)) return;
    // A transient guest is gone with its QEMU: the service finds nobody to set it back for.
    const doubtful = unclearVolumes.has(truth.it.volume) || truth.it.guest.transient;
    const guarded = isGuarded(this.#world, truth.it);
    if (!this.#guests.repair(truth, () => this.#changed(truth).length === 0)) return;
    this.#world.saw('a header set back by a person');
    truth.disk.configure();
    this.#world.tell('operator', `sets the headers of ${truth.disk.target} back`);
    const guard = guarded || (swarm.quiet && !doubtful) ? null : 'boot guard';
    this.#break(2, truth, `${truth.disk.target} needed a person to set its headers back`, guard);
  }

  /** A guest that started now would read what it has to, and its snapshots would have theirs. */
  #whole(truth: DiskTruth, from?: StartFrom): boolean {
    const view = restarted(truth.disk, from);
    return typeof view !== 'string' && truth.lost(view) === null && !this.#changed(truth).length;
  }

  #wouldSurvive(truth: DiskTruth): boolean {
    if (this.#whole(truth)) return true;
    const headers = headersOf(truth.disk.share);
    const whole = this.#guests.repair(truth, () => this.#changed(truth).length === 0);
    for (const [name, header] of headers) {
      const file = truth.disk.share.file(name);
      if (file !== null) file.header = header;
    }
    return whole;
  }

  #snapshots(truth: DiskTruth): void {
    // While the guest is down, a header may have to be set back first.
    if (!truth.running && truth.attached && this.#wouldSurvive(truth)) return;
    for (const [law, at, id] of this.#changed(truth)) {
      this.#break(law, truth, `cluster ${at} of snapshot ${id} changed`);
    }
  }

  /** The snapshots that do not read as they were frozen, and the laws that this breaks. */
  #changed(truth: DiskTruth): readonly (readonly [law: number, at: number, id: SnapshotId])[] {
    const { cloud, meddled } = this.#world;
    const changed: [number, number, SnapshotId][] = [];
    for (const row of cloud.cinder.snapshots.values()) {
      const kept = truth.frozen.get(row.id);
      if (row.volume !== truth.it.volume || kept === undefined) continue;
      const merging = this.#merging.get(row.id);
      const pulling = row.status === 'deleting' && !this.#told.has(row.id);
      const pulled = pulling && merging?.kind === 'pull' ? merging.file : null;
      if (!KEPT.includes(row.status) && pulled === null) continue;
      if (merging !== undefined && meddled.has(row.id) && this.#merged(truth, row, merging))
        continue;
      if (this.#nobodys(truth, row)) continue;
      const view =
        pulled === null ? standsOn(truth, this.#overlay(truth, row)) : readNow(truth.disk, pulled);
      if (view === null) continue;
      const law = pulled === null ? 3 : 4;
      this.#world.saw(law === 3 ? 'a snapshot is read' : 'a snapshot read while it is pulled away');
      const at = kept.findIndex((one, cluster) => view[cluster] !== one);
      if (at >= 0) changed.push([law, at, row.id]);
    }
    return changed;
  }

  /** The overlay that Cinder has for a snapshot. */
  #overlay({ it }: Pick<DiskTruth, 'it'>, { id }: SnapshotRow): FileName | undefined {
    return this.#world.cloud.cinder.info(it.volume)?.[id];
  }

  /** Whoever resets a snapshot that a commit has overwritten or a pull left out has none. */
  #merged({ disk, it }: DiskTruth, row: SnapshotRow, { kind, file }: Merging): boolean {
    const overlay = this.#overlay({ it }, row);
    if (kind === 'commit' || file === null || overlay === undefined) return true;
    const open = [...nodesFrom(disk.top)].map((node) => node.file.name);
    return !(open.includes(overlay) ? open : coldFiles(disk.share, overlay)).includes(file);
  }

  /**
   * Whoever resets a snapshot whose overlay is in no chain any more has nothing either; nor has one
   * that Cinder gave the file of a merge that only somebody else's 90% had ended.
   */
  #nobodys({ disk, it }: DiskTruth, row: SnapshotRow): boolean {
    const { meddled } = this.#world;
    const overlay = this.#overlay({ it }, row);
    if (overlay === undefined) return false;
    const owner = overlay.slice(-36) as SnapshotId;
    if (owner !== row.id && meddled.has(owner)) return true;
    return meddled.has(row.id) && !coldFiles(disk.share, disk.config.file).includes(overlay);
  }

  #break(law: number, truth: DiskTruth, words: string, guard: MissingGuard | null = null) {
    const why =
      guard ?? (law === 2 ? misled(this.#world, truth) : null) ?? this.#rewritten(law, truth);
    this.#world.break(law, words, truth.it.volume, why);
  }

  /**
   * A merge was called failed whose header was rewritten, and whoever could have set it back had
   * the disk no more. By that header Cinder then commits into what another snapshot stands on.
   */
  #rewritten(law: number, { it }: DiskTruth): MissingGuard | null {
    if (law === 1) return null;
    if (this.#again.has(it.volume)) return 'drift record';
    return this.#world.excuses.get(it.volume)?.has('boot guard') ? 'boot guard' : null;
  }
}

type Merger = Extract<Saga, { at: 'merging' | 'offline' }>;

interface Merging {
  readonly kind: Merge['kind'];
  /** What the overlay stood on. */
  readonly file: FileName | null;
}

const KEPT: readonly string[] = ['available', 'creating'];
