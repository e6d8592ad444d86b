import { expect, test } from 'vitest';
import { Pulls } from '#app/pulls.ts';
import type { Fault } from '#domain/failure.ts';
import type { ServerId, VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { GuestView, Job } from '#domain/sight.ts';
import type { Hypervisor, MergeOrder, SnapshotOrder } from '#ports/hypervisor.ts';
import type { Operation } from '#ports/journal.ts';
import { SimClock } from '#sim/clock.ts';

type Answer = Result<null, Fault>;

const JOB: Job = { kind: 'pull', done: 1, total: 2 };
const SHORT = { lookEveryMs: 20, mergeMs: 100, createMs: 200 };
const REFUSED: Answer = err({ kind: 'rejected', who: 'libvirt', code: 1, detail: 'no' });
const AWAY: Result<GuestView, Fault> = err({ kind: 'unreachable', who: 'libvirt', detail: 'away' });

/** What was begun, in this order; `jobs` is what a look shows of each disk. */
function stage(jobs: Record<string, Job> = {}) {
  const clock = new SimClock();
  const begun: string[] = [];
  const looked: string[] = [];
  const answers = new Map<string, Promise<Answer>>();
  const looks = new Map<string, Promise<Result<GuestView, Fault>>>();
  const begin = (what: string) => {
    begun.push(what);
    return answers.get(what) ?? Promise.resolve(ok(null));
  };
  const at = (volume: string) =>
    ok({ kind: 'disk', job: jobs[volume] ?? null } as unknown as GuestView);
  const bare = {
    look: async ({ volume }: { volume: string }) => {
      looked.push(volume);
      return looks.get(volume) ?? at(volume);
    },
    merge: ({ merge, volume }: MergeOrder) => begin(`${merge.kind} ${volume}`),
    commitActive: ({ volume }: MergeOrder) => begin(`mirror ${volume}`),
    snapshot: ({ volume }: SnapshotOrder) => begin(`snapshot ${volume}`),
    about: async () => ok('as it is'),
  } as unknown as Hypervisor;
  const pulls = new Pulls(clock, SHORT);
  const guarded = pulls.guard(bare);
  const disk = (volume: string, server = 'guest') =>
    ({ server: server as ServerId, volume: volume as VolumeId }) as MergeOrder & SnapshotOrder;
  const merge = (kind: 'pull' | 'commit', volume: string) =>
    guarded.merge({ ...disk(volume), merge: { kind } as MergeOrder['merge'] });
  return {
    ...{ clock, begun, looked, answers, looks, jobs, pulls, guarded, disk, at },
    pull: (volume: string) => merge('pull', volume),
    commit: (volume: string) => merge('commit', volume),
    mirror: (volume: string) => guarded.commitActive(disk(volume)),
    snapshot: (volume: string) => guarded.snapshot(disk(volume)),
    look: (volume: string, server = 'guest') => guarded.look(disk(volume, server)),
  };
}

test('of pulls on one guest the next one begins when the last is seen to be over', async () => {
  const { clock, begun, jobs, pull, look } = stage({ a: JOB });
  const both = Promise.all([pull('a'), pull('b')]);
  await clock.advance(90);
  expect(begun).toEqual(['pull a']);
  delete jobs.a;
  await look('a');
  expect(await both).toEqual([ok(null), ok(null)]);
  expect(begun).toEqual(['pull a', 'pull b']);
});

test('a look that did not ask for the job says nothing of a pull', async () => {
  const { clock, begun, jobs, looks, pull, look, at } = stage({ a: JOB });
  const both = Promise.all([pull('a'), pull('b')]);
  await clock.advance(10);
  const unasked = { kind: 'disk', job: null, unasked: true } as unknown as GuestView;
  looks.set('a', Promise.resolve(ok(unasked)));
  await look('a');
  await clock.advance(5);
  expect(begun).toEqual(['pull a']);
  delete jobs.a;
  looks.set('a', Promise.resolve(at('a')));
  await look('a');
  await both;
  expect(begun).toEqual(['pull a', 'pull b']);
});

test('what goes on for too long is "not now" to a merge; a snapshot is taken', async () => {
  const { clock, begun, pull, commit, mirror, snapshot } = stage({ a: JOB });
  await pull('a');
  for (const merge of [pull('b'), commit('c'), mirror('d')]) {
    expect(await clock.until(merge)).toMatchObject({ ok: false, error: { code: 84 } });
  }
  const taken = snapshot('e');
  await clock.advance(190);
  expect(begun).toEqual(['pull a']);
  expect(await clock.until(taken)).toEqual(ok(null));
  expect(begun).toEqual(['pull a', 'snapshot e']);
});

test('a pull whose end nobody saw is looked at', async () => {
  const { clock, begun, pull } = stage();
  await pull('a');
  expect(await clock.until(pull('b'))).toEqual(ok(null));
  expect(begun).toEqual(['pull a', 'pull b']);
});

test('a look that began before the pull, or before its answer, does not end it', async () => {
  const { clock, begun, answers, looks, at, pull, commit, look } = stage({ a: JOB });
  const early = Promise.withResolvers<Result<GuestView, Fault>>();
  looks.set('a', early.promise);
  const slow = look('a');
  looks.delete('a');
  const answer = Promise.withResolvers<Answer>();
  answers.set('pull a', answer.promise);
  const first = pull('a');
  await clock.advance(0);
  looks.set('a', Promise.resolve(at('z')));
  await look('a');
  expect(await clock.until(commit('b'))).toMatchObject({ error: { code: 84 } });
  answer.resolve(ok(null));
  await first;
  looks.delete('a');
  early.resolve(at('z'));
  await slow;
  expect(await clock.until(commit('b'))).toMatchObject({ error: { code: 84 } });
  expect(begun).toEqual(['pull a']);
});

test('nor does one that nobody answered; a guest that is gone has no pull', async () => {
  const { clock, looks, pull, commit } = stage({ a: JOB });
  await pull('a');
  looks.set('a', Promise.resolve(AWAY));
  expect(await clock.until(commit('b'))).toMatchObject({ error: { code: 84 } });
  looks.set('a', Promise.resolve(ok({ kind: 'absent' } as GuestView)));
  expect(await clock.until(commit('b'))).toEqual(ok(null));
});

test('who is refused a look, as somebody else has the lock, has not seen the end', async () => {
  const { clock, looks, pull, commit, look } = stage({ a: JOB });
  await pull('a');
  const busy = { kind: 'rejected', who: 'libvirt', code: 68, detail: 'the lock' } as const;
  looks.set('a', Promise.resolve(err(busy)));
  await look('a');
  expect(await clock.until(commit('b'))).toMatchObject({ error: { code: 84 } });
});

test('a look that fails as none may is met by the disk itself, and stops nobody', async () => {
  const { clock, looks, pull, commit } = stage({ a: JOB });
  await pull('a');
  const broken = Promise.reject(new Error('a defect'));
  broken.catch(() => {});
  looks.set('a', broken);
  expect(await clock.until(commit('b'))).toMatchObject({ error: { code: 84 } });
});

test('a look that never comes back keeps nobody longer, and is not asked for twice', async () => {
  const { clock, begun, looked, looks, pull, commit, snapshot } = stage({ a: JOB });
  await pull('a');
  looks.set('a', new Promise(() => {}));
  expect(await clock.until(commit('b'), 150)).toMatchObject({ error: { code: 84 } });
  await clock.until(snapshot('c'), 250);
  expect(begun).toEqual(['pull a', 'snapshot c']);
  expect(looked).toEqual(['a']);
});

test('one that was asked for and never answered is one, also for whoever asks again', async () => {
  const { clock, answers, pull, commit } = stage({ a: JOB });
  const lost: Answer = err({ kind: 'unknown', who: 'libvirt', detail: 'connection reset' });
  answers.set('pull a', Promise.resolve(lost));
  expect(await pull('a')).toEqual(lost);
  answers.set('pull a', Promise.resolve(REFUSED));
  expect(await pull('a')).toEqual(REFUSED);
  expect(await clock.until(commit('b'))).toMatchObject({ error: { code: 84 } });
});

test('a pull that was refused is in the way of nobody, nor is one of another guest', async () => {
  const { clock, answers, pull, commit, look } = stage({ z: JOB });
  answers.set('pull a', Promise.resolve(REFUSED));
  expect(await pull('a')).toEqual(REFUSED);
  expect(await clock.until(commit('b'))).toEqual(ok(null));
  await look('z', 'another');
  expect(await clock.until(commit('b'))).toEqual(ok(null));
});

test('what is asked of a disk that is being pulled does not hide its pull', async () => {
  const { clock, answers, pull, commit, snapshot } = stage({ a: JOB });
  await pull('a');
  answers.set('commit a', Promise.resolve(REFUSED));
  expect(await commit('a')).toEqual(REFUSED);
  await snapshot('a');
  expect(await clock.until(commit('b'))).toMatchObject({ error: { code: 84 } });
});

test('a pull waits for a call that begins something; such calls do not', async () => {
  const { clock, begun, answers, pull, snapshot } = stage();
  const taken = Promise.withResolvers<Answer>();
  answers.set('snapshot a', taken.promise);
  const slow = snapshot('a');
  await snapshot('c');
  const pulled = pull('b');
  await clock.advance(30);
  expect(begun).toEqual(['snapshot a', 'snapshot c']);
  taken.resolve(ok(null));
  await Promise.all([slow, pulled]);
  expect(begun).toEqual(['snapshot a', 'snapshot c', 'pull b']);
});

test('a pull that somebody else began is waited for as well', async () => {
  const { clock, jobs, commit, look } = stage({ a: JOB });
  await look('a');
  expect(await clock.until(commit('b'))).toMatchObject({ error: { code: 84 } });
  delete jobs.a;
  expect(await clock.until(commit('b'))).toEqual(ok(null));
});

test.each([
  ['a delete', { kind: 'delete', at: 'merging', plan: { merge: { kind: 'pull' } } }],
  ['a create whose header is healed', { kind: 'create', at: 'switching', heals: 1 }],
])('so is %s that an earlier process left', async (_, left) => {
  const { clock, pulls, commit } = stage({ c: JOB });
  const request = { server: 'guest', volume: 'c' };
  pulls.expect([{ saga: { ...left, request } } as unknown as Operation]);
  expect(await clock.until(commit('b'))).toMatchObject({ error: { code: 84 } });
});

test('what an earlier process left and pulls nothing is not waited for', async () => {
  const { clock, looked, pulls, commit } = stage({ c: JOB });
  const request = { server: 'guest', volume: 'c' };
  const open = [
    { kind: 'delete', at: 'merging', plan: { merge: { kind: 'commit' } } },
    { kind: 'create', at: 'switching' },
    // An undo begins an active commit, which is no pull.
    { kind: 'undo', at: 'committing' },
  ].map((left) => ({ saga: { ...left, request } }) as unknown as Operation);
  pulls.expect(open);
  expect(await clock.until(commit('b'))).toEqual(ok(null));
  expect(looked).toEqual([]);
});

test('whatever begins nothing is asked of the hypervisor as it is', async () => {
  const { guarded } = stage();
  expect(await guarded.about()).toEqual(ok('as it is'));
});
