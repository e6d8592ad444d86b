import { expect, test } from 'vitest';
import { type FileName, QCOW2, RAW, type ServerId, type VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import type { Happening } from '#ports/hypervisor.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud } from '#sim/cloud.ts';
import { SimDisk } from '#sim/disk.ts';
import { SimGuest } from '#sim/guest.ts';

/** A guest on `overlay` over its raw base, with something in each. */
async function world(oldLibvirt = false) {
  const clock = new SimClock();
  const cloud = new SimCloud({ clock, oldLibvirt });
  const { hypervisor, share, disk, server, volume, guest } = cloud;
  const base = disk.xml.file;
  const overlay = 'overlay' as FileName;
  for (let at = 0; at < 8; at++) disk.write(at, at + 1);
  share.create(overlay, { backing: base, backingFormat: RAW });
  const order = { server, volume, target: disk.target, process: guest.process };
  const { directory } = share;
  await hypervisor.snapshot({ ...order, directory, file: overlay, active: base });
  const heard: Happening[] = [];
  hypervisor.listen((happening) => heard.push(happening));
  const pull = { kind: 'pull', onto: null } as const;
  const merge = () => hypervisor.merge({ ...order, merge: pull, chain: [overlay, base] });
  return { clock, cloud, heard, merge, order, base, overlay, where: { server, volume } };
}

const jobsOf = (heard: readonly Happening[]) =>
  heard.flatMap((one) => (one.kind === 'job' ? [one.how] : []));

test('a disk that fills up fails the job, and it can be done again', async () => {
  const { clock, cloud, heard, merge } = await world();
  const before = cloud.disk.view();
  cloud.share.space = 3;
  await merge();
  await clock.advance(5_000);
  expect(jobsOf(heard)).toEqual(['failed']);
  expect(cloud.disk.view()).toEqual(before);
  cloud.share.space = 100;
  await merge();
  await clock.advance(5_000);
  expect(jobsOf(heard)).toEqual(['failed', 'completed']);
  expect(cloud.disk.view()).toEqual(before);
});

test('the XML is new before the event, and the job is forgotten after it', async () => {
  const { clock, cloud, merge, overlay } = await world();
  const { disk, hypervisor } = cloud;
  const seen: unknown[] = [];
  hypervisor.listen((one) => {
    if (one.kind === 'job') seen.push([disk.xml.file, disk.xml.on, disk.job?.info()]);
  });
  await merge();
  await clock.advance(5_000);
  expect(seen).toEqual([[overlay, null, { kind: 'pull', done: 0, total: 1 }]]);
  expect(disk.job).toBeNull();
});

test('an older libvirt has its job at its end, then no job, and then its XML changed', async () => {
  const { clock, cloud, merge, overlay, base } = await world(true);
  const { disk, hypervisor } = cloud;
  const seen: unknown[] = [];
  hypervisor.listen((one) => {
    if (one.kind === 'job') seen.push(['told', disk.xml.on?.file, disk.job?.info()]);
  });
  await merge();
  for (let at = 0; at < 30; at++) {
    await clock.advance(50);
    const job = disk.job?.info() ?? null;
    seen.push([disk.xml.on?.file ?? 'nothing', job && `${job.done}/${job.total}`]);
  }
  const kinds = seen.filter((one, at) => JSON.stringify(one) !== JSON.stringify(seen[at - 1]));
  expect(kinds.slice(-6)).toEqual([
    [base, '7/8'],
    [base, '8/8'],
    [base, null],
    ['told', base, null],
    [base, null],
    ['nothing', null],
  ]);
  expect([disk.xml.file, disk.job]).toEqual([overlay, null]);
});

test.each([
  ['copy', 83],
  ['active-commit', 83],
  ['commit', 84],
] as const)('a %s of somebody else is seen, and in the way', async (kind, code) => {
  const { clock, cloud, merge, where } = await world();
  cloud.hypervisor.startForeignJob(where, kind);
  await clock.advance(60_000);
  expect(await cloud.hypervisor.look(where)).toMatchObject({ value: { job: { kind } } });
  expect(await merge()).toMatchObject({ error: { kind: 'rejected', code } });
});

test('a file that somebody removed under the guest is not committed into', async () => {
  const { cloud, order, base, overlay } = await world();
  const { hypervisor, share } = cloud;
  const file = 'second' as FileName;
  share.create(file, { backing: overlay, backingFormat: QCOW2 });
  const { directory } = share;
  await hypervisor.snapshot({ ...order, directory, file, active: overlay });
  share.files.delete(base);
  const merge = { kind: 'commit', top: overlay, into: base } as const;
  const asked = hypervisor.merge({ ...order, merge, chain: [file, overlay, base] });
  expect(await asked).toMatchObject({ error: { kind: 'rejected', code: 38 } });
});

test('names that are not relative cannot be kept so', async () => {
  const { cloud, order, base, overlay } = await world();
  const { hypervisor, share } = cloud;
  const file = 'second' as FileName;
  share.create(file, { backing: `${share.directory}/${overlay}`, backingFormat: QCOW2 });
  const { directory } = share;
  await hypervisor.snapshot({ ...order, directory, file, active: overlay });
  const merge = { kind: 'pull', onto: base } as const;
  const asked = hypervisor.merge({ ...order, merge, chain: [file, overlay, base] });
  expect(await asked).toMatchObject({ error: { kind: 'rejected', code: 55 } });
});

test('F14: what begins on another disk while a pull ends kills the guest', async () => {
  const kinds = ['pull', 'snapshot'] as const;
  for (const [kind, ms] of kinds.flatMap((kind) => [
    [kind, 500] as const,
    [kind, 1_000] as const,
  ])) {
    const { clock, cloud, merge, order, base, overlay } = await world();
    const { hypervisor, share, guest, root } = cloud;
    const { directory } = share;
    const beside = { ...order, volume: root.volume, target: 'vda' };
    const active = root.xml.file;
    const [one, two] = ['one', 'two'] as FileName[];
    for (const [file, on] of [[one!, active] as const, [two!, one!] as const]) {
      share.create(file, { backing: on, backingFormat: on === active ? RAW : QCOW2 });
    }
    await hypervisor.snapshot({ ...beside, directory, file: one!, active });
    expect(await merge()).toEqual(ok(null));
    await clock.advance(ms);
    const asked =
      kind === 'pull'
        ? hypervisor.merge({ ...beside, merge: { kind, onto: null }, chain: [one!, active] })
        : hypervisor.snapshot({ ...beside, directory, file: two!, active: one! });
    if (ms === 500) expect(await asked).toEqual(ok(null));
    else expect(await asked).toMatchObject({ error: { kind: 'rejected', code: 38 } });
    expect(guest.process === null).toBe(ms !== 500);
    expect(share.file(overlay)?.header?.backing ?? null).toBe(ms === 500 ? base : null);
  }
});

test('two disks with one serial are told apart by nobody', async () => {
  const { cloud } = await world();
  const { share, hypervisor, disk } = cloud;
  const twin = (target: string) =>
    new SimDisk(share, 'twin' as VolumeId, target, disk.xml.file, QCOW2);
  const server = 'twins' as ServerId;
  hypervisor.guests.push(new SimGuest(server, [twin('vda'), twin('vdb')]));
  const view = await hypervisor.look({ server, volume: 'twin' as VolumeId });
  const why = { kind: 'ambiguous-disk', targets: ['vda', 'vdb'] };
  expect(view).toMatchObject({ ok: true, value: { kind: 'absent', why } });
});

test('whoever is deaf misses what happens', async () => {
  const { clock, cloud, heard, merge } = await world();
  cloud.hypervisor.deaf = true;
  await merge();
  await clock.advance(5_000);
  cloud.hypervisor.deaf = false;
  cloud.hypervisor.tell({ kind: 'reconnected' });
  expect(heard).toEqual([{ kind: 'reconnected' }]);
});
