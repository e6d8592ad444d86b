import { describe, expect, test } from 'vitest';
import { filesOf } from '#domain/chain.ts';
import { nextCreate } from '#domain/create-saga.ts';
import { leftover } from '#domain/delete-end.ts';
import type { FileName, OperationId } from '#domain/ids.ts';
import {
  judgeBoot,
  type KnownChain,
  keeping,
  knownBy,
  type Step,
  settled,
} from '#domain/known-chain.ts';
import type { Event, Saga } from '#domain/saga.ts';
import { next, parked } from '#domain/sagas.ts';
import { settling } from '#domain/settling.ts';
import type { UndoSaga } from '#domain/undo-saga.ts';
import { chain } from '../support/chains.ts';
import { CREATE } from '../support/scenes.ts';
import { disk, glance, headersOf, saw, sight } from '../support/sights.ts';
import { states } from '../support/states.ts';

const NEW = CREATE.newFile;
const before = chain('s1', 'v');
const at = <S extends Saga['at']>(kind: Saga['kind'], wanted: S) => {
  const found = states().find((saga) => saga.kind === kind && saga.at === wanted);
  if (found === undefined) throw new Error(`no ${kind} is ${wanted}`);
  return found as Extract<Saga, { at: S }>;
};
const END = { at: 'end', reason: 'it is over', formats: [] } as const;
const ended = (saga: Saga, outcome: string, more: object = {}) =>
  ({ kind: saga.kind, request: saga.request, ...END, outcome, ...more }) as unknown as Saga;

describe('what a create teaches', () => {
  const switching = at('create', 'switching');
  const { directory, process } = (switching as Extract<typeof switching, { plan: object }>).plan;
  const [old, after] = [filesOf(before), [NEW, ...filesOf(before)]];

  test('while the switch may have taken place the file below the overlay is held', () => {
    const accepted = at('create', 'accepted');
    const held = { directory, files: after, held: 'below', process };
    expect(knownBy(accepted, switching)).toEqual(held);
  });

  test('once libvirt has plainly refused, nothing is', () => {
    const fault = { kind: 'rejected', who: 'libvirt', code: 68, detail: 'busy' } as const;
    const refused = nextCreate(switching as never, { kind: 'failed', fault }).saga;
    expect(knownBy(switching, refused)).toEqual({
      directory,
      files: old,
      held: 'nothing',
      process,
    });
    const unknown: Event = { kind: 'failed', fault: { ...fault, kind: 'unknown' } as never };
    expect(knownBy(switching, nextCreate(switching as never, unknown).saga)).toMatchObject({
      held: 'below',
    });
  });

  test('its end says which file is active', () => {
    const known = (outcome: string) => knownBy(switching, ended(switching, outcome));
    expect(known('created')).toEqual({ directory, files: after, held: 'nothing', process });
    expect(known('failed')).toEqual({ directory, files: old, held: 'nothing', process });
    expect(known('withdrawn')).toEqual({ directory, files: old, held: 'nothing', process });
    // It may have been switched to: whoever starts the guest below it has to decide.
    expect(known('unknown')).toEqual({ directory, files: after, held: 'nothing', process });
  });

  test('an overlay that Cinder gave up in use is the active file until it is undone', () => {
    const given = sight(disk(chain(NEW, 's1', 'v')), 'error');
    const { saga } = nextCreate(switching as never, saw(given));
    expect(saga).toMatchObject({ at: 'end', outcome: 'withdrawn' });
    expect(knownBy(switching, saga)).toMatchObject({ files: after, held: 'nothing' });
  });

  test('what a person settles takes no overlay away that came on top since', () => {
    const [now, later] = [
      { directory, files: old, held: 'nothing', process } as const,
      { directory, files: after, held: 'all', process } as const,
    ];
    expect(settled(later, now)).toEqual({ ...now, files: after });
    expect(settled({ ...later, files: old.slice(0, 1) }, now)).toEqual(now);
    expect(settled(null, now)).toEqual(now);
  });

  test('what a person settles is known too', () => {
    const gone = { kind: 'absent', why: { kind: 'unreadable', detail: 'two disks' } } as const;
    const unknown = nextCreate(switching as never, saw(sight(gone as never, 'creating'))).saga;
    expect(unknown).toMatchObject({ at: 'end', outcome: 'unknown' });
    const failed = settling(unknown, 'failed', glance(disk(before)));
    if (!failed.ok) throw new Error('it may be settled');
    expect(knownBy(unknown, failed.value.saga)).toMatchObject({ files: old, held: 'nothing' });
    const shows = glance(disk(chain(NEW, 's1', 'v')), {
      headers: { ...headersOf(chain(NEW, 's1', 'v')) },
    });
    const done = settling(unknown, 'done', shows);
    if (!done.ok) throw new Error(JSON.stringify(done.error));
    expect(knownBy(unknown, done.value.saga)).toMatchObject({ files: after });
  });

  test('a repeated request, and one that never began, teach nothing', () => {
    const confirming = at('create', 'confirming');
    expect(knownBy(confirming, ended(confirming, 'created'))).toBeNull();
    expect(knownBy(at('create', 'accepted'), ended(switching, 'failed'))).toBeNull();
    expect(knownBy(switching, at('create', 'accepted'))).toBeNull();
  });
});

describe('what a delete teaches', () => {
  const merging = at('delete', 'merging');
  const { plan } = merging as Extract<typeof merging, { plan: object }>;
  const { directory, process } = plan;
  const files = filesOf(plan.before);

  test.each(['merging', 'flushing', 'restoring'] as const)('nothing starts on a %s', (state) => {
    const now = at('delete', state);
    expect(knownBy(at('delete', 'accepted'), now)).toEqual({
      directory,
      files,
      held: 'all',
      process,
    });
  });

  test('while the guest is off QEMU has locks for that', () => {
    const known = knownBy(at('delete', 'accepted'), at('delete', 'offline'));
    expect(known).toMatchObject({ held: 'nothing' });
  });

  test.each(['flushing', 'restoring', 'merging', 'offline'] as const)(
    'the end of a %s lets it go',
    (state) => {
      const from = at('delete', state);
      const merged = knownBy(from, ended(from, 'merged'));
      expect(merged).toMatchObject({ files: filesOf(plan.after), held: 'nothing' });
      for (const outcome of ['failed', 'withdrawn']) {
        expect(knownBy(from, ended(from, outcome))).toMatchObject({ files, held: 'nothing' });
      }
      // Its QEMU may be killed yet, before anybody has looked; qemu-img's work is on disk.
      const held = state === 'offline' ? 'nothing' : 'all';
      expect(knownBy(from, ended(from, 'unknown'))).toMatchObject({ files, held });
    },
  );

  test('but for one of which nobody has seen that the chain is whole', () => {
    const restoring = at('delete', 'restoring');
    const unseen = ended(restoring, 'failed', { unseen: true });
    expect(knownBy(restoring, unseen)).toEqual({ directory, files, held: 'all', process });
  });

  test('also what a defect, or a person, put an end to', () => {
    const unknown = parked(merging, 'a defect');
    expect(knownBy(merging, unknown)).toMatchObject({ files, held: 'all' });
    const settled = ended(unknown, 'merged');
    const merged = { files: filesOf(plan.after), held: 'nothing' };
    expect(knownBy(unknown, settled)).toMatchObject(merged);
    expect(knownBy(unknown, ended(unknown, 'failed'))).toMatchObject({ files, held: 'nothing' });
  });

  test('one that was called failed, and of which an attempt may still come, holds it', () => {
    const unsure = ended(merging, 'failed', { unsure: true });
    expect(knownBy(merging, unsure)).toMatchObject({ files, held: 'all' });
    const settled = ended(parked(merging, 'a defect'), 'failed');
    expect(knownBy(parked(merging, 'a defect'), settled)).toMatchObject({ held: 'nothing' });
  });

  test('before it begins, and when it only repeats, it teaches nothing', () => {
    for (const state of ['waiting', 'accepted', 'confirming'] as const) {
      expect(knownBy(at('delete', 'accepted'), at('delete', state))).toBeNull();
    }
    const confirming = at('delete', 'confirming');
    expect(knownBy(confirming, ended(confirming, 'merged'))).toBeNull();
  });
});

describe('how long a doubt about a merge holds a chain', () => {
  const merging = at('delete', 'merging');
  const { plan } = merging as Extract<typeof merging, { plan: object }>;
  const { directory, process } = plan as { directory: string; process: string };
  const gone = leftover(plan);
  const files = filesOf(plan.before);
  const [E, N] = ['the merge', 'a later one'] as [OperationId, OperationId];
  const doubt = { operation: E, process, gone };
  const held = { directory, files, held: 'all', process, doubts: [doubt] } as const;
  const free = { directory, files: [NEW, ...files], held: 'nothing', process } as const;
  const switching = at('create', 'switching');
  const created: Step = { operation: N, before: switching, now: ended(switching, 'created') };

  const knownOf = (operation: OperationId, before: Saga, now: Saga) => {
    const known = knownBy(before, now);
    if (known === null) throw new Error('it teaches something');
    return keeping(null, known, { operation, before, now });
  };

  test.each([
    ['an outcome that is unknown', parked(merging, 'a defect')],
    ['an attempt that may still come', ended(merging, 'failed', { unsure: true })],
    ['a QEMU that died under it', ended(merging, 'failed', { unseen: true })],
  ])('%s is one', (_, now) => {
    expect(knownOf(E, merging, now)).toEqual(held);
  });

  test('a merge that is at work, or has ended well, is none', () => {
    const flushing = at('delete', 'flushing');
    expect(knownOf(E, merging, flushing)).toMatchObject({ held: 'all' });
    expect(knownOf(E, merging, flushing)).not.toHaveProperty('doubts');
    expect(knownOf(E, flushing, ended(flushing, 'merged'))).not.toHaveProperty('doubts');
  });

  test('whatever ends well in the same QEMU leaves it, with its own overlay on top', () => {
    const kept = { ...free, held: 'all', doubts: [doubt] } as const;
    expect(keeping(held, free, created)).toEqual(kept);
    expect(keeping(kept, { ...free, held: 'below' }, created)).toEqual(kept);
    const other = { operation: N, before: merging, now: ended(merging, 'merged', { gone: NEW }) };
    expect(keeping(held, free, other)).toEqual(kept);
    const failed = { operation: N, before: merging, now: ended(merging, 'failed', { gone }) };
    expect(keeping(held, free, failed)).toEqual(kept);
  });

  test('another QEMU ends it', () => {
    expect(keeping(held, { ...free, process: 'another' }, created)).toEqual({
      ...free,
      process: 'another',
    });
  });

  test('whoever merges the same file away after it ends it', () => {
    const again = { operation: N, before: merging, now: ended(merging, 'merged', { gone }) };
    expect(keeping(held, free, again)).toEqual(free);
  });

  test('what is done to a guest that is off leaves it, unless the headers name the file', () => {
    const off = { ...free, process: null } as const;
    expect(keeping(held, off, created)).toEqual({ ...off, held: 'all', doubts: [doubt] });
    const offline = at('delete', 'offline') as Extract<Saga, { at: 'offline' }>;
    const now = ended(offline, 'failed', { gone: null });
    const step: Step = { operation: N, before: offline, now };
    const named = { ...doubt, gone: offline.plan.before.on?.file ?? offline.plan.before.file };
    expect(keeping({ ...held, doubts: [named] }, off, step)).toEqual(off);
    expect(keeping({ ...held, doubts: [{ ...doubt, gone: NEW }] }, off, step)).toMatchObject({
      held: 'all',
    });
  });

  test('a person ends the one that is settled, and no other', () => {
    const unknown = parked(merging, 'a defect');
    const now = ended(unknown, 'failed');
    const known = { ...free, files };
    expect(keeping(held, known, { operation: E, before: unknown, now })).toEqual(known);
    const moreover = { ...held, doubts: [doubt, { ...doubt, operation: N, process: 'another' }] };
    expect(keeping(moreover, known, { operation: E, before: unknown, now })).toEqual({
      ...known,
      held: 'all',
      doubts: moreover.doubts.slice(1),
    });
  });

  test('one that an earlier version wrote down is left while the guest is off', () => {
    const { doubts: _, ...older } = held;
    const off = { ...free, process: null };
    expect(keeping(older, off, created)).toEqual({ ...off, held: 'all' });
    expect(keeping(older, free, created)).toEqual(free);
    expect(keeping(null, off, created)).toBe(off);
  });
});

describe('what an undo teaches', () => {
  const after = chain(NEW, 's1', 'v');
  const told = (more: object): UndoSaga =>
    ({ kind: 'undo', request: CREATE, made: { before, after, ...more }, at: 'waiting' }) as never;
  const over = (saga: UndoSaga, outcome: string) => ended(saga, outcome, { made: saga.made });

  test('the guest is back on the old file', () => {
    const saga = told({ directory: '/mnt' });
    const known = { directory: '/mnt', files: filesOf(before), held: 'nothing', process: null };
    const back = { ...saga, at: 'flushing', target: 'vda', process: 'qemu-1' } as const;
    expect(knownBy(back, over(saga, 'undone'))).toEqual({ ...known, process: 'qemu-1' });
    expect(knownBy(saga, over(saga, 'undone'))).toEqual(known);
    expect(knownBy(saga, over(saga, 'withdrawn'))).toBeNull();
    expect(knownBy(saga, next(saga, { kind: 'woke' }).saga)).toBeNull();
  });

  test('where an older journal does not say the folder, nothing', () => {
    const saga = told({});
    expect(knownBy(saga, over(saga, 'undone'))).toBeNull();
  });
});

describe('where a guest may start', () => {
  const [top, middle, base] = ['s2', 's1', 'v'] as [FileName, FileName, FileName];
  const known = (more: Partial<KnownChain> = {}): KnownChain => ({
    directory: '/mnt',
    files: [top, middle, base],
    held: 'nothing',
    process: null,
    ...more,
  });
  const judged = (it: KnownChain, file: string, there = true, directory = '/mnt') =>
    judgeBoot(it, { directory, file: file as FileName }, (active) => there && active === top);

  test('on the active file, and nowhere below it', () => {
    expect(judged(known(), top)).toBeNull();
    expect(judged(known(), middle)).toEqual({ kind: 'below', active: top });
    expect(judged(known(), base)).toEqual({ kind: 'below', active: top });
  });

  test('wherever nothing is known', () => {
    expect(judged(known(), 'other')).toBeNull();
    expect(judged(known(), base, true, '/elsewhere')).toBeNull();
    expect(judged(known({ files: [] }), base)).toBeNull();
    expect(judged(known(), base, false), 'the active file was merged away').toBeNull();
  });

  test('nowhere on a chain that is held', () => {
    const all = known({ held: 'all' });
    for (const file of [top, middle, base]) {
      expect(judged(all, file)).toEqual({ kind: 'held' });
      expect(judged(all, file, false)).toEqual({ kind: 'held' });
    }
    expect(judged(all, 'other')).toBeNull();
    expect(judged(all, top, true, '/elsewhere')).toBeNull();
  });

  test('on the overlay, but not below it, while it may have been switched to', () => {
    const below = known({ held: 'below' });
    expect(judged(below, top)).toBeNull();
    expect(judged(below, middle)).toEqual({ kind: 'held' });
    expect(judged(below, middle, false)).toBeNull();
  });
});
