import { describe, expect, test, vi } from 'vitest';
import type { FileName, SnapshotId } from '#domain/ids.ts';
import { err, ok } from '#domain/result.ts';
import { CALLER, Desk, type DeskOptions } from './support/desk.ts';

vi.setConfig({ testTimeout: 30_000 });

const AWAY = err({ kind: 'unreachable', who: 'Cinder', detail: 'connection refused' } as const);

/** A desk with a create of ours that is over, and of which Cinder has not said a word yet. */
async function made(options: DeskOptions = {}) {
  const desk = new Desk({ aftercare: true, ...options });
  const { cloud } = desk;
  cloud.disk.write(0, 0x11);
  const request = desk.prepared();
  const answer = await desk.answered(desk.service.create(request, CALLER));
  expect(answer).toMatchObject({ ok: true });
  await desk.idle();
  expect(active(desk)).toBe(request.newFile);
  cloud.disk.write(1, 0x22);
  const bytes = cloud.disk.view();
  return { desk, ...request, bytes };
}

const active = ({ cloud }: Desk) => cloud.disk.xml.file;

const becomes = ({ cloud }: Desk, snapshot: SnapshotId, status: string | null) => {
  if (status === null) cloud.cinder.snapshots.delete(snapshot);
  else Object.assign(cloud.cinder.snapshots.get(snapshot)!, { status });
};

/** What Cinder's attachment names as in use. */
const names = (desk: Desk, file: FileName) => {
  for (const row of desk.cloud.cinder.attachmentsOf(desk.cloud.volume)) {
    Object.assign(row, { name: file });
  }
};

async function undos(desk: Desk, snapshot: SnapshotId) {
  const all = await desk.journal.operations({ snapshot, kind: 'undo', limit: 10 });
  return all.map(({ saga }) => (saga.at === 'end' ? saga.outcome : saga.at));
}

describe('what Cinder gives up is undone', () => {
  test.each(['error', null, 'deleting', 'error_deleting'])('%s', async (status) => {
    const { desk, snapshot, bytes, volume } = await made();
    becomes(desk, snapshot, status);
    await desk.clock.advance(30_000);
    expect(await undos(desk, snapshot)).toEqual(['undone']);
    expect(active(desk)).toBe(`volume-${volume}`);
    expect(desk.cloud.disk.view()).toEqual(bytes);
    expect(desk.aftercare.watching).toBe(0);
    // What a start from the file that Cinder believes in would read.
    desk.cloud.hypervisor.end(desk.cloud.server, 'killed');
    desk.cloud.hypervisor.start(desk.cloud.server);
    expect(desk.cloud.disk.view()).toEqual(bytes);
  });

  test('by the next process, if this one dies', async () => {
    const { desk, snapshot, volume } = await made();
    becomes(desk, snapshot, 'error');
    await desk.clock.advance(4_000);
    await desk.boot();
    await desk.clock.advance(30_000);
    expect(await undos(desk, snapshot)).toEqual(['undone']);
    expect(active(desk)).toBe(`volume-${volume}`);
  });

  test('and stays so when it is started again', async () => {
    const { desk, snapshot } = await made();
    becomes(desk, snapshot, 'error');
    await desk.clock.advance(30_000);
    await desk.boot();
    await desk.clock.advance(60_000);
    expect(await undos(desk, snapshot)).toEqual(['undone']);
  });

  test('only after several looks, because Cinder may be about to take it', async () => {
    const { desk, snapshot, newFile } = await made();
    becomes(desk, snapshot, 'error');
    await desk.clock.advance(6_000);
    becomes(desk, snapshot, 'available');
    names(desk, newFile);
    await desk.clock.advance(30_000);
    expect(await undos(desk, snapshot)).toEqual([]);
    expect(desk.aftercare.watching).toBe(0);
  });

  test('once the guest runs again', async () => {
    const { desk, snapshot, volume } = await made();
    const { hypervisor, server } = desk.cloud;
    hypervisor.end(server, 'stopped');
    becomes(desk, snapshot, 'error');
    await desk.clock.advance(60_000);
    expect(await undos(desk, snapshot)).toEqual([]);
    hypervisor.start(server);
    await desk.clock.advance(30_000);
    expect(await undos(desk, snapshot)).toEqual(['undone']);
    expect(active(desk)).toBe(`volume-${volume}`);
  });

  test('a create whose end Cinder did not wait for is undone too', async () => {
    const desk = new Desk({ aftercare: true });
    const request = desk.prepared();
    desk.between = async (port, method, call) => {
      const answer = await call();
      if (port === 'libvirt' && method === 'snapshot') becomes(desk, request.snapshot, 'error');
      return answer;
    };
    await desk.answered(desk.service.create(request, CALLER));
    await desk.idle();
    const [create] = await desk.journal.operations({ snapshot: request.snapshot, limit: 1 });
    expect(create?.saga).toMatchObject({ at: 'end', outcome: 'withdrawn' });
    await desk.clock.advance(30_000);
    expect(await undos(desk, request.snapshot)).toEqual(['undone']);
  });
});

describe('what Cinder takes is left alone', () => {
  test('at the first look', async () => {
    const { desk, snapshot, newFile } = await made();
    becomes(desk, snapshot, 'available');
    names(desk, newFile);
    await desk.clock.advance(5_000);
    expect([desk.aftercare.watching, active(desk)]).toEqual([0, newFile]);
  });

  test('whatever a member of the project then says of it', async () => {
    const { desk, snapshot, newFile } = await made();
    becomes(desk, snapshot, 'error');
    names(desk, newFile);
    await desk.clock.advance(60_000);
    expect(await undos(desk, snapshot)).toEqual([]);
    expect(desk.aftercare.watching).toBe(0);
  });

  test('a Cinder that names no file is believed when it says available', async () => {
    const { desk, snapshot } = await made();
    desk.between = (_port, method, call) => (method === 'activeFile' ? ok(null) : call());
    becomes(desk, snapshot, 'error');
    await desk.clock.advance(60_000);
    expect([await undos(desk, snapshot), desk.aftercare.watching]).toEqual([[], 1]);
    becomes(desk, snapshot, 'available');
    await desk.clock.advance(10_000);
    expect([await undos(desk, snapshot), desk.aftercare.watching]).toEqual([[], 0]);
  });

  test('a newer request has the say', async () => {
    const desk = new Desk({ aftercare: true });
    const [snapshot] = (await desk.taken(1)) as [SnapshotId];
    const asked = desk.deletion([snapshot], 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.idle();
    await desk.clock.advance(10_000);
    expect([await undos(desk, snapshot), desk.aftercare.watching]).toEqual([[], 0]);
  });
});

test('a Cinder that has gone on from it has taken it', async () => {
  const desk = new Desk({ aftercare: true });
  // Each within five seconds of the one before.
  await desk.taken(3);
  await desk.clock.advance(6_000);
  expect(desk.aftercare.watching).toBe(0);
});

test('a Cinder that is away is asked again, and one that never decides is told of', async () => {
  const { desk, snapshot } = await made();
  let asked = 0;
  desk.between = (port, method, call) => {
    if (port !== 'cinder' || method !== 'snapshot') return call();
    asked++;
    return AWAY;
  };
  await desk.clock.advance(60_000);
  expect(asked).toBeGreaterThan(5);
  desk.between = (_port, _method, call) => call();
  await desk.clock.advance(900_000);
  expect(await undos(desk, snapshot)).toEqual([]);
  expect(desk.aftercare.watching).toBe(0);
  expect(desk.log.at(-1)).toMatch(/not made up its mind about snapshot .*chain show'\.$/);
});

test('what Cinder gave up while nobody was there is undone, however long ago', async () => {
  const { desk, snapshot } = await made();
  await desk.clock.advance(901_000);
  expect(desk.aftercare.watching).toBe(0);
  becomes(desk, snapshot, 'error');
  await desk.boot();
  await desk.clock.advance(30_000);
  expect(await undos(desk, snapshot)).toEqual(['undone']);
});

test('of each volume the newest create is looked at again', async () => {
  const desk = new Desk({ aftercare: true });
  await desk.taken(3);
  await desk.clock.advance(901_000);
  await desk.boot();
  expect(desk.aftercare.watching).toBe(1);
  await desk.clock.advance(30_000);
  expect(desk.aftercare.watching).toBe(0);
});

test('it stops when the process does', async () => {
  const { desk } = await made();
  expect(desk.aftercare.watching).toBe(1);
  await desk.clock.until(desk.aftercare.stop());
  expect(desk.aftercare.watching).toBe(0);
});

test('a journal that fails is a defect', async () => {
  const { desk } = await made();
  desk.between = (port, method, call) => {
    if (port === 'journal' && method === 'operations') throw new Error('disk I/O error');
    return call();
  };
  await desk.clock.advance(10_000);
  expect(desk.defects).toMatchObject([{ message: 'disk I/O error' }]);
});
