/**
 * Stock Cinder with contrib/cinder's filter in its REST API: it takes what the spec has us say, and
 * its attachments have the format of the file that the guest writes to.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Cinder } from './lab/cinder.ts';
import { attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { run } from './lab/processes.ts';
import { inProcess, type Place, place, tellOnFailure } from './service.ts';

const KIB = 1024;
const FOLDER = join(import.meta.dirname, '../../contrib/cinder');

let lab: Lab<Cinder>;
let at: Place;

beforeAll(async () => {
  const factory = 'chainkeeper_api:SnapshotStatus.factory';
  lab = await openLab({ cinder: true, filter: { name: 'chainkeeper', factory, folder: FOLDER } });
  at = await place(join(lab.dir, 'chainkeeper'), lab.cinder.endpoint);
  await lab.cinder.setNovaEndpoint(at.url);
});

afterAll(() => lab?.[Symbol.asyncDispose]());

test('its own unit tests', async () => {
  const own = ['-s', FOLDER, '-p', 'test_chainkeeper_api.py'];
  await run('/usr/bin/python3', ['-B', '-m', 'unittest', 'discover', ...own]);
});

test('the formats are taken, and the next start has the right one', async () => {
  tellOnFailure(at, lab.cinder);
  await using service = await inProcess(at);
  const { cinder } = lab;
  const { volumeId, attached, guest } = await attachedGuest(lab);
  const restart = async () => {
    await guest.flush('vda');
    const before = await guest.hash('vda');
    await guest.destroy();
    const { name, format } = await cinder.connectionInfo(attached.attachmentId);
    const path = join(attached.mountPoint, name);
    await guest.startFromTopOnly({ vda: { path, format } });
    expect(await guest.hash('vda')).toBe(before);
    return { name, format };
  };
  await guest.write('vda', 0, 512 * KIB, 0x10);
  expect(await restart()).toEqual({ name: attached.name, format: 'raw' });
  const ids: string[] = [];
  for (const byte of [0x21, 0x32]) {
    const id = await cinder.createSnapshot(volumeId);
    await cinder.waitSnapshot(id, 'available');
    await guest.write('vda', byte * KIB * 64, 256 * KIB, byte);
    expect(await restart()).toEqual({ name: `${attached.name}.${id}`, format: 'qcow2' });
    ids.push(id);
  }
  const [one, two] = ids as [string, string];
  for (const id of [one, two]) {
    await cinder.deleteSnapshot(id);
    await cinder.waitSnapshot(id, 'gone');
    expect(await restart()).toEqual({ name: `${attached.name}.${two}`, format: 'qcow2' });
  }
  // In the spec's own words, formats and all.
  const log = await readFile(cinder.logOf('api'), 'utf8');
  const kept = log.matchAll(/Volume [\w-]+: (\{.*?\}), as its compute host reports/g);
  expect([...kept].map(([, metadata]) => metadata)).toEqual([
    "{'base_format': 'raw', 'format': 'qcow2'}",
    "{'format': 'qcow2'}",
    "{'base_format': 'raw'}",
    "{'format': 'qcow2'}",
  ]);
  const operations = await service.inspect.operations('ended', 10);
  expect(operations.map(({ saga }) => saga.at === 'end' && saga.outcome).toSorted()).toEqual([
    ...['created', 'created', 'merged', 'merged'],
  ]);
});

test('formats of a file that is none of the volume are refused, in a word of Cinder', async () => {
  const { cinder } = lab;
  const volumeId = await cinder.createVolume(1);
  const id = await cinder.createSnapshot(volumeId);
  await cinder.waitSnapshot(id, 'available');
  await cinder.resetSnapshotStatus(id, 'creating');
  const said = { status: 'creating_compute_complete', progress: '90%' };
  const answer = await cinder.updateSnapshotStatus(id, {
    ...said,
    file_format: { '../passwd': 'raw' },
  });
  expect(answer).toMatchObject({
    status: 400,
    body: { badRequest: { message: `../passwd is no file of volume-${volumeId}.` } },
  });
  expect(await cinder.getSnapshot(id)).toMatchObject({ status: 'creating' });
  expect((await cinder.updateSnapshotStatus(id, said)).status).toBe(202);
});
