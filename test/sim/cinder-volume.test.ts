import { expect, test } from 'vitest';
import type { SnapshotId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { CINDER_STEPS, type CinderStep } from '#sim/cinder-life.ts';
import { cloudWith, Nova } from './nova.ts';

const ID = '11111111-0000-4000-8000-000000000000' as SnapshotId;
const NEXT = '22222222-0000-4000-8000-000000000000' as SnapshotId;

/** A Cinder whose volume service dies at one step, once. */
function dying(at: CinderStep | null) {
  const world = cloudWith((cloud, cinder) => new Nova(cloud, cinder));
  const { service } = world.cinder;
  service.at = (step) => {
    if (step !== at) return;
    service.at = () => {};
    service.kill();
  };
  const ask = (what: 'createSnapshot' | 'backup', id: SnapshotId) =>
    world.clock.until(world.cinder[what](world.volume, id));
  const remove = (id: SnapshotId) => world.clock.until(world.cinder.deleteSnapshot(id));
  return { ...world, service, ask, remove };
}

const ONLINE: readonly CinderStep[] = [
  'before it asks',
  'after it was answered',
  'before it writes .info',
  'while it writes .info',
  'before it saves the status',
];

test.each(ONLINE)(
  'killed %s of a create: the snapshot is error, whatever .info says',
  async (at) => {
    const { ask, service, cinder, volume } = dying(at);
    expect(await ask('createSnapshot', ID)).toEqual({
      snapshot: ID,
      status: 'creating',
      problem: 'cinder-volume was killed',
    });
    expect(cinder.snapshots.get(ID)?.status).toBe('creating');
    service.start();
    expect(cinder.snapshots.get(ID)?.status).toBe('error');
    const written = at === 'before it saves the status';
    expect(cinder.info(volume) !== null).toBe(written);
    // The lock went with the process.
    const next = ask('createSnapshot', NEXT);
    const torn = at === 'while it writes .info';
    expect((await next).problem).toEqual(torn ? expect.stringMatching(/\.info/) : null);
  },
);

test.each([...ONLINE, 'before it removes a file'] as const)(
  'killed %s of a delete: it stays deleting until an admin comes',
  async (at) => {
    const { ask, remove, service, cinder, volume, clock } = dying(null);
    await ask('createSnapshot', ID);
    service.at = (step) => {
      if (step === at) service.kill();
    };
    await remove(ID);
    service.at = () => {};
    service.start();
    await clock.advance(10_000);
    expect(cinder.snapshots.get(ID)?.status).toBe('deleting');
    expect((await remove(ID)).problem).toMatch(/must be available or error/);
    if (at === 'while it writes .info') {
      expect(cinder.infoFiles.get(volume)).not.toBeUndefined();
      expect(cinder.activeFile(volume)).toBeNull();
    }
  },
);

test('every step there is can be died at', () => {
  const offline = ['after a commit of its own', 'before a rebase of its own'];
  expect([...ONLINE, 'before it removes a file', ...offline].sort()).toEqual(
    [...CINDER_STEPS].sort(),
  );
});

test('what was asked while cinder-volume was down is done by the next one', async () => {
  const { service, cinder, volume, clock } = dying(null);
  service.kill();
  const taking = cinder.createSnapshot(volume, ID);
  await clock.advance(100_000);
  expect(cinder.snapshots.get(ID)?.status).toBe('creating');
  service.start();
  expect(await clock.until(taking)).toMatchObject({ status: 'available', problem: null });
});

test('a snapshot that an admin has reset is not cleaned up after', async () => {
  const { service, cinder, ask } = dying('after it was answered');
  await ask('createSnapshot', ID);
  cinder.resetState(ID, 'creating');
  service.start();
  expect(cinder.snapshots.get(ID)?.status).toBe('creating');
});

test('a 90% that nobody waits for is taken, and stays', async () => {
  const { service, cinder, volume, clock, remove, ask } = dying(null);
  await ask('createSnapshot', ID);
  const removing = cinder.deleteSnapshot(ID);
  await clock.advance(1);
  service.kill();
  await removing;
  await clock.advance(60_000);
  service.start();
  expect(cinder.snapshots.get(ID)).toMatchObject({ status: 'deleting', progress: '90%' });
  expect(cinder.info(volume)?.[ID]).toBeDefined();
  cinder.resetState(ID, 'error');
  expect((await remove(ID)).status).toBe('deleted');
});

test('a second 90% on a .info that cannot be read helps nobody: every request fails', async () => {
  const { service, cinder, ask, remove, volume } = dying('while it writes .info');
  await ask('createSnapshot', ID);
  service.start();
  expect((await remove(ID)).problem).toMatch(/^the \.info file: /);
  expect(cinder.snapshots.get(ID)?.status).toBe('error_deleting');
  expect((await ask('backup', NEXT)).problem).toMatch(/^the \.info file: /);
  expect(service.torn.get(volume)?.info).toHaveProperty(ID);
});

function silent() {
  const taken = { create: async () => ok(null), delete: async () => ok(null) };
  return cloudWith(() => taken);
}

test('a create that is force-deleted is an error, and then gone without a trace', async () => {
  const { cinder, clock, volume, share, base } = silent();
  const taking = cinder.createSnapshot(volume, ID);
  await clock.advance(5_000);
  const forced = cinder.forceDelete(ID);
  expect((await clock.until(taking)).problem).toMatch(/asked to be deleted/);
  expect(await clock.until(forced)).toMatchObject({ status: 'deleted', problem: null });
  expect(share.files.has(`${base}.${ID}` as never)).toBe(true);
});

test('a delete that is force-deleted is asked for twice, the second time in vain', async () => {
  const { cinder, clock, volume } = silent();
  const say = (status: string) =>
    cinder.update(ID, { 'os-update_snapshot_status': { status, progress: '90%' } });
  const taking = cinder.createSnapshot(volume, ID);
  say('creating');
  await clock.until(taking);
  cinder.snapshots.get(ID)!.progress = '0%';
  const removing = cinder.deleteSnapshot(ID);
  await clock.advance(5_000);
  const forced = cinder.forceDelete(ID);
  await clock.advance(5_000);
  say('error_deleting');
  expect((await clock.until(removing)).status).toBe('error_deleting');
  // The second one finds the first one's status in the row, and gives up at its first look.
  expect((await clock.until(forced)).problem).toMatch(/Unable to delete.*error_deleting/);
});

test('a create that spins goes on once its status is one that it knows', async () => {
  const { cinder, clock, volume } = silent();
  const taking = cinder.createSnapshot(volume, ID);
  await clock.advance(1);
  cinder.resetState(ID, 'available');
  await clock.advance(700_000);
  expect(cinder.service.hung).toEqual([ID]);
  cinder.resetState(ID, 'error');
  expect((await clock.until(taking)).problem).toMatch(/returned "error"/);
  expect(cinder.service.hung).toEqual([]);
});

test('the polls are 1 s apart up to 10, 2 up to 20, 5 up to 60, and then 10', async () => {
  const { cinder, clock, volume } = silent();
  const began = clock.now();
  const looks: number[] = [];
  const row = { status: 'creating' };
  const taking = cinder.createSnapshot(volume, ID);
  Object.defineProperty(cinder.snapshots.get(ID)!, 'status', {
    get: () => {
      looks.push((clock.now() - began) / 1000);
      return row.status;
    },
    set: (status) => Object.assign(row, { status }),
  });
  expect((await clock.until(taking)).problem).toMatch(/Timed out/);
  const polls = [...new Set(looks)];
  const gaps = polls.slice(1).map((at, nth) => [polls[nth], at - polls[nth]!]);
  for (const [at = 0, gap] of gaps)
    expect(gap).toBe(at <= 10 ? 1 : at <= 20 ? 2 : at <= 60 ? 5 : 10);
  // 11, 13, ... 21, 26, ... 61, 71, ... 601 is the first of the sums beyond 600 s.
  expect(polls.at(-1)).toBe(601);
});

test('a delete that nobody answers is given up after 7200 s, and all is as it was', async () => {
  const { cinder, clock, volume, share } = silent();
  const taking = cinder.createSnapshot(volume, ID);
  cinder.update(ID, { 'os-update_snapshot_status': { status: 'creating', progress: '90%' } });
  await clock.until(taking);
  const before = [[...share.files.keys()], cinder.infoFiles.get(volume)];
  const began = clock.now();
  cinder.snapshots.get(ID)!.progress = '0%';
  const ended = await clock.until(cinder.deleteSnapshot(ID));
  expect(ended).toMatchObject({ status: 'error_deleting' });
  expect(clock.now() - began).toBe(7_201_000);
  expect([[...share.files.keys()], cinder.infoFiles.get(volume)]).toEqual(before);
  // H14: what the base was is overwritten before the merge, and not taken back.
  expect(cinder.volumes.get(volume)).toMatchObject({ format: 'qcow2', baseFormat: 'qcow2' });
});
