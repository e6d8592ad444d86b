import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { parseDomain, type XmlDomain } from '#adapters/libvirt/domain-xml.ts';
import { libvirt } from '#adapters/libvirt/ffi.ts';
import { Lane } from '#adapters/libvirt/lane.ts';
import { Lanes } from '#adapters/libvirt/lanes.ts';
import { snapshotXml } from '#adapters/libvirt/snapshot-xml.ts';
import { PrivateDaemon, until } from './daemon.ts';

const DISK_ONLY_NO_METADATA_REUSE = 16 | 4 | 32;
const ACTIVE = 4;
const PIVOT = 2;
const NO_DOMAIN = 42;

let daemon: PrivateDaemon;
let guest: string;

beforeAll(async () => {
  daemon = await PrivateDaemon.start();
  guest = await daemon.guest('g1', 3);
});
afterAll(() => daemon?.[Symbol.asyncDispose]());

const value = <T>(answer: { ok: true; value: T } | { ok: false; error: unknown }): T => {
  if (!answer.ok) throw new Error(JSON.stringify(answer.error));
  return answer.value;
};

async function domain(lanes: Lanes, uuid = guest): Promise<XmlDomain> {
  return value(parseDomain(value(await lanes.domainXml(uuid, false))));
}

const names = (disk: XmlDomain['disks'][number] | undefined): string[] =>
  (disk?.layers ?? []).map(
    ({ source, format }) =>
      `${'path' in source ? source.path.split('/').at(-1) : source.kind} ${format}`,
  );

test('what libvirt says of hosts, guests and disks arrives', async () => {
  await using lanes = new Lanes(daemon.uri);
  expect(value(await lanes.libVersion())).toBeGreaterThan(7_000_000);
  expect(value(await lanes.listDomains())).toEqual([{ uuid: guest, name: 'g1', running: true }]);
  expect(value(await lanes.state(guest))).toMatchObject({ state: 3 });
  expect(value(await lanes.jobInfo(guest, 'vda'))).toBe(null);
  expect(value(await lanes.blockCapacity(guest, 'vda'))).toBe(8 * 1024 * 1024);
  const seen = (target: string) => lanes.turn(guest, (calls) => calls.capacitySeen(target));
  expect(value(await seen('vda'))).toBe(8 * 1024 * 1024);
  expect(await seen('vdz')).toMatchObject({ ok: false, error: { kind: 'unreachable' } });
  const xml = await domain(lanes);
  expect(xml).toMatchObject({ name: 'g1', uuid: guest, agent: 'none' });
  expect(xml.disks[0]?.serial).toBe('serial-of-g1');
  expect(names(xml.disks[0])).toEqual(['g1-s3 qcow2', 'g1-s2 qcow2', 'g1-s1 qcow2', 'g1-v raw']);
  expect(xml.disks[1]).toMatchObject({ device: 'cdrom', readonly: true, layers: [] });
});

test('100 failing calls on 4 lanes: each gets the error of its own call', async () => {
  await using lanes = new Lanes(daemon.uri);
  const calls = Array.from({ length: 100 }, async (_, at) => {
    const unknown = randomUUID();
    const [answer, told] = await [
      async () => [await lanes.domainXml(unknown, false), unknown] as const,
      async () => [await lanes.jobInfo(guest, `vd${at}`), `vd${at}`] as const,
      async () => [await lanes.blockJobAbort(guest, `no${at}`, 0), `no${at}`] as const,
      async () => [await lanes.blockCommit(guest, `on${at}`, null, null, 0, 0), `on${at}`] as const,
    ][at % 4]!();
    if (answer.ok || answer.error.kind !== 'rejected') throw new Error(JSON.stringify(answer));
    expect(answer.error.error.message).toContain(told);
    return answer.error.error.code;
  });
  expect(new Set(await Promise.all(calls))).toEqual(new Set([42, 8]));
});

test('snapshot with every other disk left out, commit and pivot, pull, and a flush', async () => {
  await using lanes = new Lanes(daemon.uri);
  const uuid = await daemon.guest('g2', 2);
  const file = `${daemon.dir}/g2-s3`;
  await daemon.overlay(file, `${daemon.dir}/g2-s2`);
  const xml = snapshotXml(await domain(lanes, uuid), 'vda', file);
  value(await lanes.snapshotCreate(uuid, xml, DISK_ONLY_NO_METADATA_REUSE));
  const chain = async () => names((await domain(lanes, uuid)).disks[0]);
  expect(await chain()).toEqual(['g2-s3 qcow2', 'g2-s2 qcow2', 'g2-s1 qcow2', 'g2-v raw']);

  const s2 = `${daemon.dir}/g2-s2`;
  value(await lanes.blockCommit(uuid, 'vda', s2, null, 0, ACTIVE));
  await until(async () => (await domain(lanes, uuid)).disks[0]?.mirror?.ready === 'yes');
  expect(value(await lanes.jobInfo(uuid, 'vda'))).toMatchObject({ type: 4, bandwidth: 0 });
  value(await lanes.blockJobAbort(uuid, 'vda', PIVOT));
  expect(await chain()).toEqual(['g2-s2 qcow2', 'g2-s1 qcow2', 'g2-v raw']);

  value(await lanes.blockRebase(uuid, 'vda', `${daemon.dir}/g2-v`, 0, 0));
  await until(async () => value(await lanes.jobInfo(uuid, 'vda')) === null);
  expect(await chain()).toEqual(['g2-s2 qcow2', 'g2-v raw']);

  const flushed = await lanes.turn(uuid, async (calls) =>
    calls.blockResize('vda', value(await calls.blockCapacity('vda'))),
  );
  expect(flushed).toEqual({ ok: true, value: null });
  expect(value(await lanes.blockCapacity(uuid, 'vda'))).toBe(8 * 1024 * 1024);
});

test('a call takes bytes: a job reports its bandwidth as given', async () => {
  await using lanes = new Lanes(daemon.uri);
  const [s1, s2] = [`${daemon.dir}/g1-s1`, `${daemon.dir}/g1-s2`];
  const BYTES = 16;
  value(await lanes.blockCommit(guest, 'vda', s1, s2, 1, BYTES));
  expect(value(await lanes.jobInfo(guest, 'vda'))).toMatchObject({ type: 3, bandwidth: 1 });
  value(await lanes.blockJobAbort(guest, 'vda', 0));
  expect(value(await lanes.jobInfo(guest, 'vda'))).toBe(null);
});

test("a guest's turns are taken in order, also when each takes several calls", async () => {
  await using lanes = new Lanes(daemon.uri);
  const order: number[] = [];
  const turns = [0, 1, 2, 3, 4].map((at) =>
    lanes.turn(guest, async (calls) => {
      await calls.state();
      order.push(at);
      await calls.state();
      order.push(at);
    }),
  );
  await Promise.all(turns);
  expect(order).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
});

/** How often a guest was looked up and freed, since this was called. */
function counted() {
  const lib = value(libvirt());
  const [found, freed] = [vi.spyOn(lib, 'lookupByUuid'), vi.spyOn(lib, 'freeDomain')];
  const times = () => [found.mock.calls.length, freed.mock.calls.length];
  const stop = () => [found, freed].map((spy) => spy.mockRestore());
  return { times, [Symbol.dispose]: stop };
}

test('a guest is looked up once by a connection, and freed before that is closed', async () => {
  using count = counted();
  {
    await using lanes = new Lanes(daemon.uri);
    for (let at = 0; at < 3; at++) {
      await lanes.turn(guest, async (calls) => {
        value(await calls.state());
        value(await calls.xml(false));
      });
    }
    expect(count.times()).toEqual([1, 0]);
  }
  expect(count.times()).toEqual([1, 1]);
});

test('what was looked up finds the guest that is started again, or defined anew', async () => {
  await using lanes = new Lanes(daemon.uri);
  const uuid = await daemon.guest('g7', 2);
  using count = counted();
  const [first, file] = [await domain(lanes, uuid), join(daemon.dir, 'g7-again.xml')];
  await writeFile(file, await daemon.virsh('dumpxml', 'g7'));
  await daemon.virsh('destroy', 'g7');
  const gone = { error: { kind: 'rejected', error: { code: NO_DOMAIN } } };
  expect(await lanes.domainXml(uuid, false)).toMatchObject(gone);
  await daemon.virsh('define', file);
  expect(await domain(lanes, uuid)).toMatchObject({ uuid, id: null });
  await daemon.virsh('start', '--paused', 'g7');
  expect((await domain(lanes, uuid)).id).toBeGreaterThan(first.id ?? Infinity);
  expect(value(await lanes.jobInfo(uuid, 'vda'))).toBeNull();
  value(await lanes.blockResize(uuid, 'vda', value(await lanes.blockCapacity(uuid, 'vda'))));
  expect(count.times()).toEqual([1, 0]);
});

test('what a call that is stuck is using is freed when it comes back, and not before', async () => {
  await using lanes = new Lanes(daemon.uri, { callTimeoutMs: 300 });
  const uuid = await daemon.guest('g6', 1);
  const [qemu] = (await daemon.qemus('g6')) ?? [];
  using count = counted();
  process.kill(qemu!, 'SIGSTOP');
  try {
    await lanes.turn(uuid, async (calls) => {
      expect(await calls.blockCapacity('vda')).toMatchObject({ error: { kind: 'unknown' } });
      value(await calls.xml(false));
    });
    expect(count.times()).toEqual([2, 0]);
  } finally {
    process.kill(qemu!, 'SIGCONT');
  }
  await until(async () => count.times()[1] === 1);
});

test('a guest that is found when nobody waits for it any more is freed all the same', async () => {
  await using lanes = new Lanes(daemon.uri, { callTimeoutMs: 300 });
  value(await lanes.libVersion());
  using count = counted();
  daemon.signal('SIGSTOP');
  try {
    expect(await lanes.state(guest)).toMatchObject({ error: { kind: 'unreachable' } });
    expect(count.times()).toEqual([1, 0]);
  } finally {
    daemon.signal('SIGCONT');
  }
  await until(async () => count.times()[1] === 1);
});

test('a guest whose QEMU is frozen holds one lane, and later only its own calls', async () => {
  await using lanes = new Lanes(daemon.uri, { size: 2, callTimeoutMs: 1_000 });
  const uuid = await daemon.guest('g3', 1);
  const other = await daemon.guest('g4', 1);
  const [qemu] = (await daemon.qemus('g3')) ?? [];
  value(await lanes.state(uuid));
  process.kill(qemu!, 'SIGSTOP');
  try {
    const stuck = [1, 2, 3].map(() => lanes.blockCapacity(uuid, 'vda'));
    for (let at = 0; at < 20; at += 1) {
      const asked = performance.now();
      value(await lanes.blockCapacity(other, 'vda'));
      expect(performance.now() - asked).toBeLessThan(500);
    }
    const answers = await Promise.all(stuck);
    expect(answers.map((each) => !each.ok && each.error.kind)).toEqual([
      'unknown',
      'unknown',
      'unreachable',
    ]);
  } finally {
    process.kill(qemu!, 'SIGCONT');
  }
  await until(async () => (await lanes.blockCapacity(uuid, 'vda')).ok);
});

test('a daemon that dies: what was under way is unknown, what reads asks again', async () => {
  await using lane = new Lane(daemon.uri);
  await using lanes = new Lanes(daemon.uri);
  const uuid = await daemon.guest('g5', 1);
  value(await lanes.state(uuid));
  const [qemu] = (await daemon.qemus('g5')) ?? [];
  process.kill(qemu!, 'SIGSTOP');
  try {
    const changing = lanes.blockResize(uuid, 'vda', 8 * 1024 * 1024);
    const reading = lane.call({ name: 'info', changes: false, uuid }, async (lib, it) => {
      const info = {};
      return (await lib.blockInfo(it, 'vda', info, 0)) < 0 ? null : info;
    });
    await new Promise((wait) => setTimeout(wait, 300));
    daemon.signal('SIGKILL');
    expect(await changing).toMatchObject({ error: { kind: 'unknown' } });
    expect(await reading).toMatchObject({ error: { kind: 'unreachable' } });
    expect(await lanes.state(uuid)).toMatchObject({ error: { kind: 'unreachable' } });
  } finally {
    process.kill(qemu!, 'SIGCONT');
    await daemon.gone();
    await daemon.launch();
  }
  expect(value(await lanes.state(uuid))).toMatchObject({ state: 3 });
  expect(names((await domain(lanes)).disks[0])).toHaveLength(4);
});

test('a daemon restarted behind an idle connection goes unnoticed', async () => {
  await using lanes = new Lanes(daemon.uri);
  value(await lanes.libVersion());
  daemon.signal('SIGTERM');
  await daemon.gone();
  await daemon.launch();
  value(await lanes.libVersion());
});

test('a frozen daemon: opens are bounded, and work again once it thaws', async () => {
  await using lanes = new Lanes(daemon.uri, { openTimeoutMs: 300 });
  daemon.signal('SIGSTOP');
  try {
    const answers = await Promise.all([1, 2, 3].map(() => lanes.libVersion()));
    for (const answer of answers) {
      expect(answer).toMatchObject({ error: { kind: 'unreachable' } });
    }
  } finally {
    daemon.signal('SIGCONT');
  }
  await until(async () => (await lanes.libVersion()).ok);
});

test('no daemon: the reason is the one libvirt gives', async () => {
  await using lanes = new Lanes('qemu+unix:///system?socket=/nonexistent/sock');
  expect(await lanes.listDomains()).toMatchObject({
    error: {
      kind: 'unreachable',
      message: expect.stringContaining("Failed to connect socket to '/nonexistent/sock'"),
    },
  });
});

test('20,000 reads of the XML leave the memory as it was', async () => {
  await using lanes = new Lanes(daemon.uri);
  const read = async (times: number) => {
    for (let at = 0; at < times; at += 4) {
      await Promise.all([0, 1, 2, 3].map(() => lanes.domainXml(guest, false)));
    }
  };
  await read(2_000);
  const before = process.memoryUsage.rss();
  await read(20_000);
  const grownMiB = (process.memoryUsage.rss() - before) / 1024 / 1024;
  console.log(`grown by ${grownMiB.toFixed(1)} MiB`);
  expect(grownMiB).toBeLessThan(30);
});
