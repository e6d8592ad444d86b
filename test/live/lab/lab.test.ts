import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Cinder } from './cinder.ts';
import type { Guest } from './guest.ts';
import {
  backingChain,
  createImage,
  createOverlay,
  hashImage,
  headerOf,
  imageInfo,
} from './images.ts';
import { attachedGuest, type Lab, openLab } from './lab.ts';
import { virsh } from './libvirt.ts';
import { alive, freePort, waitFor } from './processes.ts';

const MIB = 1024 * 1024;

/** sha256 of a disk of zeros with these patterns on it, made without QEMU. */
function expected(size: number, ...patterns: [offset: number, length: number, byte: number][]) {
  const content = Buffer.alloc(size);
  for (const [offset, length, byte] of patterns) content.fill(byte, offset, offset + length);
  return createHash('sha256').update(content).digest('hex');
}

const snapshot = (guest: Guest, target: string, file: string) =>
  virsh(
    ...['snapshot-create-as', guest.name, '--no-metadata', '--disk-only', '--reuse-external'],
    ...['--diskspec', `${target},file=${file}`],
  );

describe('a lab of libvirt and QEMU', () => {
  let lab: Lab<null>;
  beforeAll(async () => {
    lab = await openLab({ cinder: false });
  });
  afterAll(() => lab?.[Symbol.asyncDispose]());

  test('a paused guest reads what it wrote, before and after a snapshot', async () => {
    const base = join(lab.images, 'volume-1');
    await createImage(base, { format: 'raw', size: 64 * MIB });
    const disks = [{ path: base, format: 'raw', serial: randomUUID() }];
    await using guest = await lab.guest({ disks });
    expect(await guest.state()).toBe('paused');

    await guest.write('vda', 3 * MIB, 65_536, 0x11);
    await guest.expectPattern('vda', 3 * MIB, 65_536, 0x11);
    await expect(guest.expectPattern('vda', 0, 512, 0x11)).rejects.toThrow('verification failed');
    await expect(guest.write('vda', 64 * MIB, 512, 1)).rejects.toThrow('write failed');
    const written = expected(64 * MIB, [3 * MIB, 65_536, 0x11]);
    expect(await guest.hash('vda')).toBe(written);

    const overlay = await createOverlay(`${base}.a`, { name: 'volume-1', format: 'raw' });
    await snapshot(guest, 'vda', overlay);
    expect(await guest.tops()).toEqual({ vda: { path: overlay, format: 'qcow2' } });
    expect(await guest.hash('vda')).toBe(written);

    await guest.write('vda', 0, 512, 0x22);
    const both = expected(64 * MIB, [3 * MIB, 65_536, 0x11], [0, 512, 0x22]);
    expect(await guest.hash('vda')).toBe(both);
    expect(await hashImage(base, 'raw', join(lab.dir, 'copy'))).toBe(written);
    expect((await headerOf(overlay)).subarray(0, 4)).toEqual(Buffer.from('QFI\xfb', 'latin1'));
    const chain = await backingChain(overlay, 'qcow2');
    expect(chain.map((layer) => layer.format)).toEqual(['qcow2', 'raw']);
  });

  test('two disks are hashed at once, one of them a VHD', async () => {
    const [one, two] = [join(lab.images, 'one'), join(lab.images, 'two')];
    await createImage(one, { format: 'qcow2', size: 8 * MIB });
    await createImage(two, { format: 'vpc', size: 4 * MIB });
    expect((await imageInfo(two, 'vpc'))['virtual-size']).toBe(4 * MIB);
    await using guest = await lab.guest({
      disks: [
        { path: one, format: 'qcow2', alias: 'ua-one', discard: 'unmap', cache: 'none' },
        { path: two, format: 'vpc' },
      ],
    });
    await guest.write('vda', 0, MIB, 7);
    await guest.write('vdb', MIB, MIB, 8);
    await guest.writeZeroes('vda', 0, 65_536);
    await guest.discard('vda', 65_536, 65_536);
    expect(await Promise.all([guest.hash('vda'), guest.hash('vdb')])).toEqual([
      expected(8 * MIB, [131_072, MIB - 131_072, 7]),
      expected(4 * MIB, [MIB, MIB, 8]),
    ]);
  });

  test('a killed guest keeps what it flushed and starts again from its top alone', async () => {
    const base = join(lab.images, 'volume-2');
    await createImage(base, { format: 'raw', size: 8 * MIB });
    const disks = [{ path: base, format: 'raw' }];
    await using guest = await lab.guest({ disks, persistent: true });
    const overlay = await createOverlay(`${base}.a`, { name: 'volume-2', format: 'raw' });
    await snapshot(guest, 'vda', overlay);
    await guest.write('vda', 0, 65_536, 0x33);
    await guest.flush('vda');
    await guest.write('vda', MIB, 65_536, 0x44); // into qcow2, whose tables stay in memory
    const pid = await guest.pid();
    await guest.kill9();
    expect(alive(pid)).toBe(false);
    expect(await guest.state()).toBe('shut off');

    await guest.startFromTopOnly();
    expect(await guest.tops()).toEqual({ vda: { path: overlay, format: 'qcow2' } });
    expect(await guest.hash('vda')).toBe(expected(8 * MIB, [0, 65_536, 0x33]));
    await guest.destroy();
    await guest.start();
    expect(await guest.xml({ inactive: true })).toContain(overlay);
  });
});

/** So only a paused guest can lose what it wrote: see `Monitor.writeCache`. */
test('once SeaBIOS has driven the disk, QEMU flushes each write to it', async () => {
  await using lab = await openLab({ cinder: false });
  const path = join(lab.images, 'volume-3');
  await createImage(path, { format: 'qcow2', size: 8 * MIB });
  const disks = [{ path, format: 'qcow2' }];
  await using guest = await lab.guest({ disks, persistent: true, paused: false });
  expect(await guest.state()).toBe('running');
  await waitFor('SeaBIOS', async () => !(await guest.writeCache('vda')));
  await guest.write('vda', 0, 65_536, 0x55);
  await guest.kill9();
  await guest.start();
  expect(await guest.hash('vda')).toBe(expected(8 * MIB, [0, 65_536, 0x55]));
  await guest.suspend();
  expect(await guest.state()).toBe('paused');
  await guest.resume();
});

describe('a lab with Cinder', () => {
  let lab: Lab<Cinder>;
  const port = freePort();
  beforeAll(async () => {
    lab = await openLab({ cinder: true, novaEndpoint: `http://127.0.0.1:${await port}/v2.1` });
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
    if (!lab) return;
    expect(existsSync(lab.dir)).toBe(false);
    expect(readFileSync('/proc/mounts', 'utf8')).not.toContain(lab.dir);
  });

  test('a guest runs on an attached volume; Cinder asks us for its snapshot', async () => {
    const { volumeId, attached, guest } = await attachedGuest(lab);
    expect(attached).toMatchObject({ name: `volume-${volumeId}`, format: 'raw' });
    await guest.write('vda', 0, 65_536, 0x55);
    expect(await guest.hash('vda')).toBe(expected(1024 * MIB, [0, 65_536, 0x55]));
    expect(await lab.cinder.infoFile(volumeId)).toEqual({});

    const asked = await nova(await port);
    const id = await lab.cinder.createSnapshot(volumeId);
    const file = `volume-${volumeId}.${id}`;
    const call = await waitFor('Cinder to call', () => asked.calls[0]);
    expect(call).toEqual({
      snapshot: {
        volume_id: volumeId,
        create_info: { snapshot_id: id, type: 'qcow2', new_file: file },
      },
    });
    await snapshot(guest, 'vda', join(attached.mountPoint, file));
    // A Cinder that was away still gets the news, and cinder-volume waits on.
    await lab.cinder.stopApi();
    await expect(lab.cinder.getSnapshot(id)).rejects.toThrow();
    await lab.cinder.startApi();
    const done = { status: 'creating', progress: '90%' };
    expect((await lab.cinder.updateSnapshotStatus(id, done)).status).toBe(202);
    await lab.cinder.waitSnapshot(id, 'available');
    expect(await lab.cinder.infoFile(volumeId)).toEqual({ active: file, [id]: file });
    asked.server.close();

    // At another address now, where nobody listens: the delete fails and can be reset.
    await lab.cinder.setNovaEndpoint('http://127.0.0.1:9/v2.1');
    await lab.cinder.deleteSnapshot(id);
    await expect(lab.cinder.waitSnapshot(id, 'gone')).rejects.toThrow('error_deleting');
    await lab.cinder.resetSnapshotStatus(id, 'available');
    expect(await lab.cinder.getSnapshot(id)).toMatchObject({ status: 'available', volumeId });
  });

  test('a volume can be detached and deleted', async () => {
    const volumeId = await lab.cinder.createVolume();
    const { attachmentId } = await lab.cinder.attach(volumeId, randomUUID());
    await lab.cinder.detach(attachmentId);
    await lab.cinder.waitVolume(volumeId, 'available');
    await lab.cinder.deleteVolume(volumeId);
  });
});

/** Answers as Nova would and does nothing. */
async function nova(port: number) {
  const calls: unknown[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    const call = JSON.parse(body);
    calls.push(call);
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ snapshot: { id: null, volumeId: call.snapshot.volume_id } }));
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { server, calls };
}
