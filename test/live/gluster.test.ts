/**
 * Network disks as Cinder's GlusterFS driver and Nova made them, on a real GlusterFS volume,
 * libvirt and QEMU. Nothing here is quick: libgfapi takes 10 s to close a file (issue 2606).
 */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ShareImages } from '#adapters/images/images.ts';
import { TOKEN, wrapped } from '#app/composition.ts';
import type { FileName, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { err } from '#domain/result.ts';
import { type RemoteLab, remoteContract } from '../contract/remote.ts';
import { instead } from './instead.ts';
import { canUnshare, furnish, Gluster, inNamespaces, isInside } from './lab/gluster.ts';
import type { Guest } from './lab/guest.ts';
import { hypervisorOfLab } from './lab/hypervisor.ts';
import { createImage, type ImageFormat, imageInfo } from './lab/images.ts';
import { run } from './lab/processes.ts';
import { askCreate, askDelete, type DeleteInfo } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';

const MIB = 1024 * 1024;
const SIZE = 16 * MIB;
const SLOW = { timeout: 900_000 };

if (isInside) describe('a network disk', inside);
else {
  test.runIf(canUnshare())(
    'network disks, in namespaces of their own: skipped where the kernel makes none',
    { timeout: 1_800_000 },
    async () => {
      expect(await inNamespaces('test/live/gluster.test.ts')).toMatch(/ Tests +4 passed/);
    },
  );
}

function inside(): void {
  beforeAll(furnish);
  const stage = stageWithoutCinder();
  const { volumes, withoutCinder } = stage;
  let gluster: Gluster;
  beforeAll(async () => {
    gluster = stage.lab.keep(await Gluster.started(stage.lab.dir));
  });

  /** A volume, its guest, and what Cinder would do to it. */
  class Story {
    readonly volume = randomUUID() as VolumeId;
    readonly base = `volume-${this.volume}`;
    readonly files = [this.base];
    guest!: Guest;

    async begin(format: ImageFormat): Promise<this> {
      await createImage(gluster.path(this.base), { format, size: SIZE });
      const write = `write -q -P 16 0 ${4 * MIB}`;
      await run('qemu-io', ['-f', format, '-c', write, gluster.path(this.base)]);
      await run('truncate', ['-s', '%512', gluster.path(this.base)]);
      const server = { protocol: 'gluster', host: gluster.host, port: gluster.port };
      const disk = { path: gluster.nameOf(this.base), server, format, serial: this.volume };
      this.guest = await stage.lab.guest({ disks: [disk], persistent: true });
      onTestFinished(() => this.guest[Symbol.asyncDispose]());
      volumes.attach(this.volume, this.guest.uuid);
      return this;
    }

    get active(): string {
      return this.files.at(-1) ?? this.base;
    }

    /** Cinder's overlay, or what `make` makes; answers how the request was taken. */
    async ask(make: (file: string) => Promise<unknown>) {
      const id = volumes.put(this.volume, 'creating');
      const file = `${this.base}.${id}`;
      await make(file);
      return { id, file, answer: await askCreate(stage.at, this.volume, id, file) };
    }

    /** Takes a snapshot and lets the guest write a MiB of its own. */
    async grow(byte: number, below: ImageFormat = 'qcow2'): Promise<SnapshotId> {
      const make = (file: string) => gluster.overlay(file, this.active, below, SIZE);
      const { id, file, answer } = await this.ask(make);
      expect(answer).toMatchObject({ status: 200 });
      const formats = [{ file, format: 'qcow2', provenance: 'reported' }];
      expect(await volumes.hear(id, 300_000)).toEqual({ kind: 'created', formats });
      this.files.push(file);
      await this.guest.write('vda', byte * MIB, MIB, byte);
      return id;
    }

    async delete(info: DeleteInfo) {
      const id = volumes.put(this.volume, 'deleting');
      const answer = await askDelete(stage.at, this.volume, id, info);
      expect(answer).toMatchObject({ status: 204 });
      return volumes.hear(id, 300_000);
    }
  }

  remoteContract('libvirt', () => remoteLab(), SLOW.timeout);

  async function remoteLab(): Promise<RemoteLab> {
    const { guest, volume, base } = await new Story().begin('raw');
    const hypervisor = await hypervisorOfLab();
    return {
      hypervisor,
      images: new ShareImages(),
      server: guest.uuid as ServerId,
      volume,
      base: base as FileName,
      size: SIZE,
      async overlay(name, backing) {
        const file = `${base}.${name}` as FileName;
        await gluster.overlay(file, backing, 'raw', SIZE);
        return file;
      },
      stop: () => guest.destroy(),
      [Symbol.asyncDispose]: () => hypervisor[Symbol.asyncDispose](),
    };
  }

  /** What a header says, as the server has it. */
  async function saysOf(file: string) {
    const info = await imageInfo(gluster.stored(file), 'qcow2');
    const { 'backing-filename': backing = null, 'backing-filename-format': format = null } = info;
    return { backing, format };
  }

  test('keeps every byte over creates, a commit, pulls and deaths of QEMU', SLOW, async () => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder);
    const it = await new Story().begin('raw');
    // The first overlay lies about the base, as Cinder's does of one that looks like a qcow2.
    await it.grow(1, 'qcow2');
    for (const byte of [2, 3]) await it.grow(byte);
    const [base = '', a = '', b = '', c = ''] = it.files;
    expect(await saysOf(a)).toEqual({ backing: base, format: 'raw' });
    await it.guest.flush('vda');
    const hash = await it.guest.hash('vda');
    /** QEMU flushes nothing; libvirt finds the chain again from the headers. */
    const survives = async () => {
      expect(await it.guest.hash('vda')).toBe(hash);
      await it.guest.kill9();
      await it.guest.startFromTopOnly();
      expect(await it.guest.hash('vda')).toBe(hash);
    };

    // Whether QEMU may write to the base nobody can tell: it is flushed by a stop of the guest.
    await it.guest.resume();
    const committed = await it.delete({ file_to_merge: b, merge_target_file: a });
    expect(committed).toMatchObject({ kind: 'deleted', formats: [{ file: a, format: 'qcow2' }] });
    expect(await saysOf(c)).toEqual({ backing: a, format: 'qcow2' });

    const pulled = await it.delete({ file_to_merge: base, merge_target_file: null });
    const formats = [
      { file: c, format: 'qcow2' },
      { file: base, format: 'raw' },
    ];
    expect(pulled).toMatchObject({ kind: 'deleted', formats });
    expect(await saysOf(c)).toEqual({ backing: base, format: 'raw' });
    await survives();

    const all = await it.delete({ file_to_merge: null, merge_target_file: null });
    expect(all).toMatchObject({ kind: 'deleted', formats: [{ file: c, format: 'qcow2' }] });
    expect(await saysOf(c)).toEqual({ backing: null, format: null });
    await survives();
    await it.guest.expectPattern('vda', 0, MIB, 0x10);
    for (const byte of [1, 2, 3]) await it.guest.expectPattern('vda', byte * MIB, MIB, byte);
  });

  test('takes no overlay that lies, and nothing while its guest is off', SLOW, async () => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder);
    const it = await new Story().begin('raw');
    const lies: readonly [string, (file: string) => Promise<unknown>][] = [
      ['it names /etc/passwd', (file) => gluster.overlay(file, '/etc/passwd', 'raw', SIZE)],
      ['virtual size', (file) => gluster.overlay(file, it.base, 'raw', SIZE / 2)],
      ['no multiple of 512', (file) => gluster.unfilled(file, it.base, 'raw', SIZE)],
      [
        'it is not a qcow2 file',
        (file) => createImage(gluster.path(file), { format: 'raw', size: SIZE }),
      ],
    ];
    for (const [says, make] of lies) {
      const { answer } = await it.ask(make);
      expect(answer, says).toMatchObject({ status: 400, says: expect.stringContaining(says) });
    }
    // That there is none libgfapi says after 10 s, when the answer is overdue.
    const { answer: none } = await it.ask(async () => {});
    expect(none, 'no overlay at all').toMatchObject({ status: 503 });

    await it.guest.destroy();
    const { answer } = await it.ask((file) => gluster.overlay(file, it.base, 'raw', SIZE));
    const says = expect.stringContaining('QEMU locks no file over a network');
    expect(answer).toMatchObject({ status: 400, says });
  });

  test('is made whole after a QEMU that dies under a pull', SLOW, async () => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder, deadly);
    const it = await new Story().begin('qcow2');
    for (const byte of [1, 2]) await it.grow(byte);
    await it.guest.flush('vda');
    const hash = await it.guest.hash('vda');
    victim = it.guest;
    const [base = '', a = '', b = ''] = it.files;
    const told = await it.delete({ file_to_merge: base, merge_target_file: null });
    expect(told).toMatchObject({ kind: 'delete-failed' });
    expect(await saysOf(b)).toEqual({ backing: a, format: 'qcow2' });
    await it.guest.start();
    expect(await it.guest.hash('vda')).toBe(hash);
  });
}

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
