import type { FileName, Format, OperationId, VolumeId } from '#domain/ids.ts';
import type { KnownChain } from '#domain/known-chain.ts';
import type { Saga } from '#domain/saga.ts';
import type { Clock } from '#ports/clock.ts';
import type {
  Change,
  Entry,
  EvidenceRow,
  Journal,
  Notice,
  NoticeFilter,
  Operation,
  OperationFilter,
} from '#ports/journal.ts';

/** Everything a journal holds, as it would lie on disk. */
interface Pages {
  readonly operations: Operation[];
  readonly evidence: (EvidenceRow & { readonly operation: OperationId })[];
  readonly notices: Notice[];
  readonly formats: Map<VolumeId, Map<FileName, Format>>;
  readonly chains: Map<VolumeId, KnownChain>;
  readonly defects: Map<string, number>;
  /** By operation: the number of its newest change. */
  readonly changes: Map<OperationId, number>;
  change: number;
  seq: number;
}

/** `lost`: the process dies before the commit is on disk; `kept`: after it, before the answer. */
export type CommitFate = 'done' | 'lost' | 'kept';

/**
 * A journal that survives whoever writes to it. Nothing in it is shared with the outside: what
 * goes in and what comes out is copied.
 */
export class SimJournal implements Journal {
  readonly #clock: Clock;
  #pages: Pages = empty();
  #commits = 0;
  /**
   * Decides what becomes of the n-th commit, counted from 1. One that dies never answers: the
   * process that waits for it is gone.
   */
  fate: (commit: number) => CommitFate = () => 'done';

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get commits(): number {
    return this.#commits;
  }

  /** What opening it again does: a request that was never answered is dropped. */
  reopen(): void {
    const asked = this.#pages.operations.filter((one) => !one.accepted);
    for (const one of asked) remove(this.#pages.operations, one);
  }

  /** Every operation on its pages, oldest first; for whoever looks on. */
  get all(): readonly Operation[] {
    return this.#pages.operations;
  }

  /** Every notice on its pages, oldest first. */
  get told(): readonly Notice[] {
    return this.#pages.notices;
  }

  /** What is known of a volume's chain, as it lies on its pages. */
  known(volume: VolumeId): KnownChain | null {
    return this.#pages.chains.get(volume) ?? null;
  }

  /** The recorded formats of a volume's files, as they lie on its pages. */
  recorded(volume: VolumeId): ReadonlyMap<FileName, Format> {
    return this.#pages.formats.get(volume) ?? new Map();
  }

  snapshot(): unknown {
    return structuredClone(this.#pages);
  }

  restore(snapshot: unknown): void {
    this.#pages = structuredClone(snapshot) as Pages;
  }

  async ask(operation: Operation): Promise<void> {
    const copy = copied(operation);
    if (this.#find(operation.id)) throw new Error(`operation ${operation.id} is there already`);
    this.#pages.operations.push(copy);
    if (copy.accepted) this.#change(copy.id, {});
  }

  async accept(id: OperationId): Promise<void> {
    this.#change(id, { accepted: true });
  }

  async drop(id: OperationId): Promise<void> {
    const found = this.#find(id);
    if (found !== undefined && !found.accepted) remove(this.#pages.operations, found);
  }

  async commit(id: OperationId, entry: Entry): Promise<Notice | null> {
    const fate = this.fate(++this.#commits);
    if (fate === 'lost') return new Promise(() => {});
    const copy = copied(entry);
    const at = this.#clock.now();
    const { saga, trace } = copy;
    this.#change(id, { saga, updatedAt: at, ...(trace && { trace }) });
    for (const one of copy.evidence) {
      this.#pages.evidence.push({ ...one, operation: id, at, seq: ++this.#pages.seq });
    }
    this.#remember(copy);
    if (copy.chain !== null) this.#pages.chains.set(copy.saga.request.volume, copy.chain);
    const notice = copy.tell === null ? null : this.#tell(id, copy, copy.tell);
    if (fate === 'kept') return new Promise(() => {});
    return copied(notice);
  }

  async unfinished(): Promise<readonly Operation[]> {
    const open = this.#pages.operations.filter((one) => one.accepted && one.saga.at !== 'end');
    return copied(open);
  }

  async operation(id: OperationId): Promise<Operation | null> {
    return copied(this.#find(id) ?? null);
  }

  async operations(filter: OperationFilter): Promise<readonly Operation[]> {
    const { snapshot, volume, kind, limit } = filter;
    const wanted = ({ accepted, saga }: Operation) =>
      accepted &&
      (snapshot === undefined || saga.request.snapshot === snapshot) &&
      (volume === undefined || saga.request.volume === volume) &&
      (kind === undefined || saga.kind === kind);
    return copied(this.#pages.operations.filter(wanted).reverse().slice(0, limit));
  }

  async evidence(id: OperationId): Promise<readonly EvidenceRow[]> {
    const rows = this.#pages.evidence.filter((one) => one.operation === id);
    return rows.map(({ operation: _, ...row }) => copied(row));
  }

  async changes(after: number, limit: number): Promise<readonly Change[]> {
    const newer = [...this.#pages.changes].filter(([, seq]) => seq > after);
    const found = newer.sort(([, a], [, b]) => a - b).slice(0, limit);
    return found.flatMap(([id, seq]) => {
      const operation = this.#find(id);
      return operation === undefined ? [] : [{ seq, operation: copied(operation) }];
    });
  }

  async lastChange(): Promise<number> {
    return this.#pages.change;
  }

  async notices({ operation, state }: NoticeFilter): Promise<readonly Notice[]> {
    const wanted = (one: Notice) =>
      (operation === undefined || one.operation === operation) &&
      (state === undefined || one.state === state);
    return copied(this.#pages.notices.filter(wanted));
  }

  async settle(seq: number, state: 'accepted' | 'obsolete', tookMs?: number): Promise<void> {
    const { notices } = this.#pages;
    const at = notices.findIndex((one) => one.seq === seq);
    const found = notices[at];
    const took = tookMs === undefined ? {} : { tookMs };
    if (found !== undefined) notices[at] = { ...found, state, ...took };
  }

  async formats(volume: VolumeId): Promise<ReadonlyMap<FileName, Format>> {
    return new Map(this.#pages.formats.get(volume));
  }

  async chain(volume: VolumeId): Promise<KnownChain | null> {
    return copied(this.known(volume));
  }

  async prune(before: number, limit: number, over: (saga: Saga) => boolean): Promise<number> {
    const { operations, notices, evidence, defects, changes } = this.#pages;
    const volumeOf = ({ saga }: Operation) => saga.request.volume;
    const gone = operations
      .filter((one, at) => {
        const { id, saga, accepted, updatedAt } = one;
        if (!accepted || saga.at !== 'end' || updatedAt >= before || !over(saga)) return false;
        if (notices.some(({ operation, state }) => operation === id && state === 'pending')) {
          return false;
        }
        return operations
          .slice(at + 1)
          .some((later) => later.accepted && volumeOf(later) === volumeOf(one));
      })
      .slice(0, limit);
    for (const one of gone) {
      const its = ({ operation }: { operation: OperationId }) => operation === one.id;
      for (const row of evidence.filter(its)) remove(evidence, row);
      for (const row of notices.filter(its)) remove(notices, row);
      for (const key of [...defects.keys()]) if (key.startsWith(`${one.id} `)) defects.delete(key);
      remove(operations, one);
      changes.delete(one.id);
    }
    return gone.length;
  }

  async defect(id: OperationId): Promise<number> {
    const found = this.#find(id);
    if (found === undefined) return 0;
    const key = `${id} ${found.saga.at}`;
    const times = (this.#pages.defects.get(key) ?? 0) + 1;
    this.#pages.defects.set(key, times);
    return times;
  }

  /** The pages stay: another process may open them. */
  async [Symbol.asyncDispose](): Promise<void> {}

  #find(id: OperationId): Operation | undefined {
    return this.#pages.operations.find((one) => one.id === id);
  }

  #change(id: OperationId, what: Partial<Operation>): void {
    const at = this.#pages.operations.findIndex((one) => one.id === id);
    const found = this.#pages.operations[at];
    if (found === undefined) return;
    this.#pages.operations[at] = { ...found, ...what };
    this.#pages.changes.set(id, ++this.#pages.change);
  }

  /** A file keeps the format it was first recorded with. */
  #remember({ saga, formats }: Entry): void {
    const { volume } = saga.request;
    const known = this.#pages.formats.get(volume) ?? new Map<FileName, Format>();
    for (const { file, format } of formats) if (!known.has(file)) known.set(file, format);
    this.#pages.formats.set(volume, known);
  }

  #tell(operation: OperationId, { saga }: Entry, update: Notice['update']): Notice {
    const seq = ++this.#pages.seq;
    const { snapshot } = saga.request;
    const notice: Notice = { seq, operation, snapshot, update, state: 'pending' };
    this.#pages.notices.push(notice);
    return notice;
  }
}

const empty = (): Pages => ({
  operations: [],
  evidence: [],
  notices: [],
  formats: new Map(),
  chains: new Map(),
  defects: new Map(),
  changes: new Map(),
  change: 0,
  seq: 0,
});

/** Of plain data, as all of it is: many times faster than structuredClone. */
function copied<T>(it: T): T {
  if (typeof it !== 'object' || it === null) return it;
  if (Array.isArray(it)) return it.map(copied) as T;
  const copy: Record<string, unknown> = {};
  for (const key in it) copy[key] = copied(it[key]);
  return copy as T;
}

function remove<T>(from: T[], one: T): void {
  const at = from.indexOf(one);
  if (at >= 0) from.splice(at, 1);
}
