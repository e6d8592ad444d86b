import { expect, test } from 'vitest';
import { aborting } from '#domain/aborting.ts';
import { nextCreate } from '#domain/create-saga.ts';
import { nextDelete } from '#domain/delete-saga.ts';
import type { Saga } from '#domain/saga.ts';
import { next } from '#domain/sagas.ts';
import { chain } from '../support/chains.ts';
import { CREATE, DELETES, LIMITS, NEW_HEADER } from '../support/scenes.ts';
import { disk, header, headersOf, saw, sight, WOKE } from '../support/sights.ts';

const before = chain('s1', 'v');
const guest = disk(before);
const [story] = DELETES;
if (story === undefined) throw new Error('no delete is told');

/** A create and a delete at each state that they can be in. */
function states(): readonly Saga[] {
  const create = { kind: 'create', request: CREATE, limits: LIMITS, at: 'accepted' } as const;
  const seen = (headers: object) =>
    saw(sight(guest, 'creating', { headers: { ...headersOf(before), ...headers } }));
  const switching = nextCreate(create, seen(NEW_HEADER)).saga;
  const mending = nextCreate(create, seen({ new: header()('s1', null) })).saga;
  const remove = { kind: 'delete', request: story!.request, at: 'accepted' } as const;
  const merging = nextDelete(remove, saw(sight(disk(story!.before), 'deleting'))).saga;
  if (merging.at !== 'merging') throw new Error(`it is ${merging.at}`);
  const { kind, request, plan } = merging;
  const made = { before, after: { ...before, file: CREATE.newFile, on: before } };
  const undo = { kind: 'undo', request: CREATE, made } as const;
  const where = { target: 'vda', process: 'qemu-1', doubts: 0, refused: null };
  return [
    { ...create, at: 'waiting' },
    create,
    mending,
    switching,
    { kind: 'create', request: CREATE, at: 'confirming' },
    { ...remove, at: 'waiting' },
    remove,
    merging,
    { kind, request, at: 'flushing', plan, formats: [] },
    { kind, request, at: 'restoring', plan, why: 'it died', unchained: false, tries: 0 },
    { kind, request, at: 'confirming', gone: plan.before.file, formats: [] },
    { ...undo, at: 'waiting' },
    { ...undo, at: 'committing', tries: 1, ...where },
    { ...undo, at: 'pivoting', tries: 1, ...where },
    { ...undo, at: 'canceling', why: 'it was taken', ...where },
  ];
}

test.each(states())('$kind $at', (saga) => {
  const step = aborting(saga);
  if (!['waiting', 'accepted', 'mending'].includes(saga.at)) {
    expect(step).toEqual({ ok: false, error: { kind: 'has-begun', at: saga.at } });
    return;
  }
  expect(step).toMatchObject({
    value: {
      saga: { kind: saga.kind, request: saga.request, at: 'end', outcome: 'failed', formats: [] },
      evidence: [{ kind: 'aborted', detail: `by an operator, while it was ${saga.at}` }],
      tell: saga.kind === 'undo' ? null : { kind: `${saga.kind}-failed` },
      effect: null,
    },
  });
});

test('whatever has not begun is aborted, and what is over is not', () => {
  for (const saga of states()) {
    const step = aborting(saga);
    if (!step.ok) continue;
    const again = aborting(step.value.saga);
    expect(again).toEqual({ ok: false, error: { kind: 'has-ended', outcome: 'failed' } });
  }
});

test('no state that may be aborted is one in which the hypervisor was asked for a change', () => {
  for (const saga of states().filter((one) => aborting(one).ok)) {
    expect(['look', 'mend']).toContain(next(saga, WOKE).effect?.do);
  }
});
