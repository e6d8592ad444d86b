import { describe, expect, test } from 'vitest';
import { layersOf } from '#domain/chain.ts';
import type { CreateSaga } from '#domain/create-saga.ts';
import { leftover, parked } from '#domain/delete-end.ts';
import { type DeleteSaga, nextDelete } from '#domain/delete-saga.ts';
import type { Saga } from '#domain/saga.ts';
import { headersToSettle, settling } from '#domain/settling.ts';
import { chain, file, stripped } from '../support/chains.ts';
import { CREATE, CREATED, DELETES, type DeleteStory, LIMITS } from '../support/scenes.ts';
import {
  DID,
  disk,
  GONE,
  glance,
  header,
  headersOf,
  SUBJECT,
  saw,
  sight,
} from '../support/sights.ts';
import { states } from '../support/states.ts';

const CREATE_END: CreateSaga = {
  kind: 'create',
  request: CREATE,
  at: 'end',
  outcome: 'unknown',
  reason: 'an attempt that never answered may still come through',
  formats: [],
};

const refusal = (saga: Saga, as: 'done' | 'failed', it: ReturnType<typeof glance>) => {
  const step = settling(saga, as, it);
  if (step.ok) return `${step.value.saga.at} ${step.value.tell?.kind}`;
  return step.error.kind === 'contradicted' ? step.error.seen : step.error.kind;
};

describe('a create', () => {
  const inUse = glance(disk(CREATED));
  const unused = glance(disk(chain('s1', 'v')));

  test('that is in use is done, and Cinder is told the format', () => {
    expect(settling(CREATE_END, 'done', inUse)).toMatchObject({
      value: {
        saga: {
          ...{ at: 'end', outcome: 'created' },
          reason: 'an operator looked, and settled it as done',
        },
        tell: {
          kind: 'created',
          formats: [{ file: 'new', format: 'qcow2', provenance: 'reported' }],
        },
        evidence: [
          { kind: 'settled', detail: 'an operator: it is done' },
          { kind: 'switched', detail: 'vda is on new on s1 on v' },
        ],
        effect: null,
      },
    });
    const old = glance(disk(stripped(CREATED)), { headers: headersOf(CREATED) });
    expect(settling(CREATE_END, 'done', old)).toMatchObject({
      value: { tell: { formats: [{ file: 'new', provenance: 'assumed' }] } },
    });
    expect(refusal(CREATE_END, 'failed', inUse)).toBe('new is in use');
  });

  test('with another snapshot on top of it by now is done all the same', () => {
    const later = glance(disk(chain('later', 'new', 's1', 'v')));
    expect(refusal(CREATE_END, 'done', later)).toBe('end created');
    expect(refusal(CREATE_END, 'failed', later)).toBe('new is in use');
  });

  test('that is not in use has failed', () => {
    expect(settling(CREATE_END, 'failed', unused)).toMatchObject({
      value: {
        saga: { outcome: 'failed', reason: 'an operator looked, and settled it as failed' },
        tell: { kind: 'create-failed' },
        evidence: [{ kind: 'settled', detail: 'an operator: it is failed' }],
      },
    });
    for (const [as, seen] of [
      ['done', unused],
      ['failed', inUse],
    ] as const) {
      expect(settling(CREATE_END, as, seen)).toMatchObject({ error: { as } });
    }
    expect(refusal(CREATE_END, 'done', unused)).toBe('new is not in the chain of s1 on v');
  });

  test('of a guest that cannot be seen is neither', () => {
    for (const as of ['done', 'failed'] as const) {
      expect(refusal(CREATE_END, as, glance(GONE))).toMatch(/^it cannot be seen: No guest/);
    }
  });

  test.each([
    ['another backing file', header()('v', 'raw'), 'the header of new names v'],
    ['no backing file', header()(null, null), 'the header of new names no backing file'],
    ['another format', header()('s1', 'raw'), 'the header of new calls s1 raw'],
    ['no format', header()('s1', null), 'the header of new calls s1 nothing'],
  ])('whose header names %s is not done: the next start would undo it', (_, says, words) => {
    const lying = glance(disk(CREATED), { headers: { ...headersOf(CREATED), new: says } });
    expect(refusal(CREATE_END, 'done', lying)).toBe(words);
    const unread = glance(disk(CREATED), { headers: {} });
    expect(refusal(CREATE_END, 'done', unread)).toBe('the header of new was not read');
  });

  test('whose overlay another file has the name of is not done', () => {
    const named = (inode: string) => ({ new: header({ inode })('s1', 'qcow2') });
    const checked: CreateSaga = { ...CREATE_END, inode: '7' };
    const seen = (inode: string) => glance(disk(CREATED), { headers: named(inode) });
    expect(refusal(checked, 'done', seen('8'))).toBe('another file is called new now');
    expect(refusal(checked, 'done', seen('7'))).toBe('end created');
    expect(refusal(CREATE_END, 'done', seen('8'))).toBe('end created');
  });

  test('of a guest that is off, whose XML ends at the overlay, is done', () => {
    const top = { file: file('new'), format: null, on: null };
    const off = glance(disk(top, { process: null }), { headers: { new: header()('s1', 'qcow2') } });
    expect(refusal(CREATE_END, 'done', off)).toBe('end created');
    expect(headersToSettle(CREATE_END)).toEqual(['new']);
    // One that goes on below is held against the header all the same.
    const longer = glance(disk(CREATED, { process: null }), {
      headers: { new: header()('v', 'raw') },
    });
    expect(refusal(CREATE_END, 'done', longer)).toBe('the header of new names v');
  });

  test('that the guest has as raw is not done', () => {
    const raw = glance(disk(chain('new:raw', 's1', 'v')));
    expect(refusal(CREATE_END, 'done', raw)).toBe('the guest has new as raw');
  });
});

/** A delete that parked while it was at it, with what was planned. */
function parkedDelete(it: DeleteStory): Extract<DeleteSaga, { at: 'end' }> {
  const accepted = { kind: 'delete', request: it.request, at: 'accepted' } as const;
  const merging = nextDelete(accepted, saw(sight(disk(it.before), 'deleting'))).saga;
  return parked(merging, 'a merge that never answered may still come');
}

describe.each(DELETES)('the story of a $name', (it) => {
  const saga = parkedDelete(it);
  const gone = leftover({ merge: it.merge, before: it.before });
  const merged = glance(disk(it.after));
  const unmerged = glance(disk(it.before));

  test('the headers that a verdict rests on are those around what is gone', () => {
    const floor = it.merge.kind === 'commit' ? it.merge.into : it.merge.onto;
    expect(headersToSettle(saga)).toEqual(floor ? [it.repointed, floor] : [it.repointed]);
  });

  test('what is written down of it, and said of a contradiction', () => {
    const last = { kind: 'settled', detail: 'an operator: it is failed' };
    expect(settling(saga, 'failed', unmerged)).toMatchObject({ value: { evidence: [last] } });
    const done = settling(saga, 'done', merged);
    expect(done).toMatchObject({
      value: {
        evidence: [
          { kind: 'settled', detail: 'an operator: it is done' },
          { kind: 'completed', detail: `${gone} is no longer in the chain` },
        ],
      },
    });
    for (const [as, seen] of [
      ['done', unmerged],
      ['failed', merged],
    ] as const) {
      expect(settling(saga, as, seen)).toMatchObject({ error: { kind: 'contradicted', as } });
    }
  });

  test('merged while the guest was off, nobody can prove that it is done', () => {
    const off = sight(disk(it.before, { process: null }), 'deleting');
    const accepted = { kind: 'delete', request: it.request, at: 'accepted' } as const;
    const { saga: offline } = nextDelete(accepted, saw(off));
    const unknown = parked(offline, 'a qemu-img may be at work');
    const later = glance(disk(it.after, { process: null }));
    expect(refusal(unknown, 'done', later)).toMatch(/^qemu-img merged it, and nobody can tell/);
    expect(refusal(unknown, 'failed', glance(disk(it.before, { process: null })))).toBe(
      'end delete-failed',
    );
  });

  test('merged, as the live chain says: done', () => {
    const step = settling(saga, 'done', merged);
    if (!step.ok) throw new Error(step.error.kind);
    expect(step.value.evidence.map(({ kind }) => kind)).toEqual(['settled', 'completed']);
    // Its tables may be in memory only.
    expect(step.value).toMatchObject({ tell: null, saga: { at: 'flushing' } });
    const { merge, before } = it;
    const into = merge.kind === 'commit' ? { into: { file: merge.into } } : {};
    expect(step.value.effect).toMatchObject({ do: 'flush', process: 'qemu-1', ...into });
    const next = step.value.saga.kind === 'delete' && nextDelete(step.value.saga, DID);
    const named = merge.kind === 'commit' ? [merge.into] : [before.file, merge.onto];
    const files = named.filter((name) => name !== null);
    expect(next).toMatchObject({
      saga: { outcome: 'merged', gone },
      tell: { kind: 'deleted', formats: files.map((name) => ({ file: name })) },
    });
    expect(refusal(saga, 'failed', merged)).toMatch(`${gone} is no longer in the chain of`);
  });

  test('unmerged, as the live chain says: failed, and bound to the file', () => {
    expect(settling(saga, 'failed', unmerged)).toMatchObject({
      value: { saga: { outcome: 'failed', gone }, tell: { kind: 'delete-failed' } },
    });
    expect(refusal(saga, 'done', unmerged)).toMatch(`${gone} is in the chain of`);
  });

  test('in another QEMU nobody can prove that it is done; Cinder keeps the file', () => {
    for (const process of ['qemu-2', null]) {
      const later = glance(disk(it.after, { process }));
      expect(refusal(saga, 'done', later)).toMatch(/^the QEMU that merged is gone/);
      expect(refusal(saga, 'failed', later)).toBe('end delete-failed');
    }
    expect(refusal(saga, 'done', glance(GONE))).toMatch(/^it cannot be seen/);
    expect(refusal(saga, 'failed', glance(GONE))).toBe('end delete-failed');
  });

  test('a job that is at work decides by itself', () => {
    for (const seen of [it.before, it.after]) {
      const busy = glance(disk(seen, { job: { kind: 'commit', done: 1, total: 2 } }));
      for (const as of ['done', 'failed'] as const) {
        expect(refusal(saga, as, busy)).toBe('a commit job is at work on vda');
      }
    }
  });

  test('a header that still has the old chain, or none that can be read: not done', () => {
    const old = glance(disk(it.after), { headers: headersOf(it.before) });
    expect(refusal(saga, 'done', old)).toMatch(`the header of ${it.repointed} names ${gone}`);
    const none = glance(disk(it.after), { headers: {} });
    expect(refusal(saga, 'done', none)).toBe(`the header of ${it.repointed} was not read`);
  });

  test('a chain that has none of it any more: not done', () => {
    const other = glance(disk(chain('x')));
    const words = refusal(saga, 'done', other);
    if (it.merge.kind === 'pull' && it.merge.onto === null) return;
    expect(words).toMatch(/is not in the chain of x$/);
  });

  test('with an old libvirt the formats are those that are implied', () => {
    const known = new Map(layersOf(it.before).map((layer) => [layer.file, layer.format]));
    const guest = disk(stripped(it.after));
    const old = glance(guest, { headers: headersOf(it.after), known });
    const step = settling(saga, 'done', old);
    expect(step.ok).toBe(true);
    expect(refusal(saga, 'done', { ...old, known: new Map() })).toBe('unknown-format');
  });
});

describe('what was never begun', () => {
  const [it] = DELETES;
  const { request } = it!;
  const before = glance(disk(it!.before));

  test('has failed', () => {
    const saga = parked({ kind: 'delete', request, at: 'accepted' }, 'a defect');
    expect(settling(saga, 'failed', before)).toMatchObject({
      value: { saga: { outcome: 'failed', gone: null } },
    });
    expect(refusal(saga, 'done', before)).toBe('no merge was ever asked for');
    expect(refusal(saga, 'failed', glance(GONE))).toBe('end delete-failed');
    expect(settling(saga, 'done', before)).toMatchObject({ error: { as: 'done' } });
    expect(headersToSettle(saga)).toEqual([]);
  });

  test('but was about an earlier merge, is what that was', () => {
    const formats = [
      { file: file('s1'), format: it!.after.format, provenance: 'reported' },
    ] as const;
    const confirming = {
      kind: 'delete',
      request,
      at: 'confirming',
      gone: file('s2'),
      formats,
    } as const;
    const saga = parked(confirming, 'a defect');
    const after = glance(disk(chain('s3', 's1', 'v')));
    expect(settling(saga, 'done', after)).toMatchObject({
      value: {
        saga: { outcome: 'merged', gone: 's2' },
        tell: { kind: 'deleted', formats },
        evidence: [
          { kind: 'settled', detail: 'an operator: it is done' },
          { kind: 'already', detail: 's2 is no longer in the chain' },
        ],
      },
    });
    expect(refusal(saga, 'failed', after)).toMatch('s2 is no longer in the chain');
    expect(refusal(saga, 'done', before)).toMatch('s2 is in the chain');
  });
});

test('of what has not ended no header is read', () => {
  for (const saga of states()) {
    expect(headersToSettle(saga)).toEqual(saga.kind === 'create' ? ['new'] : []);
  }
});

test('only what has ended as unknown can be settled', () => {
  const open: Saga = { kind: 'create', request: CREATE, at: 'accepted', limits: LIMITS };
  const seen = glance(disk(CREATED));
  expect(settling(open, 'done', seen)).toEqual({
    ok: false,
    error: { kind: 'not-ended', at: 'accepted' },
  });
  for (const outcome of ['created', 'failed', 'withdrawn'] as const) {
    expect(settling({ ...CREATE_END, outcome }, 'done', seen)).toEqual({
      ok: false,
      error: { kind: 'has-ended', outcome },
    });
  }
});

describe('an undo', () => {
  const before = chain('s1', 'v');
  const after = chain('new', 's1', 'v');
  const unknown: Saga = {
    ...{ kind: 'undo', request: { ...SUBJECT, newFile: file('new') }, made: { before, after } },
    ...{ at: 'end', outcome: 'unknown', reason: 'a job of somebody else', formats: [] },
  };

  test.each([
    ['done', before, 'undone'],
    ['failed', after, 'failed'],
  ] as const)(
    'is %s when the live chain says so, and Cinder hears nothing',
    (as, seen, outcome) => {
      expect(headersToSettle(unknown)).toEqual([]);
      const settled = settling(unknown, as, glance(disk(seen)));
      expect(settled).toMatchObject({ value: { saga: { at: 'end', outcome }, tell: null } });
    },
  );

  test.each([
    ['done', disk(after), 'new is in use'],
    ['failed', disk(before), 'new is not in use'],
    ['done', GONE, /^it cannot be seen: No guest /],
  ] as const)('is not %s when the live chain says otherwise', (as, guest, seen) => {
    const settled = settling(unknown, as, glance(guest));
    const says = typeof seen === 'string' ? seen : expect.stringMatching(seen);
    expect(settled).toEqual({ ok: false, error: { kind: 'contradicted', as, seen: says } });
  });
});
