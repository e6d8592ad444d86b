import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventLoop } from '#adapters/libvirt/event-loop.ts';
import { type LibvirtEvent, LibvirtEvents } from '#adapters/libvirt/events.ts';
import type { Libvirt } from '#adapters/libvirt/ffi.ts';
import { Lanes } from '#adapters/libvirt/lanes.ts';
import { PrivateDaemon, until } from './daemon.ts';

let daemon: PrivateDaemon;

beforeAll(async () => {
  daemon = await PrivateDaemon.start();
});
afterAll(() => daemon?.[Symbol.asyncDispose]());

const heardBy = (events: LibvirtEvents): LibvirtEvent[] => {
  const heard: LibvirtEvent[] = [];
  events.on((event) => heard.push(event));
  return heard;
};

const jobsOf = (heard: LibvirtEvent[]) => heard.filter((event) => event.kind === 'job');

test('a commit, an active commit and a pull each say how they ended', async () => {
  await using events = await LibvirtEvents.start(daemon.uri);
  await using lanes = new Lanes(daemon.uri);
  expect(events.connected).toBe(true);
  const heard = heardBy(events);
  const uuid = await daemon.guest('g1', 4);
  const file = (at: string) => `${daemon.dir}/g1-${at}`;
  const job = { kind: 'job', uuid, target: 'vda' };
  const jobs = (many: number) => until(async () => jobsOf(heard).length >= many);

  await lanes.blockCommit(uuid, 'vda', file('s1'), file('s2'), 0, 0);
  await jobs(1);
  await lanes.blockCommit(uuid, 'vda', file('s3'), null, 0, 4);
  await jobs(2);
  await lanes.blockJobAbort(uuid, 'vda', 2);
  await jobs(3);
  await lanes.blockRebase(uuid, 'vda', file('v'), 0, 0);
  await jobs(4);
  await daemon.virsh('resume', 'g1');
  await until(async () => heard.some((event) => event.kind === 'lifecycle' && event.event === 4));
  expect(jobsOf(heard)).toEqual([
    { ...job, type: 3, status: 'completed' },
    { ...job, type: 4, status: 'ready' },
    { ...job, type: 4, status: 'completed' },
    { ...job, type: 1, status: 'completed' },
  ]);
});

test("a loop that is not GLib's is turned round by round", async () => {
  const rounds = (lib: Libvirt) => eventLoop(lib, null);
  const events = await LibvirtEvents.start(daemon.uri, rounds);
  await using lanes = new Lanes(daemon.uri);
  const heard = heardBy(events);
  const uuid = await daemon.guest('g0', 2);
  const s1 = `${daemon.dir}/g0-s1`;
  expect(await lanes.blockCommit(uuid, 'vda', `${daemon.dir}/g0-v`, s1, 0, 0)).toMatchObject({
    ok: true,
  });
  await until(async () => jobsOf(heard).length === 1);
  expect(jobsOf(heard)).toMatchObject([{ uuid, type: 3, status: 'completed' }]);
  daemon.signal('SIGKILL');
  await daemon.gone();
  await until(async () => heard.some(({ kind }) => kind === 'disconnected'));
  await daemon.launch();
  await until(async () => events.connected);
  const stopping = performance.now();
  await events[Symbol.asyncDispose]();
  expect(performance.now() - stopping).toBeLessThan(2_000);
});

test('a cancelled job says so, a destroyed guest says only that it is gone', async () => {
  await using events = await LibvirtEvents.start(daemon.uri);
  await using lanes = new Lanes(daemon.uri);
  const heard = heardBy(events);
  const uuid = await daemon.guest('g2', 3);
  const [s1, s2] = [`${daemon.dir}/g2-s1`, `${daemon.dir}/g2-s2`];
  await lanes.blockCommit(uuid, 'vda', s1, s2, 1, 16);
  await lanes.blockJobAbort(uuid, 'vda', 0);
  await until(async () => jobsOf(heard).length === 1);
  expect(jobsOf(heard)[0]).toMatchObject({ status: 'canceled' });
  await lanes.blockCommit(uuid, 'vda', s1, s2, 1, 16);
  await daemon.virsh('destroy', 'g2');
  await until(async () => heard.some((event) => event.kind === 'lifecycle' && event.event === 5));
  expect(jobsOf(heard)).toHaveLength(1);
});

test('every event of many jobs arrives, with the loop and four lanes at it', async () => {
  await using events = await LibvirtEvents.start(daemon.uri);
  await using lanes = new Lanes(daemon.uri);
  const heard = heardBy(events);
  const guests = await Promise.all(['a', 'b', 'c'].map((name) => daemon.guest(name, 1)));
  for (let at = 1; at <= 20; at += 1) {
    // A pull onto the layer below moves nothing, but is a job with an end.
    for (const uuid of guests) void lanes.blockRebase(uuid, 'vda', 'vda[3]', 0, 0);
    await until(async () => jobsOf(heard).length >= at * guests.length);
  }
  expect(jobsOf(heard)).toHaveLength(60);
});

test('connection lost and found again, killed or stopped', async () => {
  await using events = await LibvirtEvents.start(daemon.uri);
  await using lanes = new Lanes(daemon.uri);
  const heard = heardBy(events);
  const uuid = await daemon.guest('g3', 3);
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    heard.length = 0;
    daemon.signal(signal);
    await daemon.gone();
    await until(async () => !events.connected);
    expect(events.reason).not.toBe(null);
    await sleep(300);
    await daemon.launch();
    await until(async () => events.connected);
    expect(heard.map((event) => event.kind)).toEqual(['disconnected', 'connected']);
    await lanes.blockRebase(uuid, 'vda', `${daemon.dir}/g3-s2`, 0, 0);
    await until(async () => jobsOf(heard).length === 1);
  }
});

test('started before there is a daemon, it says why, and connects when there is one', async () => {
  daemon.signal('SIGTERM');
  await daemon.gone();
  await using events = await LibvirtEvents.start(daemon.uri);
  expect(events.connected).toBe(false);
  expect(events.reason).toContain('Failed to connect socket');
  await daemon.launch();
  await until(async () => events.connected);
});

test('a daemon that freezes is missed by keepalive, and stopping is quick', async () => {
  const events = await LibvirtEvents.start(daemon.uri);
  const heard = heardBy(events);
  daemon.signal('SIGSTOP');
  try {
    await until(async () => heard.some((event) => event.kind === 'disconnected'));
    expect(events.reason).toContain('keepalive');
    const asked = performance.now();
    await events[Symbol.asyncDispose]();
    expect(performance.now() - asked).toBeLessThan(4_000);
  } finally {
    daemon.signal('SIGCONT');
  }
});

test('started and stopped many times, one at a time', async () => {
  for (let at = 0; at < 10; at += 1) {
    await using events = await LibvirtEvents.start(daemon.uri);
    expect(events.connected).toBe(true);
    await expect(LibvirtEvents.start(daemon.uri)).rejects.toThrow('already');
  }
});
