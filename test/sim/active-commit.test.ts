import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FileName, QCOW2, RAW, type ServerId, type VolumeId } from '#domain/ids.ts';
import type { Happening } from '#ports/hypervisor.ts';
import { ActiveCommit } from '#sim/active-commit.ts';
import { SimClock } from '#sim/clock.ts';
import type { SimDisk } from '#sim/disk.ts';
import { SimGuest } from '#sim/guest.ts';
import { SimHypervisor } from '#sim/hypervisor.ts';
import { act, CLUSTERS, filesOf, history, perform, replay } from './history.ts';

/** Mirrors the active layer into the layer of that name. */
function mirror(disk: SimDisk, base: FileName): ActiveCommit {
  const begun = ActiveCommit.of(disk, { top: null, base, active: true });
  if (!begun.ok) throw new Error(begun.error.message);
  disk.job = begun.value;
  return begun.value;
}

const alone = (disk: SimDisk, file: FileName) => {
  const node = disk.node(file);
  return Array.from({ length: CLUSTERS }, (_, at) => node?.read(at));
};

test('a pivot leaves the guest what it had, with what it wrote meanwhile', () => {
  fc.assert(
    fc.property(history, fc.array(act, { maxLength: 12 }), fc.nat(4), (past, acts, pick) => {
      const below = filesOf(past).slice(0, -1);
      const base = below[pick % below.length];
      if (base === undefined) return;
      const [disk, other] = [replay(past), replay(past)];
      const job = mirror(disk, base);
      for (const one of acts) {
        job.step(1);
        for (const each of [disk, other]) perform(each, [one]);
        expect(disk.view()).toEqual(other.view());
        if (job.phase === 'ready') expect(alone(disk, base)).toEqual(disk.view());
      }
      while (job.phase !== 'ready') job.step(1);
      job.pivot();
      for (let at = 0; at < 4; at++) job.step(1);
      expect(disk.view()).toEqual(other.view());
      expect(disk.chain().file).toBe(base);
      expect(disk.xml).toEqual(disk.chain());
      disk.kill();
      disk.start();
      expect(disk.view()).toEqual(other.view());
    }),
  );
});

/** A guest on `second` over `first` over its raw base, each with a cluster of its own. */
function world() {
  const past = { format: RAW, epochs: [[[0, 1]], [[1, 2]], [[2, 3]]] } as const;
  const disk = replay(past);
  const clock = new SimClock();
  const guest = new SimGuest('guest' as ServerId, [disk]);
  guest.process = 'guest/1';
  const hypervisor = new SimHypervisor({ clock, guests: [guest] });
  const where = { server: guest.server, volume: 'volume' as VolumeId };
  const heard: string[] = [];
  hypervisor.listen((one: Happening) => one.kind === 'job' && heard.push(one.how));
  const base = 'base' as FileName;
  const commit = () =>
    hypervisor.begin(where, (it) => ActiveCommit.of(it, { top: null, base, active: true }));
  return { disk, clock, hypervisor, where, heard, commit, base };
}

test('it says when it is ready, waits, and ends in a pivot', async () => {
  const { disk, clock, hypervisor, where, heard, commit, base } = world();
  expect(commit()).toMatchObject({ ok: true });
  await clock.advance(100);
  expect(disk.job?.info()).toMatchObject({ kind: 'active-commit', done: 1 });
  expect(hypervisor.abort(where, { pivot: true })).toMatchObject({ error: { code: 83 } });
  await clock.advance(60_000);
  expect(heard).toEqual(['ready']);
  const { done, total } = disk.job?.info() ?? { done: 0, total: 1 };
  expect(done).toBe(total);
  expect(disk.xml.file).not.toBe(base);
  expect(hypervisor.abort(where, { pivot: true })).toMatchObject({ ok: true });
  await clock.advance(60_000);
  expect(heard).toEqual(['ready', 'completed']);
  expect(disk.xml).toEqual({ file: base, format: RAW, provenance: 'reported', on: null });
  expect(disk.job).toBeNull();
});

test('a cancel leaves the guest where it was, and the base in the middle', async () => {
  const { disk, clock, hypervisor, where, heard, commit, base } = world();
  const before = disk.view();
  commit();
  await clock.advance(100);
  expect(hypervisor.abort(where, { pivot: false })).toMatchObject({ ok: true });
  expect(heard).toEqual(['canceled']);
  expect(hypervisor.abort(where, { pivot: false })).toMatchObject({ error: { code: 8 } });
  expect(disk.view()).toEqual(before);
  expect(disk.chain()).toMatchObject({ format: QCOW2, on: { format: QCOW2, on: { format: RAW } } });
  expect(alone(disk, base)).toEqual([1, 2, 0, 0, 0, 0]);
});

test('no room for what is mirrored ends it as failed', async () => {
  const { disk, clock, heard, commit } = world();
  const before = disk.view();
  disk.share.space = 1;
  commit();
  await clock.advance(60_000);
  expect(heard).toEqual(['failed']);
  expect(disk.view()).toEqual(before);
});
