import fc from 'fast-check';
import { expect, test } from 'vitest';
import { afterMerge } from '#domain/chain.ts';
import { ok } from '#domain/result.ts';
import type { SimDisk } from '#sim/disk.ts';
import { act, begin, everyMerge, finish, history, perform, replay } from './history.ts';

test('a merge changes what the disk is made of, never what the guest reads', () => {
  fc.assert(
    fc.property(history, (past) => {
      for (const merge of everyMerge(past)) {
        const disk = replay(past);
        const before = disk.view();
        const predicted = afterMerge(disk.chain(), merge);
        finish(begin(disk, merge));
        expect(disk.view()).toEqual(before);
        expect(predicted).toEqual(ok(disk.chain()));
        expect(disk.xml).toEqual(disk.chain());
      }
    }),
  );
});

test('what a merge leaves reads the same after a stop and a start', () => {
  fc.assert(
    fc.property(history, (past) => {
      for (const merge of everyMerge(past)) {
        const disk = replay(past);
        const before = disk.view();
        finish(begin(disk, merge));
        const chain = disk.chain();
        disk.stop();
        expect(disk.start()).toEqual(ok(null));
        expect(disk.view()).toEqual(before);
        expect(disk.chain()).toEqual(chain);
      }
    }),
  );
});

test('what the guest writes while a merge runs is what it reads', () => {
  fc.assert(
    fc.property(history, fc.array(act, { maxLength: 12 }), (past, acts) => {
      for (const merge of everyMerge(past)) {
        const [disk, alone] = [replay(past), replay(past)];
        const job = begin(disk, merge);
        for (const one of acts) {
          job.step(1);
          for (const each of [disk, alone]) perform(each, [one]);
          expect(disk.view()).toEqual(alone.view());
        }
        finish(job);
        expect(disk.view()).toEqual(alone.view());
      }
    }),
  );
});

test('a merge that stops anywhere leaves the guest what it had, and can be done again', () => {
  fc.assert(
    fc.property(history, fc.nat(8), (past, steps) => {
      for (const merge of everyMerge(past)) {
        const disk = replay(past);
        const [before, chain] = [disk.view(), disk.chain()];
        const job = begin(disk, merge);
        for (let at = 0; at < steps && job.phase === 'copying'; at++) job.step(1);
        expect(disk.view()).toEqual(before);
        expect(disk.chain()).toEqual(chain);
        finish(begin(disk, merge));
        expect(disk.view()).toEqual(before);
      }
    }),
  );
});

test('QEMU may be killed anywhere in a merge: only an unflushed pull can lose anything', () => {
  fc.assert(
    fc.property(history, fc.nat(20), (past, steps) => {
      for (const merge of everyMerge(past)) {
        const disk = replay(past);
        disk.flush();
        const before = disk.view();
        const job = begin(disk, merge);
        for (let at = 0; at < steps; at++) job.step(1);
        // A header that names its new backing file is no proof.
        const rewritten = !['copying', 'header'].includes(job.phase);
        const safe = merge.kind === 'pull' ? !rewritten : job.phase !== 'concluding';
        disk.kill();
        expect(disk.start()).toEqual(ok(null));
        if (safe) expect(disk.view()).toEqual(before);
      }
    }),
  );
});

test('an unflushed pull does lose what it pulled, and the merged file still has it', () => {
  const disk = threeLayers();
  disk.flush();
  const before = disk.view();
  finish(begin(disk, { kind: 'pull', onto: null }));
  disk.kill();
  disk.start();
  expect(disk.view()).not.toEqual(before);
});

test('a full disk ends a merge as failed and leaves the chain alone', () => {
  const disk = threeLayers();
  const [before, chain] = [disk.view(), disk.chain()];
  disk.share.space = 0;
  const job = begin(disk, { kind: 'pull', onto: null });
  finish(job);
  expect(job.failed).toBe(true);
  expect(disk.view()).toEqual(before);
  expect(disk.chain()).toEqual(chain);
});

function threeLayers(): SimDisk {
  const [first, second, third] = [[0, 1] as const, [1, 2] as const, [2, 3] as const];
  return replay({ format: 'raw' as never, epochs: [[first], [second], [third]] });
}
