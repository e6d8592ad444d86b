import type { FileName, OperationId, SnapshotId } from '#domain/ids.ts';
import type { Saga } from '#domain/saga.ts';
import type { Update } from '#domain/status.ts';
import type { Answer } from '#ports/assisted-snapshots.ts';
import type { Entry, Notice, Operation } from '#ports/journal.ts';
import { nodesFrom } from '../node.ts';
import { coldFiles } from './truth.ts';
import type { Asked, SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

type Finished = Extract<Saga, { at: 'end' }>;

/**
 * Laws 5, 10, 14 and 15 again, as far as they are about promises: how an operation ended is what
 * Cinder is told, until it has heard it; and that word rests on evidence.
 */
export class PromiseLaws implements Watcher {
  readonly #world: World;
  readonly #evidence = new Map<OperationId, Set<string>>();
  /** What Cinder has answered to each word about a snapshot. */
  readonly #answers = new Map<string, Set<string>>();
  /** By operation: the file that its merge empties, and the one that stands on top meanwhile. */
  readonly #merging = new Map<OperationId, { gone: FileName; active: FileName }>();

  /** Operations that may have changed the chain. */
  readonly #begun = new Set<OperationId>();

  constructor(world: World) {
    this.#world = world;
  }

  calling({ port, method, args }: SeenCall): void {
    if (port !== 'cinder' || method !== 'update') return;
    const [snapshot, update] = args as [SnapshotId, Update];
    if (!('formats' in update)) return;
    const { all, told } = this.#world.journal;
    const unsaid = (one: Notice) => one.snapshot === snapshot && one.state === 'pending';
    const notice = told.find((one) => unsaid(one) && one.update.kind === update.kind);
    const op = all.find(({ id }) => id === notice?.operation);
    if (op === undefined) return;
    this.#formats(op, update);
    this.#rests(op, update.kind);
  }

  reached({ port, method, args }: SeenCall, answer: unknown): void {
    if (port === 'cinder' && method === 'update') {
      const [snapshot, { kind }] = args as [SnapshotId, Update];
      const said = answer as { ok: boolean; value?: string };
      if (said.ok && said.value !== undefined) this.#answered(snapshot, kind).add(said.value);
    }
    if (port !== 'journal') return;
    if (method === 'commit') this.#committed(args[0] as OperationId, args[1] as Entry);
    if (method === 'settle') this.#settled(args[0] as number);
  }

  /** Law 14: a yes to a delete is followed by a word. */
  answered({ kind, snapshot, volume }: Asked, answer: Answer): void {
    if (kind !== 'delete' || !answer.ok || answer.value.operation === null) return;
    const { all, told } = this.#world.journal;
    const op = all.find(({ id }) => id === answer.value.operation);
    const unsaid = told.some((one) => one.operation === op?.id && one.state === 'pending');
    if (op?.saga.at !== 'end' || op.saga.outcome !== 'merged' || unsaid) return;
    const row = this.#world.cloud.cinder.snapshots.get(snapshot);
    if (row?.status !== 'deleting' || row.progress === '90%') return;
    if (this.#world.meddled.has(snapshot)) return;
    this.#world.break(14, `${snapshot} is acknowledged, and nothing more will be said`, volume);
  }

  rest(): void {
    for (const { id, accepted, saga } of this.#world.journal.all) {
      if (!accepted || saga.at !== 'end' || saga.outcome !== 'failed') continue;
      if (saga.kind === 'create') this.#unchanged(saga);
      else if (saga.kind === 'delete' && saga.gone === null) this.#whole(id, saga);
    }
  }

  #committed(id: OperationId, { saga, evidence }: Entry): void {
    const known = this.#evidence.get(id) ?? new Set();
    this.#evidence.set(id, known);
    for (const { kind } of evidence) known.add(kind);
    if (saga.kind === 'delete' && (saga.at === 'merging' || saga.at === 'offline')) {
      const { merge, before } = saga.plan;
      const gone = merge.kind === 'commit' ? merge.top : (before.on?.file ?? before.file);
      this.#merging.set(id, { gone, active: before.file });
    }
    if (IN_EFFECT.includes(saga.at)) this.#begun.add(id);
    if (evidence.some(({ kind }) => kind === 'aborted') && this.#begun.has(id)) {
      this.#world.break(lawOf(saga), `${id} is aborted, and had begun`, saga.request.volume);
    }
    if (saga.at !== 'end') return;
    const words = this.#world.journal.told.filter(({ operation }) => operation === id);
    const expected = WORDS[`${saga.kind} ${saga.outcome}`] ?? '';
    const said = words.map(({ update }) => update.kind).join();
    if (said === expected) return;
    const { snapshot, volume } = saga.request;
    const what = `${saga.kind} of ${snapshot} ended ${saga.outcome}`;
    this.#world.break(lawOf(saga), `${what}, and Cinder is to hear "${said}"`, volume);
  }

  /** A word is settled by Cinder's own answer, or by a newer request. */
  #settled(seq: number): void {
    const { all, told } = this.#world.journal;
    const notice = told.find((one) => one.seq === seq);
    if (notice === undefined || notice.state === 'pending') return;
    const { snapshot, operation, update, state } = notice;
    this.#world.saw(`a word is settled as ${state}`);
    if (this.#answered(snapshot, update.kind).has(state)) return;
    const at = all.findIndex(({ id }) => id === operation);
    const newer = all.slice(at + 1).some(({ saga }) => saga.request.snapshot === snapshot);
    if (state === 'obsolete' && newer) return;
    const saga = all[at]?.saga;
    const words = `${update.kind} of ${snapshot} is settled as ${state}, and Cinder never said so`;
    this.#world.break(saga ? lawOf(saga) : 10, words, saga?.request.volume ?? null);
  }

  /** Law 5: what Cinder is told of a file is what it was made as, and nothing is left out. */
  #formats({ id, saga }: Operation, update: Extract<Update, { formats: unknown }>): void {
    const { volume } = saga.request;
    for (const { file, format } of update.formats) {
      const made = this.#world.cloud.share.file(file)?.format ?? format;
      this.#world.saw('a format is told');
      if (made !== format) {
        this.#world.break(5, `${file} is ${made}, and Cinder is told ${format}`, volume);
      }
    }
    const survivor =
      saga.kind === 'delete'
        ? (saga.request.mergeTarget ?? this.#merging.get(id)?.active)
        : saga.request.newFile;
    if (survivor === undefined || update.formats.some(({ file }) => file === survivor)) return;
    this.#world.break(5, `Cinder is not told what ${survivor} is`, volume);
  }

  /** Law 10: what proves a word is on disk before the word is sent. */
  #rests({ id, saga }: Operation, word: 'created' | 'deleted'): void {
    const known = this.#evidence.get(id) ?? new Set();
    const needed = word === 'created' ? ['switched'] : ['completed', 'flushed'];
    if (known.has('already') || needed.every((kind) => known.has(kind))) return;
    const words = `${word} of ${saga.request.snapshot} rests on ${[...known].join() || 'nothing'}`;
    this.#world.break(10, words, saga.request.volume);
  }

  /** Law 15: a create that failed has changed nothing. */
  #unchanged({ request }: Extract<Finished, { kind: 'create' }>): void {
    const { snapshot, volume, newFile } = request;
    const { journal, truths, meddled } = this.#world;
    // Somebody else said 90%: Cinder itself has put the overlay on top since.
    if (meddled.has(snapshot)) return;
    const disk = truths.find(({ it }) => it.volume === volume)?.disk;
    const other = journal.all.some(
      ({ accepted, saga }) =>
        accepted &&
        saga.request.snapshot === snapshot &&
        saga.kind === 'create' &&
        !(saga.at === 'end' && ['failed', 'withdrawn'].includes(saga.outcome)),
    );
    if (disk === undefined || other) return;
    const live = [...nodesFrom(disk.top)].some(({ file }) => file.name === newFile);
    if (!live && !coldFiles(disk.share, disk.config.file).includes(newFile)) return;
    this.#world.break(15, `${newFile} is in use, and its create was called failed`, volume);
  }

  /** Law 14: a delete that failed, with no doubt about it, has left the file where it was. */
  #whole(id: OperationId, { request }: Extract<Finished, { kind: 'delete' }>): void {
    const { journal, truths } = this.#world;
    const gone = this.#merging.get(id)?.gone;
    const disk = truths.find(({ it }) => it.volume === request.volume)?.disk;
    // Cinder has merged it away by itself, while nobody had the volume.
    if (gone === undefined || disk === undefined || !disk.share.file(gone)) return;
    const merged = journal.all.some(
      (other) =>
        other.id !== id && (goneOf(other) === gone || this.#merging.get(other.id)?.gone === gone),
    );
    if (merged || coldFiles(disk.share, disk.config.file).includes(gone)) return;
    this.#world.break(14, `${gone} was merged away, and its delete was called failed`, disk.volume);
  }

  #answered(snapshot: SnapshotId, kind: string): Set<string> {
    const key = `${snapshot} ${kind}`;
    const known = this.#answers.get(key) ?? new Set();
    this.#answers.set(key, known);
    return known;
  }
}

/** What Cinder hears of each ending; of the others it has nothing to hear. */
const WORDS: Readonly<Record<string, Update['kind']>> = {
  'create created': 'created',
  'create failed': 'create-failed',
  'delete merged': 'deleted',
  'delete failed': 'delete-failed',
};

const IN_EFFECT: readonly string[] = ['switching', 'merging', 'flushing', 'restoring'];

const LAWS = { create: 15, delete: 14, undo: 32 } as const;
const lawOf = ({ kind }: Saga): number => LAWS[kind];

const goneOf = ({ saga }: Operation): FileName | null =>
  saga.kind === 'delete' && saga.at === 'end' ? saga.gone : null;
