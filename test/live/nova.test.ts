/**
 * Beside Nova: contrib/nova's driver hands what Cinder asks to the chainkeeper of the same host,
 * and refreshes Nova's own copy of the attachment, from which the next start takes the file (H16).
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFailed, test } from 'vitest';
import type { Cinder } from './lab/cinder.ts';
import { attachedGuest, type Lab, openLab } from './lab/lab.ts';
import { virsh } from './lab/libvirt.ts';
import { run, waitFor } from './lab/processes.ts';
import { type Nova, startNova } from './nova/nova.ts';
import { inProcess, type Place, place, tellOnFailure } from './service.ts';
import { liveChain } from './witnesses.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

let lab: Lab<Cinder>;
let at: Place;
let nova: Nova;

beforeAll(async () => {
  lab = await openLab({ cinder: true });
  at = await place(join(lab.dir, 'chainkeeper'), lab.cinder.endpoint);
  nova = lab.keep(await startNova(lab, at.socket));
  await lab.cinder.setNovaEndpoint(nova.url);
});

afterAll(() => lab?.[Symbol.asyncDispose]());

/** What Nova would start the guest from, once it has refreshed its copy. */
const refreshed = (volumeId: string, name: string) =>
  waitFor(
    `Nova to know ${name}`,
    async () => {
      const { data } = await nova.mapping(volumeId);
      return data?.name === name ? data : null;
    },
    { timeoutMs: 30_000 },
  );

test('its own unit tests', async () => {
  const where = join(import.meta.dirname, '../../contrib/nova');
  await run('/usr/bin/python3', ['-B', '-m', 'unittest', 'discover', '-s', where]);
});

test('create, stop, start, delete, stop, start: every byte is as it was written', async () => {
  tellOnFailure(at, lab.cinder);
  onTestFailed(() => console.log(nova.lastWords()));
  await using service = await inProcess(at);
  const { cinder } = lab;
  const { volumeId, attached, guest } = await attachedGuest(lab);
  await guest.write('vda', 0, 512 * KIB, 0x10);
  const restart = async (name: string) => {
    await guest.flush('vda');
    const before = await guest.hash('vda');
    await guest.destroy();
    const { name: file, format } = await refreshed(volumeId, name);
    const path = join(attached.mountPoint, file);
    await guest.startFromTopOnly({ vda: { path, format } });
    expect(await guest.hash('vda')).toBe(before);
  };
  const base = attached.name;
  const ids: string[] = [];
  for (const byte of [0x21, 0x32, 0x43]) {
    const id = await cinder.createSnapshot(volumeId);
    await cinder.waitSnapshot(id, 'available');
    await guest.write('vda', (byte & 15) * MIB, 256 * KIB, byte);
    await restart(`${base}.${id}`);
    ids.push(id);
  }
  const [one, two, three] = ids as [string, string, string];
  // By commit, by a pull onto a base, and by pulling everything.
  for (const [id, left] of [
    [one, [three, two]],
    [three, [three]],
    [two, [three]],
  ] as const) {
    await cinder.deleteSnapshot(id);
    await cinder.waitSnapshot(id, 'gone');
    await restart(`${base}.${left[0]}`);
  }
  expect((await liveChain(guest, volumeId)).map(({ file }) => file)).toEqual([`${base}.${three}`]);
  const operations = await service.inspect.operations('ended', 10);
  expect(operations.map(({ saga }) => saga.at === 'end' && saga.outcome).toSorted()).toEqual([
    ...Array(3).fill('created'),
    ...Array(3).fill('merged'),
  ]);
});

test('what chainkeeper refuses fails in Cinder, with the chain as it was', async () => {
  tellOnFailure(at, lab.cinder);
  onTestFailed(() => console.log(nova.lastWords()));
  await using _service = await inProcess(at);
  const { cinder } = lab;
  const { volumeId, attached, guest } = await attachedGuest(lab);
  const first = await cinder.createSnapshot(volumeId);
  await cinder.waitSnapshot(first, 'available');
  const chain = await liveChain(guest, volumeId);
  // Somebody else is at work on the disk.
  await virsh('blockcommit', guest.name, 'vda', '--active', '--bandwidth', '1');
  try {
    const id = await cinder.createSnapshot(volumeId);
    await cinder.waitSnapshot(id, 'error');
    expect(await cinder.getSnapshot(id)).toMatchObject({ progress: '0%' });
    await cinder.deleteSnapshot(first);
    await cinder.waitSnapshot(first, 'error_deleting');
    expect(await cinder.getSnapshot(first)).toMatchObject({ progress: '0%' });
  } finally {
    await virsh('blockjob', guest.name, 'vda', '--abort');
  }
  expect(await liveChain(guest, volumeId)).toEqual(chain);
  expect(chain.map(({ file }) => file)).toEqual([`${attached.name}.${first}`, attached.name]);
});

test('without chainkeeper it fails as cleanly, and nothing is done the old way', async () => {
  const { cinder } = lab;
  const { volumeId, attached, guest } = await attachedGuest(lab);
  const id = await cinder.createSnapshot(volumeId);
  await cinder.waitSnapshot(id, 'error');
  expect((await liveChain(guest, volumeId)).map(({ file }) => file)).toEqual([attached.name]);
});
