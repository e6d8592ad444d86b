import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Hexagon } from '#app/composition.ts';
import type { Cinder } from './lab/cinder.ts';
import { attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { SecondHost } from './lab/second-host.ts';
import { inProcess, type Place, place, Served, tellOnFailure } from './service.ts';
import { expectAgreement } from './witnesses.ts';

/** Stock Cinder, unmodified, with only `[nova] auth_type` and `endpoint` set. */
let lab: Lab<Cinder>;
let at: Place;
let service: Hexagon;

beforeAll(async () => {
  lab = await openLab({ cinder: true });
  at = await place(`${lab.dir}/chainkeeper`, lab.cinder.endpoint);
  await lab.cinder.setNovaEndpoint(at.url);
  service = lab.keep(await inProcess(at));
});

afterAll(() => lab?.[Symbol.asyncDispose]());

const KIB = 1024;

test('three snapshots of a running guest, deleted by commit, pull and pull-all', async () => {
  tellOnFailure(at, lab.cinder);
  const { cinder } = lab;
  const { volumeId, attached, guest } = await attachedGuest(lab, { sizeGiB: 1 });
  const agree = () => expectAgreement(cinder, guest, volumeId, attached.path);
  await guest.write('vda', 0, 256 * KIB, 0x10);

  const snapshots: string[] = [];
  for (const byte of [0x21, 0x32, 0x43]) {
    const before = await guest.hash('vda');
    const id = await cinder.createSnapshot(volumeId);
    await cinder.waitSnapshot(id, 'available');
    snapshots.push(id);
    expect(await guest.hash('vda')).toBe(before);
    expect((await agree())[0]).toEqual({ file: `volume-${volumeId}.${id}`, format: 'qcow2' });
    await guest.write('vda', (byte - 0x20) * 64 * KIB, 128 * KIB, byte);
  }
  const written = await guest.hash('vda');
  const [oldest, middle, newest] = snapshots as [string, string, string];
  const name = (id: string) => `volume-${volumeId}.${id}`;

  // The middle one: a commit of its overlay into the one below.
  await cinder.deleteSnapshot(middle);
  await cinder.waitSnapshot(middle, 'gone');
  expect(await guest.hash('vda')).toBe(written);
  expect((await agree()).map((one) => one.file)).toEqual([
    name(newest),
    name(oldest),
    `volume-${volumeId}`,
  ]);

  // The newest: a pull onto the base of the layer below the active one.
  await cinder.deleteSnapshot(newest);
  await cinder.waitSnapshot(newest, 'gone');
  expect(await guest.hash('vda')).toBe(written);
  expect((await agree()).map((one) => one.format)).toEqual(['qcow2', 'raw']);

  // The last: everything is pulled, and the volume is qcow2 from then on.
  await cinder.deleteSnapshot(oldest);
  await cinder.waitSnapshot(oldest, 'gone');
  expect(await guest.hash('vda')).toBe(written);
  expect(await agree()).toEqual([{ file: name(newest), format: 'qcow2' }]);

  const ended = await service.inspect.operations('ended', 10);
  expect(ended.map((one) => one.saga.at === 'end' && one.saga.outcome).sort()).toEqual([
    'created',
    'created',
    'created',
    'merged',
    'merged',
    'merged',
  ]);
  const formats = ended.map((one) => (one.saga.at === 'end' ? one.saga.formats : []));
  expect(formats.flat().every((one) => one.provenance === 'reported')).toBe(true);
});

test('in a fleet a request is sent on to the chainkeeper that has the guest', async () => {
  tellOnFailure(at, lab.cinder);
  const { cinder } = lab;
  const { volumeId, attached, guest } = await attachedGuest(lab);
  await using second = await SecondHost.start(lab.dir);
  const front = await place(
    `${lab.dir}/front`,
    cinder.endpoint,
    `[libvirt]\nconnection_uri = ${second.uri}\n` +
      `[api]\nhost_endpoints = lab:http://127.0.0.1:${at.port}\n`,
  );
  await using served = new Served(front);
  await served.start();
  await cinder.setNovaEndpoint(front.url);
  try {
    const id = await cinder.createSnapshot(volumeId);
    await cinder.waitSnapshot(id, 'available');
    await expectAgreement(cinder, guest, volumeId, attached.path);
    await cinder.deleteSnapshot(id);
    await cinder.waitSnapshot(id, 'gone');
    await expectAgreement(cinder, guest, volumeId, attached.path);
    const log = readFileSync(front.config.logFile ?? '', 'utf8');
    expect(log.match(/Sent on to lab, where Cinder has the guest/g)).toHaveLength(2);
  } finally {
    await cinder.setNovaEndpoint(at.url);
  }
});
