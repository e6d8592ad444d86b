/** What cannot be done is said in one sentence, and nothing has been touched by then. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Hexagon, TOKEN, wrapped } from '#app/composition.ts';
import type { VolumeId } from '#domain/ids.ts';
import type { Guest } from './lab/guest.ts';
import { createImage, createOverlay, type NewImage } from './lab/images.ts';
import { type Lab, openLab } from './lab/lab.ts';
import { virsh } from './lab/libvirt.ts';
import { RememberedVolumes } from './remembered-volumes.ts';
import { type Answered, askCreate, askDelete } from './requests.ts';
import { inProcess, type Place, place, tellOnFailure } from './service.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

let lab: Lab<null>;
let at: Place;
let service: Hexagon;
let guest: Guest;
let known: number;
const volumes = new RememberedVolumes();
/** base <- one <- two <- three, the guest's vda; with three snapshots of ours taken on it. */
const volume = randomUUID() as VolumeId;
/** vdb and vdc both claim to be this one. */
const doubled = randomUUID() as VolumeId;
/** vdd, whose file is named as one that Cinder makes for this snapshot. */
const restored = randomUUID() as VolumeId;
const old = randomUUID();
const base = `volume-${volume}`;
const named = (): string => `${base}.${randomUUID()}`;
const [one, two, three] = [named(), named(), named()];
const path = (name: string) => join(lab.images, name);

beforeAll(async () => {
  lab = await openLab({ cinder: false });
  at = await place(join(lab.dir, 'chainkeeper'), 'http://127.0.0.1:9');
  service = lab.keep(
    await inProcess(
      at,
      wrapped(TOKEN.volumes, () => volumes),
    ),
  );
  const files = [base, 'b', 'c', `d.${old}`];
  for (const name of files) await createImage(path(name), { format: 'raw', size: 16 * MIB });
  const serials = [volume, doubled, doubled, restored];
  const disks = files.map((name, index) => {
    return { path: path(name), format: 'raw', serial: serials[index] ?? '' };
  });
  guest = await lab.guest({ disks });
  volumes.attach(volume, guest.uuid);
  volumes.attach(doubled, guest.uuid);
  volumes.attach(restored, guest.uuid);
  for (const [name, below] of [
    [one, base],
    [two, one],
    [three, two],
  ] as const) {
    const id = volumes.put(volume, 'creating', snapshotOf(name));
    await createOverlay(path(name), { name: below, format: below === base ? 'raw' : 'qcow2' });
    expect(await askCreate(at, volume, id, name)).toMatchObject({ status: 200 });
    expect(await volumes.hear(id)).toMatchObject({ kind: 'created' });
    await guest.write('vda', 0, 4 * MIB, 0x11);
  }
  known = (await service.inspect.operations('all', 100)).length;
  volumes.told.length = 0;
});

afterAll(() => lab?.[Symbol.asyncDispose]());

/** Asks, and answers the sentence; the guest, Cinder and the journal must be as they were. */
async function refusal(ask: () => Promise<Answered>): Promise<string> {
  tellOnFailure(at);
  const xml = await guest.xml();
  const { status, says } = await ask();
  expect(status).toBe(400);
  expect(says).toMatch(/^[^\n]*[^.\n]\.$/);
  expect(await guest.xml()).toBe(xml);
  expect(volumes.told).toEqual([]);
  expect(await service.inspect.operations('all', 100)).toHaveLength(known);
  return says;
}

const snapshotOf = (file: string): string => file.slice(file.lastIndexOf('.') + 1);

/** Asks for a file named as Cinder names that of a snapshot. */
const create = (of: VolumeId, newFile = named()) =>
  refusal(() => askCreate(at, of, volumes.put(of, 'creating', snapshotOf(newFile)), newFile));

const remove = (file: string | null, target: string | null) =>
  refusal(() => {
    const info = { file_to_merge: file, merge_target_file: target };
    return askDelete(at, volume, volumes.put(volume, 'deleting'), info);
  });

test('a volume that Cinder does not know', async () => {
  expect(await create(randomUUID() as VolumeId)).toMatch(/^Cinder knows no volume/);
});

test('a guest that is not on this host', async () => {
  const elsewhere = randomUUID() as VolumeId;
  volumes.attach(elsewhere, randomUUID());
  expect(await create(elsewhere)).toMatch(/^No guest .* is defined on this host/);
});

test('a guest that does not have the disk', async () => {
  const detached = randomUUID() as VolumeId;
  volumes.attach(detached, guest.uuid);
  expect(await create(detached)).toMatch(/has no disk with serial/);
});

test('two disks with one serial', async () => {
  expect(await create(doubled)).toMatch(/has 2 disks with serial .* \(vdb, vdc\)/);
});

test('a file that Cinder believes in use and that is not', async () => {
  volumes.believe(volume, two);
  expect(await create(volume)).toMatch(`Cinder believes that ${two} is in use`);
  volumes.believe(volume, three);
});

test('files that are not in the chain, or not next to each other', async () => {
  expect(await remove('stranger', one)).toMatch(/^stranger is not in this volume's chain/);
  expect(await remove(two, 'stranger')).toMatch(/^stranger is not in this volume's chain/);
  expect(await remove('stranger', null)).toMatch(/^stranger is not in this volume's chain/);
  expect(await remove(two, base)).toMatch(/does not sit directly on/);
  expect(await remove(one, two)).toMatch(/does not sit directly on/);
  expect(await remove(three, two)).toMatch(/the file that the guest writes to/);
  expect(await remove(null, null)).toMatch(/3 layers, and a delete merges exactly one/);
  expect(await remove(two, null)).toMatch(/0 layers, and a delete merges exactly one/);
});

test('overlays that are none of this volume', async () => {
  const backing = { name: three, format: 'qcow2' } as const;
  const size = 16 * MIB;
  const overlay = async (image: Partial<NewImage>) => {
    const name = named();
    await createImage(path(name), { format: 'qcow2', checkBacking: false, size, ...image });
    return create(volume, name);
  };
  expect(await create(volume)).toMatch(/it is not there/);
  expect(await create(restored, `d.${old}`)).toMatch(/already part of this volume's chain/);
  expect(await overlay({ format: 'raw' })).toMatch(/is not a safe overlay/);
  expect(await overlay({ backing: { ...backing, name: two } })).toMatch(/it names/);
  expect(await overlay({ size: 8 * MIB, backing })).toMatch(/its virtual size is/);
  const options = [`data_file=${path('elsewhere')}`];
  expect(await overlay({ backing, options })).toMatch(/in another file/);
});

test('an overlay of another snapshot', async () => {
  const ask = (file: string) =>
    refusal(() => askCreate(at, volume, volumes.put(volume, 'creating'), file));
  expect(await ask(named())).toMatch(/is not an overlay that Cinder makes for snapshot/);
  expect(await ask('x')).toMatch(/its name must end in a dot and the id of the snapshot/);
});

test('words that no Cinder would send', async () => {
  expect(await create(volume, `../${named()}`)).toMatch(/bare file name/);
  expect(await create(volume, `/etc/${named()}`)).toMatch(/bare file name/);
});

test('a job that is not ours', async () => {
  const slow = ['--bandwidth', '1', '--top', path(two), '--base', path(one)];
  await virsh('blockcommit', guest.name, 'vda', ...slow);
  try {
    expect(await remove(one, base)).toMatch(/^Disk vda has a commit job that chainkeeper did/);
    const next = named();
    await createOverlay(path(next), { name: three, format: 'qcow2' });
    expect(await create(volume, next)).toMatch(/^Disk vda has a commit job that chainkeeper did/);
  } finally {
    await virsh('blockjob', guest.name, 'vda', '--abort');
  }
});
