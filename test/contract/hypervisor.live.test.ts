import { randomUUID } from 'node:crypto';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import type { Merge } from '#domain/chain.ts';
import { type FileName, type Format, QCOW2, type ServerId, type VolumeId } from '#domain/ids.ts';
import type { Happening } from '#ports/hypervisor.ts';
import { hypervisorOfLab } from '../live/lab/hypervisor.ts';
import { createImage, type ImageFormat, imageInfo } from '../live/lab/images.ts';
import { type Lab, openLab } from '../live/lab/lab.ts';
import { virsh } from '../live/lab/libvirt.ts';
import { createWithLuks, Passphrase } from '../live/lab/luks.ts';
import { waitFor } from '../live/lab/processes.ts';
import { type HypervisorLab, hypervisorContract } from './hypervisor.ts';
import { luksContract } from './luks.ts';
import { refusalContract } from './refusals.ts';

let machine: Lab<null>;

beforeAll(async () => {
  machine = await openLab({ cinder: false });
});

afterAll(() => machine?.[Symbol.asyncDispose]());

hypervisorContract('libvirt', () => lab('raw'));
refusalContract('libvirt', () => lab('raw'));

luksContract('libvirt', async (format) => {
  const words = await Passphrase.made(machine.dir);
  const made = await lab(format === QCOW2 ? 'qcow2' : 'raw', words);
  const key = { secret: words.uuid, engine: 'qemu' };
  return { ...made, key, forgetSecret: () => words.forget() };
});

/** The eight clusters that the laws write to, and room for a job to be held up in. */
const SIZE = 16 * 1024 * 1024;
const CLUSTER = 65_536;
const BASE = 'volume';

async function lab(
  baseFormat: 'raw' | 'qcow2',
  words: Passphrase | null = null,
): Promise<HypervisorLab> {
  await using parts = new AsyncDisposableStack();
  if (words !== null) parts.use(words);
  const directory = join(machine.images, randomUUID());
  await mkdir(directory);
  await chmod(directory, 0o755);
  const path = (name: string) => join(directory, name);
  const [volume, other] = [randomUUID(), randomUUID()];
  const disks = await Promise.all(
    [
      { name: BASE, serial: volume },
      { name: 'other', serial: other },
    ].map(async ({ name, serial }) => {
      const disk = { path: path(name), format: baseFormat, serial };
      if (words !== null && name === BASE) {
        await words.createVolume(path(name), baseFormat, SIZE);
        return { ...disk, extraXml: words.xml };
      }
      await createImage(path(name), { format: baseFormat, size: SIZE });
      return disk;
    }),
  );
  const guest = parts.use(await machine.guest({ disks, persistent: true }));
  const server = guest.uuid as ServerId;
  const hypervisor = parts.use(await hypervisorOfLab());
  let heard: Happening[] = [];
  hypervisor.listen((happening) => {
    if ('server' in happening && happening.server === server) heard.push(happening);
  });
  /** What `does` brings about is told some milliseconds later. */
  const until = async (kind: Happening['kind'], does: () => Promise<unknown>) => {
    await does();
    await waitFor(`news of the ${kind}`, () => heard.some((it) => it.kind === kind), {
      everyMs: 10,
    });
    heard = [];
  };
  const job = async () => (await virsh('blockjob', guest.name, 'vda', '--info')).trim();
  const all = parts.move();
  return {
    hypervisor,
    server,
    volume: volume as VolumeId,
    other: other as VolumeId,
    base: BASE as FileName,
    baseFormat: baseFormat as string as Format,
    directory,
    oldLibvirt: false,
    async overlay(name, { backing, format, clusters = SIZE / CLUSTER }) {
      if (format === null) throw new Error('qemu-img writes no overlay without a format');
      const says = { name: backing, format: format as string as ImageFormat };
      const size = clusters * CLUSTER;
      if (words !== null) {
        await words.createVolume(path(name), 'qcow2', size, { name: backing, format });
        return name as FileName;
      }
      const image = { format: 'qcow2', size, backing: says, checkBacking: false } as const;
      await createImage(path(name), image);
      return name as FileName;
    },
    async unfit(name, how) {
      if (how === 'folder') await mkdir(path(name));
      else if (how === 'encrypted') await encrypted(path(name));
      else await createImage(path(name), { format: how === 'raw' ? how : 'qcow2', size: SIZE });
      if (how === 'forbidden') await chmod(path(name), 0);
      return name as FileName;
    },
    write: (at, byte) => guest.write('vda', at * CLUSTER, CLUSTER, byte),
    writeZeroes: (at) => guest.writeZeroes('vda', at * CLUSTER, CLUSTER),
    hash: () => guest.hash('vda'),
    async headerOf(file) {
      const info = await imageInfo(path(file), 'qcow2');
      const backing = info['backing-filename'] ?? null;
      return { backing, format: info['backing-filename-format'] ?? null };
    },
    idle: () =>
      until('job', () => waitFor('the job to end', async () => (await job()) === '', NIMBLY)),
    ready: async () => {
      await waitFor(
        'the active commit to be ready',
        async () => {
          const view = await hypervisor.look({ server, volume: volume as VolumeId });
          return view.ok && view.value.kind === 'disk' && view.value.job?.mirror?.ready === true;
        },
        NIMBLY,
      );
      heard = [];
    },
    /** At a byte a second QEMU copies one piece and then waits for days. */
    async startEndless(merge: Merge) {
      heard = [];
      const slow = ['--bandwidth', '1', '--bytes', '--keep-relative'];
      if (merge.kind === 'commit') {
        const files = ['--top', path(merge.top), '--base', path(merge.into)];
        await virsh('blockcommit', guest.name, 'vda', ...files, ...slow);
      } else {
        if (merge.onto === null) throw new Error('a pull of everything keeps no name');
        await virsh('blockpull', guest.name, 'vda', '--base', path(merge.onto), ...slow);
      }
      await waitFor('the job', async () => (await job()) !== '', NIMBLY);
    },
    cancel: () => until('job', () => virsh('blockjob', guest.name, 'vda', '--abort')),
    pause: () => guest.suspend(),
    resume: () => guest.resume(),
    kill: () => until('guest', () => guest.kill9()),
    stop: () => until('guest', () => guest.destroy()),
    save: () => until('guest', () => virsh('managedsave', guest.name)),
    start: () => until('guest', () => guest.startFromTopOnly()),
    startAsConfigured: () => until('guest', () => guest.start()),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** The fewest rounds of key stretching that cryptsetup's format allows: 2 s otherwise. */
const encrypted = (path: string): Promise<void> =>
  createWithLuks([
    ...['-q', '-f', 'qcow2', '--object', 'secret,id=key,data=key'],
    ...['-o', 'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10', path],
    String(SIZE),
  ]);

const NIMBLY = { everyMs: 20 };
