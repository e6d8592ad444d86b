import { expect, test } from 'vitest';
import type { SnapshotId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { SimCinder } from '#sim/cinder.ts';
import type { Assist } from '#sim/cinder-rows.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud } from '#sim/cloud.ts';

const ID = '11111111-0000-4000-8000-000000000000' as SnapshotId;
type Asked = Parameters<Assist['create']>[0] | Parameters<Assist['delete']>[0];

/** A Cinder whose calls for assistance are accepted and recorded, and then nothing happens. */
function world() {
  const clock = new SimClock();
  const cloud = new SimCloud({ clock });
  const asked: Asked[] = [];
  const take = async (request: Asked) => {
    asked.push(request);
    return ok(null);
  };
  const assist = { create: take, delete: take };
  const cinder = new SimCinder({ clock, share: cloud.share, assist });
  for (const { id, name, clusters, format } of cloud.cinder.volumes.values()) {
    cinder.attach({ id, name, clusters, format }, cloud.server);
  }
  const say = (status: string, progress: string) =>
    cinder.update(ID, { 'os-update_snapshot_status': { status, progress } });
  return { clock, cloud, cinder, asked, say, base: cloud.disk.xml.file };
}

test('a create prepares the overlay, asks, and waits for 90%', async () => {
  const { clock, cloud, cinder, asked, say, base } = world();
  const done = cinder.createSnapshot(cloud.volume, ID);
  await clock.advance(3_000);
  const overlay = `${base}.${ID}`;
  expect(asked).toEqual([{ volume: cloud.volume, snapshot: ID, newFile: overlay }]);
  expect(cloud.share.file(overlay as never)?.header).toMatchObject({
    backing: base,
    format: 'raw',
  });
  expect(say('creating', '90%').status).toBe(202);
  expect(await clock.until(done)).toMatchObject({ status: 'available', problem: null });
  expect(cinder.info(cloud.volume)).toEqual({ active: overlay, [ID]: overlay });
  const [attachment] = cinder.attachmentsOf(cloud.volume);
  expect(attachment?.name).toBe(overlay);
});

test('a create that nobody answers is given up after 600 s and leaves its overlay', async () => {
  const { clock, cloud, cinder, base } = world();
  const began = clock.now();
  const ended = await clock.until(cinder.createSnapshot(cloud.volume, ID));
  expect(ended).toMatchObject({ status: 'error' });
  expect(clock.now() - began).toBeGreaterThan(600_000);
  expect(clock.now() - began).toBeLessThanOrEqual(610_000);
  expect(cloud.share.files.has(`${base}.${ID}` as never)).toBe(true);
  expect(cinder.infoFiles.has(cloud.volume)).toBe(false);
});

test('a 90% left from before ends a delete at the first look', async () => {
  const { clock, cloud, cinder, say, base } = world();
  const created = cinder.createSnapshot(cloud.volume, ID);
  await clock.advance(1);
  say('creating', '90%');
  await clock.until(created);
  cinder.snapshots.get(ID)!.progress = '90%';
  const began = clock.now();
  const ended = await clock.until(cinder.deleteSnapshot(ID));
  expect(ended).toMatchObject({ status: 'deleted', problem: null });
  expect(clock.now()).toBe(began);
  expect(cloud.share.files.has(base)).toBe(false);
});

test('a raw base that reads as qcow2 is called qcow2 in the overlay', async () => {
  const { clock, cloud, cinder, base } = world();
  cloud.disk.forge({});
  void cinder.createSnapshot(cloud.volume, ID);
  await clock.advance(1);
  expect(cloud.share.file(`${base}.${ID}` as never)?.header?.format).toBe('qcow2');
});

test('a create told `available` hangs for ever', async () => {
  const { clock, cloud, cinder, say } = world();
  void cinder.createSnapshot(cloud.volume, ID);
  await clock.advance(1);
  expect(say('available', '100%').status).toBe(202);
  await clock.advance(700_000);
  expect(cinder.service.hung).toEqual([ID]);
});

test('a stock Cinder refuses words it does not know', () => {
  const { cinder, cloud } = world();
  cinder.snapshots.set(ID, {
    id: ID,
    volume: cloud.volume,
    status: 'creating',
    progress: '0%',
    fileFormat: {},
  });
  const say = (action: object) => cinder.update(ID, { 'os-update_snapshot_status': action }).status;
  expect(say({ status: 'creating', progress: '90%', file_format: {} })).toBe(400);
  expect(say({ status: 'creating_compute_complete', progress: '90%' })).toBe(400);
  expect(say({ status: 'creating', progress: '90' })).toBe(400);
  expect(say({ status: 'deleting', progress: '90%' })).toBe(400);
  expect(say({ status: 'creating', progress: '90%' })).toBe(202);
  expect(cinder.updates.map((one) => one.accepted)).toEqual([false, false, false, false, true]);
});
