import { expect, test } from 'vitest';
import { type FileName, QCOW2, RAW, type SnapshotId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import type { Dialect } from '#domain/status.ts';
import { coldView } from '#sim/world/truth.ts';
import { cloudWith, Nova } from './nova.ts';

const ID = '11111111-0000-4000-8000-000000000000' as SnapshotId;
const NEXT = '22222222-0000-4000-8000-000000000000' as SnapshotId;
const THIRD = '33333333-0000-4000-8000-000000000000' as SnapshotId;

/** A volume that can be taken from its guest and given back. */
function coming(knows: Dialect = 'stock') {
  const world = cloudWith((cloud, cinder) => new Nova(cloud, cinder), { knows });
  const { cinder, cloud, clock, disk, volume, share } = world;
  const file = (id: SnapshotId) => `${world.base}.${id}` as FileName;
  return {
    ...world,
    file,
    detach() {
      cloud.guest.unplug(disk);
      for (const { id } of cinder.attachmentsOf(volume)) cinder.detach(id);
    },
    attach() {
      const found = cinder.connect(volume, cloud.server);
      if (!found.ok) return found;
      return cloud.guest.plug(disk, found.value.row.name!, found.value.format);
    },
    take: (id: SnapshotId) => clock.until(cinder.createSnapshot(volume, id)),
    remove: (id: SnapshotId) => clock.until(cinder.deleteSnapshot(id)),
    header: (id: SnapshotId) => share.file(file(id))?.header,
    view: (id: SnapshotId) => coldView(share, file(id), QCOW2),
  };
}

test('offline and online layers make one chain, which the guest reads as it left it', async () => {
  const { take, remove, detach, attach, disk, cinder, volume, base, file } = coming();
  disk.write(0, 1);
  await take(ID);
  disk.write(1, 2);
  detach();
  expect(cinder.attachmentsOf(volume)).toEqual([]);
  expect(await take(NEXT)).toMatchObject({ status: 'available', problem: null });
  expect(attach().ok).toBe(true);
  expect(disk.chain()).toMatchObject({ file: file(NEXT), on: { file: file(ID) } });
  expect(disk.view().slice(0, 3)).toEqual([1, 2, 0]);
  disk.write(2, 3);
  expect(await remove(ID)).toMatchObject({ status: 'deleted' });
  detach();
  expect(await remove(NEXT)).toMatchObject({ status: 'deleted', problem: null });
  expect(cinder.info(volume)).toEqual({ active: base });
  expect(attach().ok).toBe(true);
  expect(disk.chain()).toMatchObject({ file: base, format: RAW, on: null });
  expect(disk.view().slice(0, 3)).toEqual([1, 2, 3]);
});

test('a layer in the middle is committed, removed, and its neighbour told', async () => {
  const { take, remove, detach, attach, disk, header, share, file, base, cinder, volume } =
    coming();
  for (const [at, id] of [ID, NEXT, THIRD].entries()) {
    disk.write(at, at + 1);
    await take(id);
  }
  detach();
  expect(await remove(NEXT)).toMatchObject({ status: 'deleted', problem: null });
  expect(share.files.has(file(NEXT))).toBe(false);
  expect(header(THIRD)).toMatchObject({ backing: file(ID), format: 'qcow2' });
  expect(cinder.info(volume)).toEqual({
    active: file(THIRD),
    [ID]: file(ID),
    [THIRD]: file(THIRD),
  });
  expect(attach().ok).toBe(true);
  expect(disk.view().slice(0, 3)).toEqual([1, 2, 3]);
  expect(base).toBe(disk.chain().on?.on?.file);
});

test.each([
  ['after a commit of its own', true, true],
  ['before a rebase of its own', false, false],
  ['before it writes .info', false, true],
] as const)('killed %s: what is left of a delete offline', async (at, file, readable) => {
  const it = coming();
  for (const id of [ID, NEXT]) await it.take(id);
  it.detach();
  it.cinder.service.at = (step) => step === at && it.cinder.service.kill();
  await it.remove(ID);
  expect(it.share.files.has(it.file(ID))).toBe(file);
  expect(typeof it.view(NEXT) !== 'string').toBe(readable);
  expect(it.cinder.info(it.volume)?.[ID]).toBe(it.file(ID));
  expect(it.cinder.service.torn.has(it.volume)).toBe(!file);
});

test.each([
  ['after a commit of its own', true, true],
  ['before it writes .info', true, true],
  ['while it writes .info', true, true],
  ['before a rebase of its own', true, false],
  ['before it removes a file', true, false],
  ['before it saves the status', false, false],
] as const)('our driver, killed %s, leaves the chain whole', async (at, file, record) => {
  const it = coming('format');
  for (const [cluster, id] of [ID, NEXT].entries()) {
    it.disk.write(cluster, cluster + 1);
    await it.take(id);
  }
  it.disk.write(2, 3);
  it.detach();
  it.cinder.service.at = (step) => step === at && it.cinder.service.kill();
  await it.remove(ID);
  expect(it.share.files.has(it.file(ID))).toBe(file);
  expect(it.view(NEXT).slice(0, 3)).toEqual([1, 2, 3]);
  expect(it.cinder.info(it.volume)?.[ID] !== undefined).toBe(record);
  expect(it.cinder.service.torn.size).toBe(0);
  it.cinder.service.at = () => {};
  it.cinder.service.start();
  if (at !== 'before it saves the status') await it.cinder.forceDelete(ID);
  expect(it.share.files.has(it.file(ID))).toBe(false);
  expect(it.header(NEXT)).toMatchObject({ backing: it.base, format: 'raw' });
  expect(it.attach().ok).toBe(true);
  expect(it.disk.view().slice(0, 3)).toEqual([1, 2, 3]);
});

test.each([
  'after a commit of its own',
  'before it writes .info',
  'before a rebase of its own',
  'before it removes a file',
] as const)('our driver, killed %s, hands the volume out with nothing half done', async (at) => {
  const it = coming('format');
  for (const [cluster, id] of [ID, NEXT].entries()) {
    it.disk.write(cluster, cluster + 1);
    await it.take(id);
  }
  it.detach();
  it.cinder.service.at = (step) => step === at && it.cinder.service.kill();
  await it.remove(ID);
  expect(it.attach().ok).toBe(true);
  expect(it.disk.view().slice(0, 2)).toEqual([1, 2]);
  const files = [...it.share.files.keys()].filter((file) => file.startsWith(it.base));
  const named = Object.values(it.cinder.info(it.volume) ?? {});
  expect(new Set(files)).toEqual(new Set([it.base, ...named]));
  for (let on = it.disk.chain().on; on !== null; on = on.on) {
    if (on.file !== it.base) expect(named).toContain(on.file);
  }
});

test('our driver finishes nothing while a guest has the volume', async () => {
  const it = coming('format');
  for (const id of [ID, NEXT]) await it.take(id);
  it.detach();
  it.cinder.service.at = (step) =>
    step === 'before a rebase of its own' && it.cinder.service.kill();
  await it.remove(ID);
  const note = it.cinder.merges.get(it.volume)!;
  it.cinder.merges.clear();
  expect(it.attach().ok).toBe(true);
  it.cinder.merges.set(it.volume, note);
  // QEMU's locks would refuse it; one that is off has it all the same.
  it.cloud.guest.end('stopped');
  it.cinder.service.at = () => {};
  it.cinder.service.start();
  await it.cinder.forceDelete(ID);
  expect(it.share.files.has(it.file(ID))).toBe(true);
  expect(it.header(NEXT)).toMatchObject({ backing: it.file(ID) });
});

test('what was requested of an attached volume is asked of us after it is detached', async () => {
  const asked: SnapshotId[] = [];
  const create = async ({ snapshot }: { snapshot: SnapshotId }) => {
    asked.push(snapshot);
    return ok(null);
  };
  const world = cloudWith(() => ({ create, delete: async () => ok(null) }));
  const { cinder, volume, clock, cloud, disk } = world;
  const first = cinder.createSnapshot(volume, ID);
  void cinder.createSnapshot(volume, NEXT);
  await clock.advance(1_000);
  expect(asked).toEqual([ID]);
  cloud.guest.unplug(disk);
  for (const { id } of cinder.attachmentsOf(volume)) cinder.detach(id);
  cinder.update(ID, { 'os-update_snapshot_status': { status: 'error' } });
  await clock.until(first);
  await clock.advance(1_000);
  expect(asked).toEqual([ID, NEXT]);
});

test('a request that came while it was not makes an overlay no guest will stand on', async () => {
  const { cinder, volume, clock, detach, attach, disk, share, base, file } = coming();
  detach();
  cinder.service.kill();
  const taking = cinder.createSnapshot(volume, ID);
  expect(attach().ok).toBe(true);
  cinder.service.start();
  expect(await clock.until(taking)).toMatchObject({ status: 'available', problem: null });
  expect(disk.chain()).toMatchObject({ file: base, on: null });
  expect(cinder.activeFile(volume)).toBe(file(ID));
  expect(share.isOpen(share.file(file(ID))!)).toBe(false);
});

test('qemu-img commits nothing into a file that a QEMU has open', async () => {
  const { cinder, volume, clock, detach, attach } = coming();
  detach();
  cinder.service.kill();
  const taking = cinder.createSnapshot(volume, ID);
  const removing = cinder.forceDelete(ID);
  expect(attach().ok).toBe(true);
  cinder.service.start();
  expect(await clock.until(taking)).toMatchObject({ problem: null });
  expect(await clock.until(removing)).toMatchObject({ problem: 'Failed to get "write" lock' });
});

test('nor anything that a QEMU has open itself', async () => {
  const { take, remove, detach, attach, cinder, clock } = coming();
  await take(ID);
  detach();
  cinder.service.kill();
  const removing = cinder.deleteSnapshot(ID);
  expect(attach().ok).toBe(true);
  cinder.service.start();
  expect(await clock.until(removing)).toMatchObject({ problem: 'Failed to get "write" lock' });
  cinder.resetState(ID, 'error');
  cinder.snapshots.get(ID)!.progress = '0%';
  expect(await remove(ID)).toMatchObject({ status: 'deleted' });
});

test('a forged raw base is believed by who probes, and not by who was told', async () => {
  for (const knows of ['stock', 'status', 'format', 'spec'] as const) {
    const { take, detach, attach, disk, header } = coming(knows);
    disk.forge({});
    const forged = disk.view()[0];
    detach();
    await take(ID);
    const told = knows === 'format' || knows === 'spec';
    expect(header(ID)?.format).toBe(told ? 'raw' : 'qcow2');
    expect(attach().ok).toBe(true);
    // The guest reads the empty image that its header describes, not what it wrote.
    expect(disk.view()[0]).toEqual(told ? forged : 0);
  }
});

test('a forged backing file stops who probes, and not who was told', async () => {
  for (const knows of ['stock', 'spec'] as const) {
    const { take, disk } = coming(knows);
    disk.forge({ backing: '/etc/shadow' });
    const { problem } = await take(ID);
    if (knows === 'spec') expect(problem).toBeNull();
    else expect(problem).toMatch(/invalid backing file \/etc\/shadow/);
  }
});

test('what is reported is believed: a lie comes back in the next overlay', async () => {
  const { cinder, take, header, volume, clock, base } = coming('spec');
  await take(ID);
  const removing = cinder.deleteSnapshot(ID);
  const action = {
    status: 'deleting_compute_complete',
    progress: '90%',
    file_format: { [`${base}.${ID}`]: 'vmdk', 'volume-of-another': 'raw' },
  };
  cinder.update(ID, { 'os-update_snapshot_status': action });
  await clock.until(removing);
  expect(cinder.formats?.has('volume-of-another' as FileName)).toBe(false);
  await clock.until(cinder.createSnapshot(volume, NEXT));
  expect(header(NEXT)?.format).toBe('vmdk');
});

test('H14: a pull that failed leaves a raw base that Cinder hands out as qcow2', async () => {
  const { take, remove, detach, attach, cinder, cloud, volume, clock } = coming();
  await take(ID);
  cloud.hypervisor.startForeignJob({ server: cloud.server, volume });
  await remove(ID);
  cloud.hypervisor.cancel({ server: cloud.server, volume });
  detach();
  cinder.resetState(ID, 'error');
  expect(await clock.until(cinder.deleteSnapshot(ID))).toMatchObject({ status: 'deleted' });
  expect(cinder.volumes.get(volume)?.format).toBe(QCOW2);
  expect(attach()).toMatchObject({ error: expect.stringMatching(/not in qcow2 format/) });
});
