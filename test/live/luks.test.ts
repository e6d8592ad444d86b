/**
 * Encrypted volumes on real libvirt and QEMU: qcow2 with LUKS inside, as Cinder's NFS driver makes
 * them, and LUKS with nothing around it, which libvirt calls raw.
 */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import type { FileName, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { err, ok } from '#domain/result.ts';
import type { SnapshotOrder } from '#ports/hypervisor.ts';
import { instead } from './instead.ts';
import type { Guest } from './lab/guest.ts';
import { createImage } from './lab/images.ts';
import { Passphrase, saysOf } from './lab/luks.ts';
import { askCreate, askDelete, type DeleteInfo } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const MIB = 1024 * 1024;
const SIZE = 16 * MIB;
const FORMATS = ['qcow2', 'raw'] as const;
type Format = (typeof FORMATS)[number];

const stage = stageWithoutCinder();
const { volumes, withoutCinder } = stage;

/** A volume, its guest, and what Cinder would do to it. */
class Story {
  readonly volume = randomUUID() as VolumeId;
  readonly base = `volume-${this.volume}`;
  readonly files = [this.base];
  readonly format: Format;
  readonly key: Passphrase;
  guest!: Guest;

  constructor(format: Format, key: Passphrase) {
    this.format = format;
    this.key = key;
  }

  path = (name: string) => join(stage.lab.images, name);

  /** Pattern 0x10 in the first four MiB, written while the guest is off. */
  async begin(): Promise<this> {
    await this.key.createVolume(this.path(this.base), this.format, SIZE);
    await this.key.io(this.path(this.base), this.format, `write -P 16 0 ${4 * MIB}`);
    const disk = { path: this.path(this.base), format: this.format, serial: this.volume };
    const disks = [{ ...disk, extraXml: this.key.xml }];
    this.guest = await stage.lab.guest({ disks, persistent: true });
    onTestFinished(() => this.guest[Symbol.asyncDispose]());
    volumes.attach(this.volume, this.guest.uuid);
    return this;
  }

  get active(): string {
    return this.files.at(-1) ?? this.base;
  }

  /** What Cinder prepares: an overlay with the volume's passphrase, or what `make` makes. */
  async prepare(make?: (path: string) => Promise<unknown>) {
    const id = volumes.put(this.volume, 'creating');
    const file = `${this.base}.${id}`;
    const format = this.active === this.base ? this.format : 'qcow2';
    const below = { path: this.path(this.active), name: this.active, format };
    await (make?.(this.path(file)) ?? this.key.createOverlay(this.path(file), below));
    return { id, file };
  }

  async create(make?: (path: string) => Promise<unknown>) {
    const { id, file } = await this.prepare(make);
    const answer = await askCreate(stage.at, this.volume, id, file);
    expect(answer).toMatchObject({ status: 200 });
    const told = await volumes.hear(id);
    if (told.kind === 'created') this.files.push(file);
    return { id, file, told };
  }

  /** Takes a snapshot and lets the guest write a MiB of its own. */
  async grow(byte: number): Promise<SnapshotId> {
    const { id, file, told } = await this.create();
    const formats = [{ file, format: 'qcow2', provenance: 'reported' }];
    expect(told).toEqual({ kind: 'created', formats });
    await this.guest.write('vda', byte * MIB, MIB, byte);
    return id;
  }

  async delete(info: DeleteInfo) {
    const id = volumes.put(this.volume, 'deleting');
    expect(await askDelete(stage.at, this.volume, id, info)).toMatchObject({ status: 204 });
    return volumes.hear(id);
  }

  /** As its own configuration has it, with all that libvirt has written down of the chain. */
  async restart(): Promise<void> {
    await this.guest.destroy();
    await this.guest.start();
  }
}

async function story(format: Format): Promise<Story> {
  const key = stage.lab.keep(await Passphrase.made(stage.lab.dir));
  return new Story(format, key).begin();
}

describe.each(FORMATS)('a %s volume with LUKS', (format) => {
  test('keeps every byte over creates, a commit, pulls and starts', async () => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder);
    const it = await story(format);
    await it.guest.expectPattern('vda', 0, 4 * MIB, 0x10);
    for (const byte of [1, 2, 3]) await it.grow(byte);
    const hash = await it.guest.hash('vda');
    const [base = '', a = '', b = '', c = ''] = it.files;
    const same = async () => expect(await it.guest.hash('vda')).toBe(hash);
    // libvirt's capacity, which headers are held against, is what the guest sees of it.
    for (const file of [a, b, c]) expect((await saysOf(it.path(file))).size).toBe(SIZE);

    const committed = await it.delete({ file_to_merge: b, merge_target_file: a });
    expect(committed).toMatchObject({ kind: 'deleted', formats: [{ file: a, format: 'qcow2' }] });
    await same();
    expect(await saysOf(it.path(c))).toMatchObject({ backing: a, format: 'qcow2' });
    await it.restart();
    await same();

    const pulled = await it.delete({ file_to_merge: base, merge_target_file: null });
    const formats = [
      { file: c, format: 'qcow2' },
      { file: base, format },
    ];
    expect(pulled).toMatchObject({ kind: 'deleted', formats });
    await same();
    // QEMU's word for what libvirt calls raw with a key.
    const says = { backing: base, format: format === 'raw' ? 'luks' : 'qcow2' };
    expect(await saysOf(it.path(c))).toMatchObject(says);
    await it.restart();
    await same();

    await it.grow(4);
    const grown = await it.guest.hash('vda');
    const [, , , , d = ''] = it.files;
    const into = await it.delete({ file_to_merge: c, merge_target_file: base });
    expect(into).toMatchObject({ kind: 'deleted', formats: [{ file: base, format }] });
    expect(await it.guest.hash('vda')).toBe(grown);
    await it.restart();
    expect(await it.guest.hash('vda')).toBe(grown);

    const all = await it.delete({ file_to_merge: null, merge_target_file: null });
    expect(all).toMatchObject({ kind: 'deleted', formats: [{ file: d, format: 'qcow2' }] });
    expect(await saysOf(it.path(d))).toMatchObject({ backing: null });
    await it.restart();
    expect(await it.guest.hash('vda')).toBe(grown);
    await it.guest.expectPattern('vda', 0, MIB, 0x10);
    for (const byte of [1, 2, 3, 4]) await it.guest.expectPattern('vda', byte * MIB, MIB, byte);
  });

  test('has nothing of what the guest wrote in plain', async () => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder);
    const it = await story(format);
    await it.grow(7);
    await it.guest.flush('vda');
    const pattern = Buffer.alloc(512, 7);
    for (const file of it.files) {
      expect((await readFile(it.path(file))).includes(pattern), file).toBe(false);
    }
    // What a plain overlay would have, and libvirt would have taken (measured).
    const plain = await it.prepare((path) => plainOverlay(path, it));
    const answer = await askCreate(stage.at, it.volume, plain.id, plain.file);
    expect(answer).toMatchObject({
      status: 400,
      says: expect.stringMatching(/it is not encrypted, and the volume is/),
    });
  });

  test('is made whole after a QEMU that dies under a pull, and starts', async () => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder, deadly);
    const it = await story(format);
    for (const byte of [1, 2]) await it.grow(byte);
    await it.guest.flush('vda');
    const hash = await it.guest.hash('vda');
    victim = it.guest;
    const [base = '', a = '', b = ''] = it.files;
    const told = await it.delete({ file_to_merge: base, merge_target_file: null });
    expect(told).toMatchObject({ kind: 'delete-failed' });
    expect(await saysOf(it.path(b))).toMatchObject({ backing: a, format: 'qcow2' });
    await it.guest.start();
    expect(await it.guest.hash('vda')).toBe(hash);
  });
});

describe('without', () => {
  test('the key in the snapshot XML QEMU opens no overlay', async () => {
    await using service = await inProcess(
      stage.at,
      withoutCinder,
      orders(({ key: _, ...rest }) => rest),
    );
    const it = await story('qcow2');
    const { id, told } = await it.create();
    expect(told).toEqual({ kind: 'create-failed' });
    expect(await reasonOf(service, id)).toMatch(/'encrypt.key-secret' is required for cipher$/);
    expect(await activeOf(service, it)).toBe(it.base);
  });

  test('the engine in it the guest does not start any more', async () => {
    const plain = orders(({ key, ...rest }) => ({
      ...rest,
      key: key ? { ...key, engine: null } : null,
    }));
    await using _service = await inProcess(stage.at, withoutCinder, plain);
    const it = await story('qcow2');
    await it.create();
    await expect(it.restart()).rejects.toThrow('Unexpected enum value 0');
  });

  test('the secret on the host nothing is changed, and it is said', async () => {
    await using service = await inProcess(stage.at, withoutCinder);
    const it = await story('qcow2');
    await it.key.forget();
    const { id, told } = await it.create();
    expect(told).toEqual({ kind: 'create-failed' });
    const said = `Secret not found: no secret with matching uuid '${it.key.uuid}'`;
    expect(await reasonOf(service, id)).toBe(`libvirt refused (66): ${said}`);
    expect(await activeOf(service, it)).toBe(it.base);
    await it.guest.expectPattern('vda', 0, 4 * MIB, 0x10);
    await it.key.tellLibvirt();
    await it.grow(1);
    // A merge needs no key that QEMU does not have.
    await it.key.forget();
    const all = await it.delete({ file_to_merge: null, merge_target_file: null });
    expect(all).toMatchObject({ kind: 'deleted' });
  });

  test('the passphrase of the volume an overlay is not opened', async () => {
    await using service = await inProcess(stage.at, withoutCinder);
    const it = await story('qcow2');
    await using other = await Passphrase.made(stage.lab.dir);
    const { id, told } = await it.create((path) =>
      other.createVolume(path, 'qcow2', SIZE, { name: it.base, format: 'qcow2' }),
    );
    expect(told).toEqual({ kind: 'create-failed' });
    expect(await reasonOf(service, id)).toMatch(/Invalid password, cannot unlock any keyslot$/);
    expect(await activeOf(service, it)).toBe(it.base);
  });
});

test('Cinder 21.3.1 makes no encrypted overlay with this qemu-img (LP 2138330)', async () => {
  await using key = await Passphrase.made(stage.lab.dir);
  const [volume, overlay] = ['alone', 'alone.s1'].map((name) => join(stage.lab.images, name));
  if (volume === undefined || overlay === undefined) throw new Error('no names');
  await key.createVolume(volume, 'qcow2', SIZE);
  const made = key.createOverlayAsCinder21(overlay, volume);
  await expect(made).rejects.toThrow('Backing file specified without backing format');
});

describe('what libvirt 9.0 does', () => {
  test('with an encrypted layer that it finds behind a header: it starts no guest', async () => {
    await using _service = await inProcess(stage.at, withoutCinder);
    const it = await story('qcow2');
    await it.grow(1);
    await it.guest.destroy();
    await expect(it.guest.startFromTopOnly()).rejects.toThrow('virStorageEncryptionEngine');
  });

  test('with a snapshot of a guest that is off: no key is left for what is below', async () => {
    await using service = await inProcess(stage.at, withoutCinder);
    const it = await story('qcow2');
    await it.guest.destroy();
    const { id, file } = await it.prepare();
    const answer = await askCreate(stage.at, it.volume, id, file);
    expect(answer).toMatchObject({ status: 400, says: expect.stringMatching(/is shut off/) });
    const key = { secret: it.key.uuid, engine: 'qemu' };
    const order = { server: it.guest.uuid as ServerId, volume: it.volume, target: 'vda', key };
    const names = {
      directory: stage.lab.images,
      file: file as FileName,
      active: it.base as FileName,
    };
    const done = await service.hypervisor.snapshot({ ...order, ...names, process: null });
    expect(done).toEqual(ok(null));
    await expect(it.guest.start()).rejects.toThrow('virStorageEncryptionEngine');
  });
});

/** What Cinder would make of a volume that it takes for a plain one. */
const plainOverlay = (path: string, { active, format, base }: Story) =>
  createImage(path, {
    format: 'qcow2',
    size: SIZE,
    backing: { name: active, format: active === base ? format : 'qcow2' },
    checkBacking: false,
  });

/** Where the tables would be flushed, QEMU dies. */
let victim: Guest | null = null;
const deadly = wrapped(TOKEN.hypervisor, (made) =>
  instead(made, {
    flush: async () => {
      await victim?.kill9();
      return err({ kind: 'unknown', who: 'libvirt', detail: 'QEMU died' });
    },
  }),
);

/** What is ordered of libvirt is another thing than was meant. */
const orders = (other: (order: SnapshotOrder) => SnapshotOrder) =>
  wrapped(TOKEN.hypervisor, (made) =>
    instead(made, { snapshot: (order) => made.snapshot(other(order)) }),
  );

type Service = Awaited<ReturnType<typeof inProcess>>;

async function reasonOf({ inspect }: Service, id: SnapshotId): Promise<string> {
  const all = await inspect.operations('all', 10);
  const saga = all.find((one) => one.saga.request.snapshot === id)?.saga;
  return saga?.at === 'end' ? saga.reason : `it is ${saga?.at}`;
}

async function activeOf({ hypervisor }: Service, { guest, volume }: Story) {
  const seen = await hypervisor.look({ server: guest.uuid as ServerId, volume });
  if (!seen.ok || seen.value.kind !== 'disk') throw new Error(JSON.stringify(seen));
  expect(seen.value.chain.on).toBeNull();
  return seen.value.chain.file;
}
