import { describe, expect, test } from 'vitest';
import { explainFault, type Fault } from '#domain/failure.ts';
import type { Event, Next } from '#domain/saga.ts';
import type { Job, Sight } from '#domain/sight.ts';
import { isGivenUp, nextUndo, type UndoSaga } from '#domain/undo-saga.ts';
import { chain, file } from '../support/chains.ts';
import { reloaded } from '../support/sagas.ts';
import { BEFORE, CREATE, CREATED } from '../support/scenes.ts';
import {
  AMBIGUOUS,
  AWAY,
  BUSY,
  DID,
  disk,
  ended,
  failed,
  GONE,
  glance,
  REFUSED,
  saw,
  sight,
  UNKNOWN,
  WOKE,
} from '../support/sights.ts';

type At<A extends UndoSaga['at']> = Extract<UndoSaga, { at: A }>;

const made = { before: BEFORE, after: CREATED };
const waiting: UndoSaga = { kind: 'undo', request: CREATE, made, at: 'waiting' };

const mirror = (ready: boolean, into = 's1'): Job => ({
  kind: 'active-commit',
  ...{ done: 1, total: 2, mirror: { into: file(into), ready } },
});
const copying = glance(disk(CREATED, { job: mirror(false) }));
const ready = glance(disk(CREATED, { job: mirror(true) }));
/** Between a pivot and its end libvirt has a mirror without a job. */
const turning = glance(disk(CREATED, { job: { kind: 'active-commit', done: 0, total: 0 } }));
const back = glance(disk(BEFORE));
const still = glance(disk(CREATED));
const foreign = glance(disk(CREATED, { job: { kind: 'copy', done: 0, total: 1 } }));
const another = glance(disk(chain('later', 'new', 's1', 'v')));

/** What Cinder says too: the snapshot's status, and the file in its attachment. */
const asked = (seen: Sight, status: string | null, active: string | null = 's1'): Sight =>
  sight(seen.guest, status, active === null ? {} : { active });

function along(saga: UndoSaga, ...happened: readonly Event[]): Next<UndoSaga> {
  const steps = happened.map((event) => {
    const next = nextUndo(saga, event);
    saga = reloaded(next.saga);
    return next;
  });
  return steps.at(-1) ?? expect.unreachable();
}

const ending = ({ saga, tell }: Next<UndoSaga>) => {
  expect(tell).toBeNull();
  return saga.at === 'end' ? `${saga.outcome}: ${saga.reason}` : saga.at;
};

const decided = along(waiting, saw(asked(still, 'error')));
const committing = decided.saga as At<'committing'>;
const turned = along(committing, saw(asked(ready, 'error')));
const pivoting = turned.saga as At<'pivoting'>;
const canceled = along(committing, saw(asked(ready, 'available')));
const canceling = canceled.saga as At<'canceling'>;
const flushing = along(pivoting, saw(back)).saga as At<'flushing'>;

const order = { target: 'vda', process: 'qemu-1', chain: ['new', 's1', 'v'] };
const WATCH = { do: 'watch', soon: false };
const SOON = { do: 'watch', soon: true };
const LOOK = { do: 'look', headers: [], cinder: false };
const ASK = { do: 'look', headers: [], cinder: true };

test('look, mirror, look at Cinder again, switch back, make it safe', () => {
  expect(nextUndo(waiting, WOKE).effect).toEqual(ASK);
  expect(decided.effect).toEqual({ do: 'commit-active', ...order });
  expect(decided.evidence).toEqual([
    { kind: 'decided', detail: 'commit new into s1, and go back' },
  ]);
  expect(committing).toEqual({
    ...{ kind: 'undo', request: CREATE, made, at: 'committing', tries: 1 },
    ...{ target: 'vda', process: 'qemu-1', doubts: 0, refused: null },
  });
  expect(along(committing, DID).effect).toEqual(LOOK);
  expect(along(committing, DID, saw(copying)).effect).toEqual(WATCH);
  expect(along(committing, saw(ready)).effect).toEqual(ASK);
  expect(turned.effect).toEqual({ do: 'pivot', ...order });
  expect(along(pivoting, DID, saw(turning)).effect).toEqual(SOON);
  const flushed = along(pivoting, DID, saw(back));
  expect(flushed.effect).toEqual({ do: 'flush', target: 'vda', process: 'qemu-1' });
  expect(flushed.evidence).toEqual([{ kind: 'switched', detail: 'vda is on s1 again' }]);
  const last = along(flushing, DID);
  expect(ending(last)).toBe(
    'undone: new, which Cinder gave up, is out of use: all of it is in the old file',
  );
  expect(last.evidence).toEqual([{ kind: 'flushed', detail: 'all on disk' }]);
  expect(last.effect).toBeNull();
  expect(nextUndo(last.saga, WOKE)).toMatchObject({ effect: null, tell: null });
});

describe('only what Cinder has given up, and is provably ours', () => {
  test.each<[string, Sight, string]>([
    ['taken after all', asked(still, 'available'), 'withdrawn: the snapshot is available in '],
    ['still creating', asked(still, 'creating'), 'withdrawn: the snapshot is creating in Cinder'],
    ['taken, and reset', asked(still, 'error', 'new'), 'withdrawn: the snapshot is error, but '],
    ['a third file', asked(still, 'error', 'x'), 'is error, and its attachment names x'],
    ['no word', asked(still, null, null), 'is gone, and its attachment names no file'],
    ['not in use', asked(back, 'error'), 'withdrawn: new is not in use'],
    ['not on top', asked(another, 'error'), 'unknown: new is in use: the chain became another '],
    ['shut off', asked(off(), 'error'), 'withdrawn: the guest is shut off, and what it wrote'],
    ['gone', asked(glance(GONE), 'error'), 'withdrawn: No guest server-1 '],
    ['there twice', asked(glance(AMBIGUOUS), 'error'), 'unknown: new is in use: Guest server-1 '],
  ])('%s', (_, seen, words) => {
    expect(ending(along(waiting, saw(seen)))).toContain(words);
  });

  test.each(['error', null, 'deleting', 'error_deleting'])('given up: %s', (status) => {
    expect(along(waiting, saw(asked(still, status))).saga.at).toBe('committing');
    expect(isGivenUp(status ?? 'gone')).toBe(true);
  });

  test('a job of somebody else is left alone, and holds nobody up', () => {
    const next = along(waiting, saw(asked(foreign, 'error')));
    expect(ending(next)).toBe('withdrawn: a copy job is at work on the disk');
  });
});

function off(): Sight {
  return glance(disk(CREATED, { process: null }));
}

describe('while it is mirrored', () => {
  test('a Cinder that wants it after all has it left in use', () => {
    expect(canceled.effect).toEqual({ do: 'cancel', ...order });
    expect(canceled.evidence).toEqual([
      { kind: 'decided', detail: 'leave new in use: the snapshot is available in Cinder' },
    ]);
    expect(along(canceling, DID).effect).toEqual(LOOK);
    expect(along(canceling, saw(ready)).effect).toEqual(SOON);
    expect(ending(along(canceling, saw(still)))).toBe(
      'withdrawn: the snapshot is available in Cinder',
    );
    const weary = { ...canceling, doubts: 30 };
    expect(ending(along(weary, saw(ready)))).toMatch(
      /^unknown: new is in use: .*, and the active commit does not end$/,
    );
    expect(ending(along(canceling, saw(back)))).toMatch(/^unknown: .*, and s1 is active$/);
    const anew = glance(disk(CREATED, { process: 'qemu-2', job: mirror(false) }));
    expect(ending(along(canceling, saw(anew))), 'the job of another QEMU').toBe(
      'withdrawn: the snapshot is available in Cinder',
    );
  });

  test('somebody else pivots, or cancels', () => {
    expect(along(committing, saw(back)).saga.at).toBe('flushing');
    const again = along(committing, ended('canceled'), saw(still));
    expect(again.effect).toEqual(ASK);
    expect(along(again.saga, saw(asked(still, 'error'))).saga).toMatchObject({ tries: 2 });
    // Back on the old file, and somebody is at work there: it is not flushed under their hands.
    const busy = glance(disk(BEFORE, { job: { kind: 'copy', done: 0, total: 1 } }));
    expect(ending(along(committing, saw(busy)))).toBe(
      'withdrawn: a copy job is at work on the disk',
    );
  });

  test('it is asked for three times', () => {
    let saga: UndoSaga = committing;
    for (let tries = 2; tries <= 3; tries++) {
      saga = along(saga, saw(asked(still, 'error'))).saga;
      expect(saga).toMatchObject({ at: 'committing', tries });
    }
    expect(ending(along(saga, saw(asked(still, 'error'))))).toMatch(/again and again$/);
  });

  test('whose job is ready is not ours, unless it goes where ours goes', () => {
    const bare = { kind: 'active-commit', done: 1, total: 1 } as const;
    for (const job of [mirror(true, 'v'), bare, { ...bare, kind: 'copy' } as const]) {
      const seen = asked(glance(disk(CREATED, { job })), 'error');
      expect(ending(along(committing, saw(seen)))).toMatch(/^withdrawn: an? .* is at work on/);
    }
  });

  test('what is at work after a first attempt was refused is not ours; later it may be', () => {
    const busy = along(committing, failed(BUSY), saw(asked(ready, 'error')));
    expect(ending(busy)).toMatch(/^withdrawn: an? active-commit job is at work/);
    const again = along({ ...committing, tries: 2 }, failed(BUSY), saw(asked(ready, 'error')));
    expect(again.saga.at).toBe('pivoting');
  });

  test('an attempt that came through to the next QEMU is gone on with', () => {
    const anew = glance(disk(CREATED, { process: 'qemu-2', job: mirror(true) }));
    const next = along(committing, saw(asked(anew, 'error')));
    expect(next).toMatchObject({ saga: { at: 'pivoting' }, effect: { process: 'qemu-2' } });
  });

  test.each<[string, Fault, string]>([
    ['refused', REFUSED, `unknown: new is in use: ${explainFault(REFUSED)}`],
    ['busy', BUSY, 'committing'],
    ['away', AWAY, 'committing'],
  ])('%s', (_, fault, expected) => {
    const next = along(committing, failed(fault), saw(asked(still, 'error')));
    expect(ending(next)).toBe(expected);
  });

  test('beside a pull of another disk it waits for as long as that takes', () => {
    let { saga } = along(committing, failed(BUSY));
    for (let times = 0; times < 10; times++) {
      const waits = along(saga, saw(asked(still, 'error')));
      expect(waits.effect).toEqual({ do: 'watch', soon: false });
      const again = along(waits.saga, WOKE, saw(asked(still, 'error')));
      expect(again).toMatchObject({ saga: { tries: 1 }, effect: { do: 'commit-active' } });
      saga = along(again.saga, failed(BUSY)).saga;
    }
  });

  test('what never answered may still begin', () => {
    let { saga } = along(committing, failed(UNKNOWN));
    for (let doubts = 1; doubts <= 30; doubts++) {
      const next = along(saga, saw(asked(still, 'error')));
      expect(next).toMatchObject({ saga: { at: 'committing', doubts, tries: 1 }, effect: SOON });
      saga = next.saga;
    }
    expect(along(saga, saw(asked(still, 'error'))).saga).toMatchObject({ tries: 2 });
  });

  test('QEMU died, and the job with it: all is still in the overlay', () => {
    const anew = glance(disk(CREATED, { process: 'qemu-2' }));
    expect(along(committing, saw(asked(anew, 'error')))).toMatchObject({
      saga: { at: 'committing', process: 'qemu-2', tries: 2 },
      effect: { do: 'commit-active', process: 'qemu-2' },
    });
    expect(ending(along(committing, saw(off())))).toMatch(/^withdrawn: the guest is shut off/);
    // What the dead one had refused says nothing of the next one.
    const refused = along(committing, failed(REFUSED)).saga;
    expect(along(refused, saw(asked(anew, 'error')))).toMatchObject({
      saga: { at: 'committing', process: 'qemu-2', tries: 2, refused: null },
    });
  });
});

describe('while it is switched back', () => {
  test('a switch that does not come is asked for again, three times', () => {
    let saga: UndoSaga = pivoting;
    for (let tries = 1; tries <= 3; tries++) {
      for (let doubts = 1; doubts <= 30; doubts++) {
        saga = along(saga, saw(ready)).saga;
        expect(saga).toMatchObject({ at: 'pivoting', doubts, tries });
      }
      if (tries === 3) break;
      const next = along(saga, saw(ready));
      expect(next.effect).toEqual({ do: 'pivot', ...order });
      saga = next.saga;
    }
    expect(ending(along(saga, saw(ready)))).toMatch(/not switched back: it does not happen$/);
    const refused = along(saga, failed(REFUSED), saw(ready));
    expect(ending(refused)).toContain('not switched back: libvirt refused');
  });

  test('a job that went without it is begun anew', () => {
    expect(along(pivoting, saw(asked(still, 'error'))).saga).toMatchObject({
      ...{ at: 'committing', tries: 1 },
    });
    const anew = glance(disk(CREATED, { process: 'qemu-2' }));
    expect(along(pivoting, saw(asked(anew, 'error'))).saga.at).toBe('committing');
    const copied = glance(disk(BEFORE, { job: { kind: 'copy', done: 0, total: 1 } }));
    expect(along(pivoting, saw(copied)).effect, 'not flushed under their hands').toEqual(SOON);
    const theirs = glance(disk(CREATED, { process: 'qemu-2', job: mirror(true) }));
    expect(ending(along(pivoting, saw(asked(theirs, 'error'))))).toBe(
      'withdrawn: a active-commit job is at work on the disk',
    );
    expect(along(pivoting, saw(turning)).saga, 'no doubt while it happens').toEqual(pivoting);
    const done = glance(disk(BEFORE, { process: 'qemu-2' }));
    expect(along(pivoting, saw(done))).toMatchObject({
      effect: { do: 'flush', process: 'qemu-2' },
    });
  });
});

test('a flush is asked for until it is done', () => {
  const next = along(flushing, failed(AWAY));
  expect(next).toMatchObject({ saga: { at: 'flushing' }, effect: WATCH });
  expect(along(flushing, WOKE).effect).toEqual(LOOK);
  const anew = glance(disk(BEFORE, { process: 'qemu-2' }));
  const asked = along(flushing, saw(anew));
  expect(asked.effect).toMatchObject({ do: 'flush', process: 'qemu-2' });
  expect(asked.saga).toEqual({ ...flushing, process: 'qemu-2' });
  expect(along(flushing, DID).saga).toMatchObject({ outcome: 'undone', formats: [] });
  expect(nextUndo(waiting, failed(AWAY))).toMatchObject({ saga: waiting, effect: WATCH });
  expect(ending(along(flushing, saw(still)))).toMatch(/changed before it was flushed: new is act/);
});

test.each([waiting, committing, pivoting, canceling, flushing])(
  'a look that fails is written down and tried again: $at',
  (saga) => {
    const next = nextUndo(saga, { kind: 'blind', fault: AWAY });
    const evidence = [{ kind: 'fault', detail: explainFault(AWAY) }];
    expect(next).toEqual({ saga, effect: WATCH, evidence, tell: null, progress: null });
  },
);
