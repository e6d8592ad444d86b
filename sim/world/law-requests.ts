import type { Fault } from '#domain/failure.ts';
import type { FileName, OperationId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { Answer } from '#ports/assisted-snapshots.ts';
import type { MergeOrder, SnapshotOrder } from '#ports/hypervisor.ts';
import type { Operation } from '#ports/journal.ts';
import type { SimDisk } from '../disk.ts';
import type { BlockJob } from '../job.ts';
import type { Asked, SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

const CREATE_TIMEOUT_MS = 540_000;
const WITHIN_MS = 10_000;
/** remotefs.py: how long Cinder waits for a create. */
const CINDER_WAITS_MS = 600_000;
const IN_EFFECT: readonly string[] = [
  'mending',
  'switching',
  'merging',
  'flushing',
  'restoring',
  'offline',
];

/** Laws 20 to 22 and 27 to 29: what becomes of a request. */
export class RequestLaws implements Watcher {
  readonly #world: World;
  readonly #waiting = new Map<string, number>();
  readonly #arrived = new Map<string, number>();
  /** The job on each disk, and the operation that began it. */
  readonly #jobs = new Map<
    SimDisk,
    { job: BlockJob; of: OperationId | null; process: string | null }
  >();
  /** The job that was there when the last merge was asked for. */
  #before: BlockJob | null = null;
  /** Operations that this process has accepted, which need no wall clock. */
  readonly #own = new Map<OperationId, number>();
  readonly #merges = new Map<OperationId, string | null>();

  constructor(world: World) {
    this.#world = world;
  }

  asked({ requestId, at }: Asked): void {
    this.#arrived.set(requestId, at);
    this.#waiting.set(requestId, at);
  }

  answered({ requestId, volume }: Asked, answer: Answer): void {
    const { journal, clock } = this.#world;
    const began = this.#waiting.get(requestId) ?? clock.now();
    this.#waiting.delete(requestId);
    if (clock.now() - began > WITHIN_MS) {
      this.#world.break(28, `${requestId} was answered after ${clock.now() - began} ms`, volume);
    }
    if (answer.ok) {
      const { operation } = answer.value;
      if (operation === null) {
        this.#world.saw('a snapshot that Cinder does not know');
        return;
      }
      const row = journal.all.find(({ id }) => id === operation);
      if (row?.requestId === requestId) this.#own.set(operation, began);
      this.#world.saw(row?.requestId === requestId ? 'a request accepted' : 'a request joined');
      if (row?.accepted !== true) this.#world.break(28, `${operation} is not journalled`, volume);
      return;
    }
    this.#world.saw(`a request answered with a ${answer.error.kind}`);
    if (answer.error.kind === 'refused') this.#world.saw(`refused: ${answer.error.refusal.kind}`);
    if (journal.all.some((one) => one.accepted && one.requestId === requestId)) {
      this.#world.break(27, `${requestId} was refused and is journalled`, volume);
    }
  }

  calling({ port, method, args }: SeenCall): void {
    if (port !== 'libvirt' || method !== 'snapshot') return;
    const [{ file, volume }] = args as [SnapshotOrder];
    const op = this.#world.journal.all.find(
      ({ saga }) => saga.at === 'switching' && saga.request.newFile === file,
    );
    const asked = this.#arrived.get(op?.requestId ?? '');
    if (asked === undefined) return;
    const age = this.#world.clock.now() - asked;
    this.#world.saw(age > 60_000 ? 'a switch long after the request' : 'a switch');
    const own = op !== undefined && this.#own.has(op.id);
    if (age >= (own ? CREATE_TIMEOUT_MS + WITHIN_MS : CINDER_WAITS_MS)) {
      const words = `${file} is switched to ${age} ms after it was asked for`;
      this.#world.break(29, words, volume, this.#unknowable(op));
    }
  }

  /**
   * The process that accepted it is gone, and its clock with it; the wall clock jumped back; and no
   * cinder-volume lives to say that nobody waits. What is left is to undo it when one does.
   */
  #unknowable(op: Operation | undefined) {
    const { clock, skewMs } = this.#world;
    if (op === undefined || this.#own.has(op.id)) return null;
    return clock.now() + skewMs - op.askedAt < CREATE_TIMEOUT_MS ? 'offline undo' : null;
  }

  reaching({ port, method, args }: SeenCall): void {
    if (port !== 'libvirt' || method !== 'merge') return;
    const [{ volume }] = args as [MergeOrder];
    this.#before = this.#world.cloud.disks.find((one) => one.volume === volume)?.disk.job ?? null;
    if (this.#before !== null) this.#world.saw('a merge is asked for while a job runs');
  }

  reached(call: SeenCall, answer: unknown): void {
    if (call.port === 'journal' && call.method === 'commit') {
      this.#inEffect();
      this.#inTime(call.args[0] as OperationId);
    }
    if (call.port === 'libvirt' && call.method === 'snapshot') this.#switched(answer);
    if (call.port !== 'libvirt' || call.method !== 'merge') return;
    if ((answer as { ok: boolean }).ok) this.#began((call.args[0] as MergeOrder).volume);
  }

  /** What no look at the header could have told before. */
  #switched(answer: unknown): void {
    const it = answer as Result<null, Fault>;
    if (it.ok || it.error.kind !== 'rejected') return;
    this.#world.saw(`an overlay that libvirt refuses: ${it.error.code}`);
  }

  #began(volume: VolumeId): void {
    const found = this.#world.cloud.disks.find((one) => one.volume === volume);
    const job = found?.disk.job ?? null;
    if (found === undefined || job === null) return;
    const before = this.#before;
    if (before !== null && before !== job) {
      this.#world.break(21, `a ${before.kind} on ${found.disk.target} gave way to ours`, volume);
    }
    const op = this.#world.journal.all.find(
      ({ saga }) => saga.request.volume === volume && saga.at === 'merging',
    );
    this.#jobs.set(found.disk, { job, of: op?.id ?? null, process: found.guest.process });
  }

  ended(): void {
    this.#waiting.clear();
    this.#own.clear();
  }

  moment(): void {
    for (const [disk, { job, of, process }] of this.#jobs) {
      if (disk.job === job) continue;
      this.#jobs.delete(disk);
      if (job.phase !== 'over') continue;
      this.#world.saw(job.failed ? 'a job of ours fails' : `a ${job.kind} of ours completes`);
      if (job.failed || of === null) continue;
      // A merge that a dying QEMU lost is done again; in one QEMU it is done once.
      if (this.#merges.has(of) && this.#merges.get(of) === process) {
        this.#world.break(20, `operation ${of} has merged twice`, disk.volume);
      }
      this.#merges.set(of, process);
    }
  }

  rest(): void {
    for (const requestId of this.#waiting.keys()) {
      this.#world.break(28, `${requestId} was never answered`, null);
    }
    for (const { it, disk } of this.#world.truths) this.#untouched(it.volume, disk);
  }

  /** Of one that is encrypted with AES, or of no file that can be named, nothing is accepted. */
  #untouched(volume: VolumeId, disk: SimDisk): void {
    const base = disk.share.file(`volume-${volume}` as FileName);
    if (base?.luks) this.#world.saw('an encrypted volume at rest');
    if (base !== null && base.protocol !== null) this.#world.saw('a network volume at rest');
    const named = base !== null && disk.share.home(base.protocol) !== null;
    if (base === null || (disk.cipher === 'luks' && named)) return;
    const asked = this.#world.journal.all.some(({ saga }) => saga.request.volume === volume);
    if (!named) this.#world.saw('a network volume that is refused, at rest');
    if (asked || disk.config.on !== null || disk.config.file !== base.name) {
      this.#world.break(27, `something was done with ${base.name}`, volume);
    }
  }

  /** Law 35: whatever the wall clock says, a create has its time. */
  #inTime(id: OperationId): void {
    const began = this.#own.get(id);
    const saga = this.#world.journal.all.find((one) => one.id === id)?.saga;
    if (began === undefined || saga?.at !== 'end' || !/stopped waiting/.test(saga.reason)) return;
    const age = this.#world.clock.now() - began;
    this.#world.saw('a create given up for its age');
    if (age < CREATE_TIMEOUT_MS) {
      this.#world.break(35, `a create was given up after ${age} ms`, saga.request.volume);
    }
  }

  #inEffect(): void {
    const busy = new Set<VolumeId>();
    for (const { saga, accepted } of this.#world.journal.all) {
      if (!accepted || !IN_EFFECT.includes(saga.at)) continue;
      const { volume } = saga.request;
      if (busy.has(volume)) this.#world.break(22, `two operations of ${volume} in effect`, volume);
      busy.add(volume);
    }
    if (busy.size > 1) this.#world.saw('two volumes at once');
  }
}
