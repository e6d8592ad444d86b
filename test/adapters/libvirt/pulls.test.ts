import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { JobInfo } from '#adapters/libvirt/guest-calls.ts';
import { Pulls } from '#adapters/libvirt/pulls.ts';
import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';

const JOB: JobInfo = { type: 1, cur: 1, end: 2, bandwidth: 0 };
const SHORT = { lookEveryMs: 20, mergeMs: 100, createMs: 200 };
const disk = (target: string, server = 'guest') => ({ server, target });
const done = async (): Promise<Result<null, Fault>> => ok(null);

/** What was begun, in this order; `asked` is what libvirt says of each disk. */
function stage(asked: Record<string, JobInfo | null> = {}) {
  const begun: string[] = [];
  const pulls = new Pulls(async (_, target) => ok(asked[target] ?? null), SHORT);
  const pull = (target: string) =>
    pulls.merge(disk(target), 'pull', async () => {
      begun.push(`pull ${target}`);
      return ok(null);
    });
  return { begun, pulls, pull };
}

test('of pulls on one guest the next one begins when the last is seen to be over', async () => {
  const { begun, pulls, pull } = stage({ vda: JOB });
  const both = Promise.all([pull('vda'), pull('vdb')]);
  await sleep(30);
  expect(begun).toEqual(['pull vda']);
  pulls.note('guest', 'vda', null);
  expect(await both).toEqual([ok(null), ok(null)]);
  expect(begun).toEqual(['pull vda', 'pull vdb']);
});

test('what goes on for too long is "not now" to a merge; a snapshot is taken', async () => {
  const { pulls, pull } = stage({ vda: JOB });
  await pull('vda');
  expect(await pull('vdb')).toMatchObject({ ok: false, error: { code: 84 } });
  expect(await pulls.merge(disk('vdc'), 'commit', done)).toMatchObject({ error: { code: 84 } });
  expect(await pulls.snapshot(disk('vdd'), async () => 'taken')).toBe('taken');
});

test('a pull whose end nobody saw is asked for', async () => {
  const { begun, pull } = stage();
  await pull('vda');
  expect(await pull('vdb')).toEqual(ok(null));
  expect(begun).toEqual(['pull vda', 'pull vdb']);
});

test('a look from before the answer does not say that it is over', async () => {
  const { pulls } = stage();
  const answer = Promise.withResolvers<Result<null, Fault>>();
  const first = pulls.merge(disk('vda'), 'pull', () => answer.promise);
  await sleep(0);
  pulls.note('guest', 'vda', null);
  expect(await pulls.merge(disk('vdb'), 'commit', done)).toMatchObject({ error: { code: 84 } });
  answer.resolve(ok(null));
  await first;
});

test('a pull that was refused is in the way of nobody, nor is one of another guest', async () => {
  const { pulls } = stage({ vda: JOB });
  const refused = err<Fault>({ kind: 'rejected', who: 'libvirt', code: 1, detail: 'no' });
  expect(await pulls.merge(disk('vda'), 'pull', async () => refused)).toEqual(refused);
  expect(await pulls.merge(disk('vdb'), 'commit', done)).toEqual(ok(null));
  pulls.note('other', 'vda', JOB);
  expect(await pulls.merge(disk('vdb'), 'pull', done)).toEqual(ok(null));
});

test('a pull waits for a call that begins something; such calls do not', async () => {
  const { begun, pulls, pull } = stage();
  const taken = Promise.withResolvers<void>();
  const slow = pulls.snapshot(disk('vda'), () => taken.promise);
  const quick = pulls.snapshot(disk('vdc'), async () => void begun.push('snapshot vdc'));
  expect(await Promise.race([quick, sleep(60, 'it waited')])).not.toBe('it waited');
  const pulled = pull('vdb');
  await sleep(30);
  expect(begun).toEqual(['snapshot vdc']);
  taken.resolve();
  await Promise.all([slow, pulled]);
  expect(begun).toEqual(['snapshot vdc', 'pull vdb']);
});
