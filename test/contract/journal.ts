import { describe, expect, test } from 'vitest';
import type { CreateSaga } from '#domain/create-saga.ts';
import type { DeleteSaga } from '#domain/delete-saga.ts';
import {
  type FileName,
  type Format,
  type OperationId,
  QCOW2,
  RAW,
  type ServerId,
  type SnapshotId,
  type VolumeId,
} from '#domain/ids.ts';
import type { Evidence, Saga } from '#domain/saga.ts';
import type { Update } from '#domain/status.ts';
import type { Entry, Journal, Operation } from '#ports/journal.ts';

/** A journal that starts empty. */
export interface JournalLab extends AsyncDisposable {
  readonly journal: Journal;
  /** Ends the process that wrote it and opens it in another one. */
  reopen(): Promise<Journal>;
}

export function journalContract(name: string, open: () => Promise<JournalLab>): void {
  const law = (what: string, check: (lab: JournalLab) => Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      await using lab = await open();
      await check(lab);
    });

  law('an operation comes back as it was asked', async ({ journal }) => {
    const asked = operation('a', { globalRequestId: 'req-cinder' });
    await journal.ask(asked);
    expect(await journal.operation(asked.id)).toEqual(asked);
    expect(await journal.operation('nobody' as OperationId)).toBeNull();
  });

  law('only what was accepted is unfinished, oldest first', async ({ journal }) => {
    for (const id of ['b', 'c', 'a']) await journal.ask(operation(id));
    expect(await journal.unfinished()).toEqual([]);
    await journal.accept('a' as OperationId);
    await journal.accept('b' as OperationId);
    expect(ids(await journal.unfinished())).toEqual(['b', 'a']);
    expect((await journal.unfinished()).every((one) => one.accepted)).toBe(true);
  });

  law('an operation can be asked and accepted in one entry', async (lab) => {
    const b = operation('b', { accepted: true, globalRequestId: 'req-cinder' });
    await lab.journal.ask(operation('a'));
    await lab.journal.ask(b);
    expect(await lab.journal.unfinished()).toEqual([b]);
    expect((await lab.journal.changes(0, 9)).map(({ operation }) => operation)).toEqual([b]);
    await lab.journal.drop('b' as OperationId);
    expect(await (await lab.reopen()).operations({ limit: 9 })).toEqual([b]);
  });

  law('what an operation waited for is as its newest entry says that has it', async (lab) => {
    const { journal } = lab;
    const a = 'a' as OperationId;
    await journal.ask(operation('a', { trace: { preflight: 2 } }));
    await journal.accept(a);
    const traceOf = async (it: Journal) => (await it.operation(a))?.trace;
    expect(await traceOf(journal)).toEqual({ preflight: 2 });
    await journal.commit(a, entry({ trace: { preflight: 2, journal: 0.125 } }));
    const notice = await journal.commit(a, FULL);
    expect(await traceOf(await lab.reopen())).toEqual({ preflight: 2, journal: 0.125 });
    expect(notice).not.toHaveProperty('tookMs');
  });

  law('how long a word took comes with what became of it', async ({ journal }) => {
    await accepted(journal, 'a');
    const a = 'a' as OperationId;
    const seqs = [];
    for (let at = 0; at < 2; at++) seqs.push((await journal.commit(a, FULL))?.seq ?? 0);
    await journal.settle(seqs[0]!, 'accepted', 12.5);
    await journal.settle(seqs[1]!, 'obsolete');
    const notices = await journal.notices({ operation: a });
    expect(notices.map(({ tookMs }) => tookMs)).toEqual([12.5, undefined]);
  });

  law('a request that was never answered is gone after a restart', async (lab) => {
    await accepted(lab.journal, 'a');
    await lab.journal.ask(operation('b'));
    const again = await lab.reopen();
    expect(ids(await again.unfinished())).toEqual(['a']);
    expect(await again.operation('b' as OperationId)).toBeNull();
  });

  law('an asked operation can be dropped, an accepted one cannot', async ({ journal }) => {
    await journal.ask(operation('a'));
    await journal.drop('a' as OperationId);
    expect(await journal.operation('a' as OperationId)).toBeNull();
    await accepted(journal, 'b');
    await journal.drop('b' as OperationId);
    expect(await journal.operation('b' as OperationId)).not.toBeNull();
  });

  law('an operation at its end is no longer unfinished, and stays known', async ({ journal }) => {
    await accepted(journal, 'a');
    await journal.commit('a' as OperationId, entry({ saga: END }));
    expect(await journal.unfinished()).toEqual([]);
    expect(await journal.operation('a' as OperationId)).toMatchObject({ saga: END });
  });

  law('a commit leaves saga, evidence, notice and formats, over a restart', async (lab) => {
    await accepted(lab.journal, 'a');
    const notice = await lab.journal.commit('a' as OperationId, FULL);
    expect(notice).toMatchObject({ operation: 'a', snapshot: SNAPSHOT, state: 'pending' });
    expect(notice?.update).toEqual(FULL.tell);
    const again = await lab.reopen();
    expect(await again.operation('a' as OperationId)).toMatchObject({ saga: FULL.saga });
    expect(await again.evidence('a' as OperationId)).toMatchObject(FULL.evidence);
    expect(await again.notices({})).toEqual([notice]);
    expect(await again.formats(VOLUME)).toEqual(new Map([[BASE, RAW]]));
  });

  law('a commit with nothing to tell writes no notice', async ({ journal }) => {
    await accepted(journal, 'a');
    expect(await journal.commit('a' as OperationId, entry({}))).toBeNull();
    expect(await journal.notices({})).toEqual([]);
  });

  describe(`${name}: changes`, () => {
    const changed = async (journal: Journal, after: number, limit = 10) =>
      (await journal.changes(after, limit)).map(({ operation }) => operation.id);

    law('each operation comes once, as it is now, by its newest change', async ({ journal }) => {
      expect([await journal.lastChange(), await changed(journal, 0)]).toEqual([0, []]);
      await journal.ask(operation('asked'));
      for (const id of ['a', 'b', 'c']) await accepted(journal, id);
      await journal.commit('a' as OperationId, entry({ saga: END }));
      const all = await journal.changes(0, 10);
      expect(all.map(({ operation: { id, saga } }) => [id, saga.at])).toEqual([
        ['b', 'accepted'],
        ['c', 'accepted'],
        ['a', 'end'],
      ]);
      const [b, c, a] = all.map(({ seq }) => seq);
      expect(await changed(journal, b ?? 0)).toEqual(['c', 'a']);
      expect(await changed(journal, b ?? 0, 1)).toEqual(['c']);
      expect(await changed(journal, a ?? 0)).toEqual([]);
      expect([await journal.lastChange(), (c ?? 0) < (a ?? 0)]).toEqual([a, true]);
    });

    law('whoever was away over a restart goes on from where it was', async (lab) => {
      await accepted(lab.journal, 'a');
      const last = await lab.journal.lastChange();
      await accepted(lab.journal, 'b');
      const again = await lab.reopen();
      expect(await changed(again, last)).toEqual(['b']);
      await again.commit('a' as OperationId, entry({}));
      expect(await changed(again, last)).toEqual(['b', 'a']);
    });

    law('what is refused, or only asked, is no change', async ({ journal }) => {
      await journal.ask(operation('a'));
      await journal.drop('a' as OperationId);
      expect([await journal.lastChange(), await changed(journal, 0)]).toEqual([0, []]);
    });
  });

  law('a commit is all or nothing', async ({ journal }) => {
    await accepted(journal, 'a');
    await journal.commit('a' as OperationId, entry({ evidence: [evidence('first')] }));
    const before = await everything(journal);
    const broken: Evidence = {
      kind: 'decided',
      get detail(): string {
        throw new Error('the power is cut here');
      },
    };
    const half = { ...FULL, evidence: [evidence('second'), broken] };
    await expect(journal.commit('a' as OperationId, half)).rejects.toThrow();
    expect(await everything(journal)).toEqual(before);
    expect(await journal.commit('a' as OperationId, FULL)).not.toBeNull();
  });

  law('evidence is kept in the order in which it was found', async ({ journal }) => {
    await accepted(journal, 'a');
    await accepted(journal, 'b');
    await journal.commit(
      'a' as OperationId,
      entry({ evidence: [evidence('one'), evidence('two')] }),
    );
    await journal.commit('b' as OperationId, entry({ evidence: [evidence('other')] }));
    await journal.commit('a' as OperationId, entry({ evidence: [evidence('three')] }));
    const rows = await journal.evidence('a' as OperationId);
    expect(rows.map((row) => row.detail)).toEqual(['one', 'two', 'three']);
    expect(rows.map((row) => row.seq)).toEqual(rows.map((row) => row.seq).toSorted(ascending));
  });

  law('notices keep their order, and are pending until they are settled', async ({ journal }) => {
    await accepted(journal, 'a');
    await accepted(journal, 'b');
    for (const id of ['a', 'b', 'a'] as OperationId[]) await journal.commit(id, FULL);
    const all = await journal.notices({});
    expect(all.map((one) => one.operation)).toEqual(['a', 'b', 'a']);
    const [first, second, third] = all.map((one) => one.seq);
    expect([first, second, third]).toEqual(all.map((one) => one.seq).toSorted(ascending));
    await journal.settle(first!, 'accepted');
    await journal.settle(third!, 'obsolete');
    expect(seqs(await journal.notices({ state: 'pending' }))).toEqual([second]);
    expect(seqs(await journal.notices({ state: 'accepted' }))).toEqual([first]);
    expect(seqs(await journal.notices({ state: 'obsolete' }))).toEqual([third]);
    const mine = await journal.notices({ operation: 'a' as OperationId, state: 'obsolete' });
    expect(seqs(mine)).toEqual([third]);
  });

  law('a notice that was not settled is pending after a restart', async (lab) => {
    await accepted(lab.journal, 'a');
    const notice = await lab.journal.commit('a' as OperationId, entry({ saga: END, tell: FAILED }));
    const again = await lab.reopen();
    expect(await again.notices({ state: 'pending' })).toEqual([notice]);
  });

  law('numbers are not given out twice, not even after a restart', async (lab) => {
    await accepted(lab.journal, 'a');
    const one = await lab.journal.commit('a' as OperationId, FULL);
    const again = await lab.reopen();
    const two = await again.commit('a' as OperationId, FULL);
    expect(two!.seq).toBeGreaterThan(one!.seq);
  });

  law('a file keeps the format it was first recorded with', async ({ journal }) => {
    await accepted(journal, 'a');
    expect(await journal.formats(VOLUME)).toEqual(new Map());
    await journal.commit('a' as OperationId, entry({ formats: [format(BASE, RAW)] }));
    expect(await journal.formats(VOLUME)).toEqual(new Map([[BASE, RAW]]));
    await journal.commit(
      'a' as OperationId,
      entry({ formats: [format(BASE, QCOW2), format(OVERLAY, QCOW2)] }),
    );
    expect(await journal.formats(VOLUME)).toEqual(
      new Map([
        [BASE, RAW],
        [OVERLAY, QCOW2],
      ]),
    );
    expect(await journal.formats('another' as VolumeId)).toEqual(new Map());
  });

  law('operations are found by what they are about, newest first', async ({ journal }) => {
    const other = 'other' as SnapshotId;
    await accepted(journal, 'a');
    await accepted(journal, 'b', deleteOf(other));
    await accepted(journal, 'c');
    await journal.ask(operation('d'));
    const found = async (filter: Parameters<Journal['operations']>[0]) =>
      ids(await journal.operations(filter));
    expect(await found({ limit: 10 })).toEqual(['c', 'b', 'a']);
    expect(await found({ limit: 1 })).toEqual(['c']);
    expect(await found({ snapshot: SNAPSHOT, limit: 10 })).toEqual(['c', 'a']);
    expect(await found({ kind: 'delete', limit: 10 })).toEqual(['b']);
    expect(await found({ kind: 'create', snapshot: other, limit: 10 })).toEqual([]);
    expect(await found({ volume: VOLUME, limit: 2 })).toEqual(['c', 'b']);
  });

  law('defects are counted for each state of an operation', async (lab) => {
    await accepted(lab.journal, 'a');
    const a = 'a' as OperationId;
    expect(await lab.journal.defect(a)).toBe(1);
    const again = await lab.reopen();
    expect(await again.defect(a)).toBe(2);
    await again.commit(a, entry({ saga: { ...saga(), at: 'confirming' } as Saga }));
    expect(await again.defect(a)).toBe(1);
  });

  describe(`${name}: pruning`, () => {
    const LATER = 2_000_000_000_000;
    const all = async (journal: Journal) => ids(await journal.operations({ limit: 100 }));
    const prune = (journal: Journal, { before = LATER, limit = 100 } = {}) =>
      journal.prune(before, limit, ({ at }) => at === 'end');

    /** Operations of one volume, all at their end, with evidence, the last word heard. */
    async function ended(journal: Journal, ...names: string[]): Promise<void> {
      for (const id of names) {
        await accepted(journal, id);
        const notice = await journal.commit(id as OperationId, { ...FULL, formats: [] });
        await journal.settle(notice?.seq ?? 0, 'accepted');
      }
    }

    law('forgets what is over, with all that belongs to it', async (lab) => {
      const { journal } = lab;
      await ended(journal, 'a', 'b', 'c');
      await journal.defect('a' as OperationId);
      expect(await prune(journal)).toBe(2);
      const again = await lab.reopen();
      expect(await all(again)).toEqual(['c']);
      expect(await again.operation('a' as OperationId)).toBeNull();
      expect(await again.evidence('a' as OperationId)).toEqual([]);
      expect((await again.notices({})).map(({ operation }) => operation)).toEqual(['c']);
      expect(await again.evidence('c' as OperationId)).toHaveLength(2);
      expect(await prune(again)).toBe(0);
    });

    law('keeps the newest of each volume', async ({ journal }) => {
      const other = { ...REQUEST, volume: 'other' as VolumeId };
      const last: Saga = { ...END, kind: 'create', request: other };
      await accepted(journal, 'x', { ...saga(), request: other });
      await journal.commit('x' as OperationId, entry({ saga: last }));
      await ended(journal, 'a', 'b');
      expect(await prune(journal)).toBe(1);
      expect(await all(journal)).toEqual(['b', 'x']);
    });

    law('keeps what is open, what Cinder has not heard, and what it is told to', async (lab) => {
      const { journal } = lab;
      await accepted(journal, 'open');
      await accepted(journal, 'unheard');
      await journal.commit('unheard' as OperationId, FULL);
      await ended(journal, 'kept', 'a', 'b');
      const forget = ({ at }: Saga) => at === 'end';
      expect(await journal.prune(LATER, 100, () => false)).toBe(0);
      expect(await journal.prune(LATER, 100, forget)).toBe(2);
      expect(await all(journal)).toEqual(['b', 'unheard', 'open']);
      expect(await journal.formats(VOLUME), 'a format is never forgotten').toHaveProperty(
        'size',
        1,
      );
    });

    law('keeps what was changed since', async ({ journal }) => {
      await ended(journal, 'a', 'b', 'c');
      const { updatedAt = 0 } = (await journal.operation('a' as OperationId)) ?? {};
      expect(await prune(journal, { before: updatedAt })).toBe(0);
      expect(await prune(journal, { before: updatedAt - 1 })).toBe(0);
      expect(await prune(journal, { before: LATER })).toBe(2);
    });

    law('takes the oldest first, and no more than it is told', async ({ journal }) => {
      await ended(journal, 'a', 'b', 'c', 'd');
      expect(await prune(journal, { limit: 2 })).toBe(2);
      expect(await all(journal)).toEqual(['d', 'c']);
    });

    law('leaves no change of what is gone, and gives no number of one out again', async (lab) => {
      await ended(lab.journal, 'a', 'b');
      await lab.journal.commit('a' as OperationId, entry({ saga: END }));
      const last = await lab.journal.lastChange();
      expect(await prune(lab.journal)).toBe(1);
      const left = await lab.journal.changes(0, 9);
      expect(ids(left.map(({ operation }) => operation))).toEqual(['b']);
      const again = await lab.reopen();
      expect(await again.lastChange()).toBe(last);
      await accepted(again, 'c');
      expect(await again.lastChange()).toBeGreaterThan(last);
    });

    law('gives no number out again', async (lab) => {
      await ended(lab.journal, 'a', 'b');
      const [last] = seqs(await lab.journal.notices({}))
        .toSorted(ascending)
        .toReversed();
      await prune(lab.journal);
      const again = await lab.reopen();
      await accepted(again, 'c');
      const notice = await again.commit('c' as OperationId, FULL);
      expect(notice?.seq).toBeGreaterThan(last ?? Number.POSITIVE_INFINITY);
    });
  });

  law('what is known of a chain is what the last step taught, over a restart', async (lab) => {
    const { journal } = lab;
    await accepted(journal, 'a');
    expect(await journal.chain(VOLUME)).toBeNull();
    const chain = {
      directory: '/mnt',
      files: [OVERLAY, BASE],
      held: 'all',
      process: 'qemu-1',
      doubts: [{ operation: 'b' as OperationId, process: 'qemu-0', gone: BASE }],
    } as const;
    await journal.commit('a' as OperationId, entry({ chain }));
    await journal.commit('a' as OperationId, entry({ chain: null }));
    expect(await journal.chain(VOLUME)).toEqual(chain);
    expect(await journal.chain('another' as VolumeId)).toBeNull();
    const merged = { directory: '/mnt', files: [OVERLAY], held: 'nothing', process: null } as const;
    await journal.commit('a' as OperationId, entry({ chain: merged }));
    expect(await (await lab.reopen()).chain(VOLUME)).toEqual(merged);
  });

  law('what was given or taken is a copy', async ({ journal }) => {
    const asked = structuredClone(operation('a'));
    await journal.ask(asked);
    Object.assign(asked.saga.request, { volume: 'changed' });
    const taken = await journal.operation(asked.id);
    expect(taken?.saga.request.volume).toBe(VOLUME);
    Object.assign(taken!.saga.request, { volume: 'changed' });
    expect((await journal.operation(asked.id))?.saga.request.volume).toBe(VOLUME);
  });
}

const VOLUME = 'volume-id' as VolumeId;
const SNAPSHOT = 'snapshot-id' as SnapshotId;
const SERVER = 'server-id' as ServerId;
const BASE = 'volume-1234' as FileName;
const OVERLAY = 'volume-1234.snapshot' as FileName;
const REQUEST = { volume: VOLUME, snapshot: SNAPSHOT, server: SERVER, newFile: OVERLAY };
const FAILED: Update = { kind: 'create-failed' };

const saga = (): CreateSaga => ({
  kind: 'create',
  request: { ...REQUEST },
  at: 'accepted',
  limits: { maxChainDepth: 64 },
});

const deleteOf = (snapshot: SnapshotId): DeleteSaga => ({
  kind: 'delete',
  request: { volume: VOLUME, snapshot, server: SERVER, fileToMerge: null, mergeTarget: null },
  at: 'accepted',
});

/** One that has ended. */
export const END: CreateSaga = {
  kind: 'create',
  request: REQUEST,
  at: 'end',
  outcome: 'failed',
  reason: 'it went wrong, with "quotes" and a ü',
  formats: [],
};

const evidence = (detail: string): Evidence => ({ kind: 'decided', detail });
const format = (file: FileName, it: Format) =>
  ({ file, format: it, provenance: 'reported' }) as const;

const FULL: Entry = {
  saga: END,
  evidence: [evidence('a chain'), { kind: 'fault', detail: 'libvirt refused' }],
  tell: { kind: 'created', formats: [format(OVERLAY, QCOW2)] },
  formats: [format(BASE, RAW)],
  chain: null,
};

const entry = (what: Partial<Entry>): Entry => ({
  saga: saga(),
  evidence: [],
  tell: null,
  formats: [],
  chain: null,
  ...what,
});

/** One that was asked for. */
export const operation = (id: string, what: Partial<Operation> = {}): Operation => ({
  id: id as OperationId,
  saga: saga(),
  accepted: false,
  requestId: `req-${id}`,
  globalRequestId: null,
  askedAt: 1_767_225_600_000,
  updatedAt: 1_767_225_600_000,
  ...what,
});

async function accepted(journal: Journal, id: string, it: Saga = saga()): Promise<void> {
  await journal.ask(operation(id, { saga: it }));
  await journal.accept(id as OperationId);
}

const ids = (operations: readonly Operation[]): string[] => operations.map((one) => one.id);
const seqs = (rows: readonly { readonly seq: number }[]): number[] => rows.map((row) => row.seq);
const ascending = (one: number, other: number): number => one - other;

const everything = async (journal: Journal) => ({
  operation: await journal.operation('a' as OperationId),
  evidence: await journal.evidence('a' as OperationId),
  notices: await journal.notices({}),
  formats: await journal.formats(VOLUME),
  chain: await journal.chain(VOLUME),
});
