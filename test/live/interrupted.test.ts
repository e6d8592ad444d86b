/**
 * What others do to a guest in the middle of a merge: they destroy it, reset it, take the disk
 * away, migrate it. Whatever Cinder is told is held against the guest and the files right then.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TOKEN, wrapped } from '#app/composition.ts';
import type { SnapshotId, VolumeId } from '#domain/ids.ts';
import { instead } from './instead.ts';
import type { Guest } from './lab/guest.ts';
import { createImage, createOverlay } from './lab/images.ts';
import { LIBVIRT_URI, virsh } from './lab/libvirt.ts';
import { waitFor } from './lab/processes.ts';
import { SecondHost } from './lab/second-host.ts';
import { type Answered, askCreate, askDelete } from './requests.ts';
import { inProcess, tellOnFailure } from './service.ts';
import { stageWithoutCinder } from './without-cinder.ts';
import { liveChain } from './witnesses.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** A layer of 6 MiB takes some 5 s. */
const stage = stageWithoutCinder('[libvirt]\nbandwidth_mib = 1\n');
const { volumes, withoutCinder } = stage;

type Kind = 'commit' | 'pull';
const KINDS: readonly [Kind][] = [['commit'], ['pull']];

interface Merging {
  readonly guest: Guest;
  readonly volume: VolumeId;
  readonly id: SnapshotId;
  /** The layer that is merged away. */
  readonly gone: string;
  readonly top: string;
  /** What the guest had when it began. */
  readonly before: string;
  /** What was wrong about what Cinder was told, when it was told. */
  readonly lies: readonly string[];
  /** The same request once more, and its answer. */
  ask(): Promise<Answered>;
}

/** base <- a <- b of a guest, and a just being merged away, at 1 MiB a second. */
async function merging(kind: Kind, { persistent = true } = {}): Promise<Merging> {
  const volume = randomUUID() as VolumeId;
  const base = `volume-${volume}`;
  const path = (name: string) => join(stage.lab.images, name);
  await createImage(path(base), { format: 'raw', size: 32 * MIB });
  const disks = [{ path: path(base), format: 'raw', serial: volume }];
  const guest = await stage.lab.guest({ disks, persistent, paused: false });
  volumes.attach(volume, guest.uuid);
  await guest.write('vda', 0, 4 * MIB, 0x10);
  const files = [base];
  const ids: SnapshotId[] = [];
  for (const [nth, size] of [6 * MIB, 512 * KIB].entries()) {
    const id = volumes.put(volume, 'creating');
    const [below = ''] = files;
    const file = `${base}.${id}`;
    await createOverlay(path(file), { name: below, format: nth === 0 ? 'raw' : 'qcow2' });
    expect(await askCreate(stage.at, volume, id, file)).toMatchObject({ status: 200 });
    expect(await volumes.hear(id)).toMatchObject({ kind: 'created' });
    await guest.write('vda', (nth + 1) * 8 * MIB, size, 0x21 + nth);
    files.unshift(file);
    ids.unshift(id);
  }
  const [top = '', gone = ''] = files;
  const before = await guest.hash('vda');
  const lies: string[] = [];
  volumes.onUpdate = (update) => {
    if (update.kind === 'deleting' && update.percent === 90) lies.push('90% before the end');
    if (update.kind === 'deleted' && inUse(guest, path(top)).includes(gone)) {
      lies.push(`${gone} may go, and is in use`);
    }
  };
  const commit = kind === 'commit';
  const [id = randomUUID() as SnapshotId] = commit ? ids.slice(1) : ids;
  const info = commit
    ? { file_to_merge: gone, merge_target_file: base }
    : { file_to_merge: base, merge_target_file: null };
  const ask = async () => {
    volumes.put(volume, 'deleting', id);
    return askDelete(stage.at, volume, id, info);
  };
  expect(await ask()).toMatchObject({ status: 204 });
  await waitFor('the merge to copy', () => copies(guest), { everyMs: 20 });
  return { guest, volume, id, gone, top, before, lies, ask };
}

/** The request is repeated, and succeeds. */
async function again({ ask, id }: Merging): Promise<void> {
  expect(await ask()).toMatchObject({ status: 204 });
  const done = async () => volumes.verdict(id)?.kind === 'deleted';
  await waitFor('the second attempt to succeed', done, { timeoutMs: 60_000 });
}

async function copies(guest: Guest): Promise<boolean> {
  const said = await virsh('blockjob', guest.name, 'vda', '--info', '--raw').catch(() => '');
  return / cur=[1-9]/.test(said.replaceAll('\n', ' '));
}

/** The files that a guest has open, or that its next start would open. Waits for nobody. */
function inUse(guest: Guest, top: string): string {
  const words = ['-q', '-c', LIBVIRT_URI, 'dumpxml', guest.name];
  const xml = run('virsh', words);
  return xml.includes(" id='") ? xml : run('qemu-img', ['info', '-U', '--backing-chain', top]);
}

function run(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}

/** The guest has what it had: as it runs, after a SIGKILL, and from the headers alone. */
async function expectWhole({ guest, volume, gone, top, before, lies }: Merging): Promise<void> {
  expect(lies).toEqual([]);
  expect((await liveChain(guest, volume)).map(({ file }) => file)).not.toContain(gone);
  expect(await guest.hash('vda')).toBe(before);
  await guest.kill9();
  const path = join(stage.lab.images, top);
  await guest.startFromTopOnly({ vda: { path, format: 'qcow2' } });
  expect((await liveChain(guest, volume)).map(({ file }) => file)).not.toContain(gone);
  expect(await guest.hash('vda')).toBe(before);
}

test.each(KINDS)(
  'a guest that is destroyed in a %s: it failed, and can be repeated',
  async (kind) => {
    tellOnFailure(stage.at);
    await using _service = await inProcess(stage.at, withoutCinder);
    const it = await merging(kind);
    await using guest = it.guest;
    await guest.destroy();
    expect(await volumes.hear(it.id)).toEqual({ kind: 'delete-failed' });
    await guest.start();
    expect(await guest.hash('vda')).toBe(it.before);
    expect((await liveChain(guest, it.volume)).map(({ file }) => file)).toContain(it.gone);
    await again(it);
    await expectWhole(it);
  },
);

test.each(KINDS)('a transient one that is destroyed in a %s likewise', async (kind) => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  const it = await merging(kind, { persistent: false });
  await using guest = it.guest;
  await guest.destroy();
  expect(await volumes.hear(it.id)).toEqual({ kind: 'delete-failed' });
  await guest.startFromTopOnly();
  expect(await guest.hash('vda')).toBe(it.before);
  await again(it);
  await expectWhole(it);
});

test.each(KINDS)('a guest that is reset in a %s: it goes on, and ends', async (kind) => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  const it = await merging(kind);
  await using guest = it.guest;
  const qemu = await guest.pid();
  await virsh('reset', guest.name);
  expect(await copies(guest), 'the merge goes on').toBe(true);
  expect(volumes.verdict(it.id)).toBeNull();
  expect(await volumes.hear(it.id)).toMatchObject({ kind: 'deleted' });
  expect(await guest.pid()).toBe(qemu);
  await expectWhole(it);
});

test.each(KINDS)('a disk that is to be detached in a %s stays, and it ends', async (kind) => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  const it = await merging(kind);
  await using guest = it.guest;
  const detached = virsh('detach-disk', guest.name, 'vda', '--live');
  await expect(detached).rejects.toThrow(/block job/);
  expect(volumes.verdict(it.id)).toBeNull();
  expect(await volumes.hear(it.id)).toMatchObject({ kind: 'deleted' });
  await expectWhole(it);
});

test.each(KINDS)('a guest is not migrated in a %s, and it ends', async (kind) => {
  tellOnFailure(stage.at);
  await using _service = await inProcess(stage.at, withoutCinder);
  const it = await merging(kind);
  await using guest = it.guest;
  await using elsewhere = await SecondHost.start(stage.lab.dir);
  await expect(elsewhere.fetch(guest.name)).rejects.toThrow(/active block job/);
  expect(volumes.verdict(it.id)).toBeNull();
  expect(await volumes.hear(it.id)).toMatchObject({ kind: 'deleted' });
  await expectWhole(it);
});

test.each<{ kind: Kind; stays: boolean }>([
  { kind: 'commit', stays: false },
  { kind: 'pull', stays: false },
  { kind: 'commit', stays: true },
  { kind: 'pull', stays: true },
])(
  'a guest that leaves after a $kind, before the report (its configuration stays: $stays)',
  async ({ kind, stays }) => {
    tellOnFailure(stage.at);
    await using elsewhere = await SecondHost.start(stage.lab.dir);
    let leave: () => Promise<void> = async () => {};
    const leaving = wrapped(TOKEN.hypervisor, (made) =>
      instead(made, {
        flush: async (order) => {
          await leave();
          return made.flush(order);
        },
      }),
    );
    await using _service = await inProcess(stage.at, withoutCinder, leaving);
    const it = await merging(kind);
    await using guest = it.guest;
    leave = () => elsewhere.fetch(guest.name, { stays });
    // Nobody here can say any more that it is on disk: no file is given up.
    expect(await volumes.hear(it.id)).toEqual({ kind: 'delete-failed' });
    leave = async () => {};
    expect(await elsewhere.virsh('domstate', guest.name)).toContain('running');
    await elsewhere.giveBack(guest.name);
    expect(await guest.hash('vda')).toBe(it.before);
    expect(await it.ask()).toMatchObject({ status: 400 });
    expect(existsSync(join(stage.lab.images, it.gone))).toBe(true);
    await expectWhole(it);
  },
);
