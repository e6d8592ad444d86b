import { expect, test } from 'vitest';
import type { FileName, SnapshotId } from '#domain/ids.ts';
import { cloudWith, Nova } from './nova.ts';

/*
 * A simulator that cannot show a hazard cannot catch it: each of these is a way in which a caller
 * with Nova's habits loses data beside stock Cinder, and has to be seen happening here.
 */

const ID = '11111111-0000-4000-8000-000000000000' as SnapshotId;
const NEXT = '22222222-0000-4000-8000-000000000000' as SnapshotId;

function beside() {
  let nova: Nova | null = null;
  const world = cloudWith((cloud, cinder) => {
    nova = new Nova(cloud, cinder);
    return nova;
  });
  const take = (id: SnapshotId) => world.clock.until(world.cinder.createSnapshot(world.volume, id));
  const remove = (id: SnapshotId) => world.clock.until(world.cinder.deleteSnapshot(id));
  return { ...world, nova: nova as unknown as Nova, take, remove };
}

test('without a fault Nova and Cinder do well', async () => {
  const { take, remove, missing, cinder, disk, volume } = beside();
  disk.write(0, 7);
  expect(await take(ID)).toMatchObject({ status: 'available' });
  expect(await take(NEXT)).toMatchObject({ status: 'available' });
  expect(await remove(ID)).toMatchObject({ status: 'deleted' });
  expect(await remove(NEXT)).toMatchObject({ status: 'deleted' });
  expect(missing()).toBe(0);
  expect(disk.chain()).toMatchObject({ file: cinder.info(volume)?.active, on: null });
  expect(disk.view()[0]).toBe(7);
});

test('H1, F2: the 90% of a failed delete ends the retry before its merge', async () => {
  const { take, remove, missing, cinder, cloud, disk, volume, base, share } = beside();
  await take(ID);
  cloud.hypervisor.startForeignJob({ server: cloud.server, volume });
  expect(await remove(ID)).toMatchObject({ status: 'error_deleting' });
  expect(cinder.snapshots.get(ID)?.progress).toBe('90%');
  cloud.hypervisor.cancel({ server: cloud.server, volume });
  cinder.resetState(ID, 'available');
  expect(await remove(ID)).toMatchObject({ status: 'deleted' });
  expect(share.files.has(base)).toBe(false);
  expect(disk.job?.phase).toBe('copying');
  expect(missing()).toBe(1);
});

test('H2: a backup deletes its snapshot with the 90% of its create', async () => {
  const { clock, cinder, volume, base, share, disk, missing } = beside();
  const ended = await clock.until(cinder.backup(volume, ID));
  expect(ended).toMatchObject({ status: 'deleted', problem: null });
  expect(share.files.has(base)).toBe(false);
  expect(disk.job?.phase).toBe('copying');
  expect(missing()).toBe(1);
});

test('H3: a job that failed is told as done, and the file it failed on is removed', async () => {
  const { take, remove, missing, disk, share } = beside();
  disk.write(0, 7);
  await take(ID);
  share.space = 0;
  expect(await remove(ID)).toMatchObject({ status: 'deleted' });
  expect(missing()).toBe(1);
});

test('H5, H6, H10, F4: a late create splits the chain, the next one loses the rest', async () => {
  const { clock, take, nova, cinder, cloud, disk, volume, base, share } = beside();
  nova.lateMs = 3_600_000;
  expect(await take(ID)).toMatchObject({ status: 'error' });
  await clock.advance(3_600_000);
  // The guest is on an overlay that Cinder has given up; the report had a 400 for an answer.
  expect(disk.chain().file).toBe(`${base}.${ID}`);
  expect(cinder.updates.at(-1)).toMatchObject({ accepted: false });
  expect(cinder.info(volume)).toBeNull();
  expect(cinder.attachmentsOf(volume)[0]?.name).toBe(base);
  disk.write(0, 9);
  nova.lateMs = 0;
  // A header that names another backing file than the live one: libvirt looks at none of it.
  expect(await take(NEXT)).toMatchObject({ status: 'available' });
  expect(disk.view()[0]).toBe(9);
  expect(share.file(`${base}.${NEXT}` as FileName)?.header?.backing).toBe(base);
  cloud.hypervisor.end(cloud.server, 'stopped');
  expect(cloud.hypervisor.start(cloud.server).ok).toBe(true);
  expect(disk.view()[0]).toBe(0);
});

test('H9, F9: killed after 90%, cinder-volume forgets an overlay that is in use', async () => {
  const { clock, cinder, disk, volume, base, take } = beside();
  cinder.service.at = (step) => step === 'before it writes .info' && cinder.service.kill();
  expect(await take(ID)).toMatchObject({ problem: 'cinder-volume was killed' });
  cinder.service.start();
  await clock.advance(1_000);
  expect(cinder.snapshots.get(ID)).toMatchObject({ status: 'error', progress: '90%' });
  expect(cinder.info(volume)).toBeNull();
  expect(disk.chain().file).toBe(`${base}.${ID}`);
});

test('F9: any member of the project ends a wait, and Cinder removes a file in use', async () => {
  const { clock, cinder, take, missing } = beside();
  await take(ID);
  const removing = cinder.deleteSnapshot(ID);
  const action = { status: 'deleting', progress: '90%' };
  cinder.update(ID, { 'os-update_snapshot_status': action });
  expect(await clock.until(removing)).toMatchObject({ status: 'deleted' });
  expect(missing()).toBe(1);
});

test('H12: after a pull that was never heard of, Cinder asks for the next layer', async () => {
  const { clock, cinder, volume, take, base, share } = beside();
  const third = '33333333-0000-4000-8000-000000000000' as SnapshotId;
  for (const id of [ID, NEXT, third]) await take(id);
  const removing = cinder.deleteSnapshot(third);
  await clock.advance(10);
  cinder.service.kill();
  await removing;
  cinder.service.start();
  await clock.advance(60_000);
  cinder.resetState(third, 'error');
  cinder.snapshots.get(third)!.progress = '0%';
  expect(await clock.until(cinder.deleteSnapshot(third))).toMatchObject({ status: 'deleted' });
  // What snapshot 2 stands on went with a merge that nobody had asked for.
  expect(cinder.info(volume)?.[NEXT]).toBe(`${base}.${NEXT}`);
  expect(share.files.has(`${base}.${ID}` as FileName)).toBe(false);
});
