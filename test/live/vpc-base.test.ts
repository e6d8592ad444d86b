/**
 * Volumes of Hyper-V's formats, which Cinder's SMBFS driver makes: vhd, which libvirt calls vpc,
 * and vhdx, which it does not know.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { SnapshotId, VolumeId } from '#domain/ids.ts';
import { createImage, createOverlay } from './lab/images.ts';
import { askCreate, askDelete, type DeleteInfo } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';
import { liveChain } from './witnesses.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

const stage = stageWithoutCinder();

test('a commit leaves the vpc base vpc, a pull onto it makes nothing else of it', async () => {
  tellOnFailure(stage.at);
  const { volumes, withoutCinder } = stage;
  await using _service = await inProcess(stage.at, withoutCinder);
  const volume = randomUUID() as VolumeId;
  const base = `volume-${volume}`;
  const path = (name: string) => join(stage.lab.images, name);
  await createImage(path(base), { format: 'vpc', size: 16 * MIB });
  const disks = [{ path: path(base), format: 'vpc', serial: volume }];
  await using guest = await stage.lab.guest({ disks });
  volumes.attach(volume, guest.uuid);
  await guest.write('vda', 0, 4 * MIB, 0x10);

  const files = [base];
  const snapshots: SnapshotId[] = [];
  const create = async (byte: number) => {
    const id = volumes.put(volume, 'creating');
    const file = `${base}.${id}`;
    const name = files.at(-1) ?? '';
    await createOverlay(path(file), { name, format: name === base ? 'vpc' : 'qcow2' });
    expect(await askCreate(stage.at, volume, id, file)).toMatchObject({ status: 200 });
    const formats = [{ file, format: 'qcow2', provenance: 'reported' }];
    expect(await volumes.hear(id)).toEqual({ kind: 'created', formats });
    await guest.write('vda', (byte & 15) * 64 * KIB, 512 * KIB, byte);
    files.push(file);
    snapshots.push(id);
  };
  for (const byte of [0x21, 0x32, 0x43]) await create(byte);
  const written = await guest.hash('vda');
  const [, one = '', two = '', three = ''] = files;
  const formatsAfter = async (index: number, info: DeleteInfo) => {
    const id = volumes.put(volume, 'deleting', snapshots[index]);
    expect(await askDelete(stage.at, volume, id, info)).toMatchObject({ status: 204 });
    const verdict = await volumes.hear(id);
    expect(await guest.hash('vda')).toBe(written);
    // What a start from the topmost file finds is what Cinder was told.
    await guest.flush('vda');
    const live = await liveChain(guest, volume);
    await guest.kill9();
    await guest.startFromTopOnly();
    expect(await liveChain(guest, volume)).toEqual(live);
    expect(await guest.hash('vda')).toBe(written);
    return verdict.kind === 'deleted' && verdict.formats;
  };
  const vpc = { file: base, format: 'vpc', provenance: 'reported' };
  const active = { file: three, format: 'qcow2', provenance: 'reported' };

  // The oldest overlay goes into the base.
  expect(await formatsAfter(0, { file_to_merge: one, merge_target_file: base })).toEqual([vpc]);
  expect((await liveChain(guest, volume)).map((layer) => layer.file)).toEqual([three, two, base]);

  // What lies between the active file and the base is pulled up.
  const pull = { file_to_merge: base, merge_target_file: null };
  expect(await formatsAfter(2, pull)).toEqual([active, vpc]);
  expect(await liveChain(guest, volume)).toEqual([
    { file: three, format: 'qcow2' },
    { file: base, format: 'vpc' },
  ]);

  // The rest is pulled too, and the volume is qcow2 from then on.
  const all = { file_to_merge: null, merge_target_file: null };
  expect(await formatsAfter(1, all)).toEqual([active]);
  expect(await liveChain(guest, volume)).toEqual([{ file: three, format: 'qcow2' }]);
});

test('this libvirt has no word for vhdx: no guest has such a volume', async () => {
  const base = randomUUID();
  const path = join(stage.lab.images, base);
  await createImage(path, { format: 'vhdx', size: 16 * MIB });
  const disks = [{ path, format: 'vhdx' }];
  await expect(stage.lab.guest({ disks })).rejects.toThrow(/vhdx/);
});

test('below an overlay it takes vhdx for raw, and the guest reads the container', async () => {
  const base = randomUUID();
  const path = (name: string) => join(stage.lab.images, name);
  await createImage(path(base), { format: 'vhdx', size: 16 * MIB });
  await createOverlay(path(`${base}.a`), { name: base, format: 'vhdx' });
  const disks = [{ path: path(`${base}.a`), format: 'qcow2', serial: base }];
  await using guest = await stage.lab.guest({ disks });
  expect((await liveChain(guest, base)).at(-1)).toEqual({ file: base, format: 'raw' });
  // An empty vhdx is zeros; what is read begins with "vhdxfile".
  await expect(guest.expectPattern('vda', 0, 64 * KIB, 0)).rejects.toThrow(/read -P/);
});
