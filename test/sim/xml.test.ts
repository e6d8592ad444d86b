import { describe, expect, test } from 'vitest';
import { diskOf as found, viewOf } from '#adapters/libvirt/disk-view.ts';
import { parseDomain } from '#adapters/libvirt/domain-xml.ts';
import type { Merge } from '#domain/chain.ts';
import {
  type FileName,
  type Format,
  QCOW2,
  RAW,
  type ServerId,
  type VolumeId,
} from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { SimClock } from '#sim/clock.ts';
import { SimDisk } from '#sim/disk.ts';
import { SimGuest } from '#sim/guest.ts';
import { SimHypervisor } from '#sim/hypervisor.ts';
import { type NewFile, SimShare } from '#sim/share.ts';
import { switchTo } from '#sim/switching.ts';
import { buildXml } from '../adapters/libvirt/build-xml.ts';
import { DUMPS } from '../adapters/libvirt/dumps.ts';
import { diskOf, xmlOf } from '../support/sim-xml.ts';
import { sketch } from '../support/sketch.ts';

const file = (name: string) => name as FileName;

/** A running guest with one disk for each of the files, from vda on. */
class Scene {
  readonly clock = new SimClock();
  readonly share = new SimShare('/images');
  readonly guest: SimGuest;
  readonly hypervisor: SimHypervisor;

  constructor(files: Readonly<Record<string, NewFile>>) {
    const disks = Object.entries(files).map(([name, made], at) => {
      const { format } = this.share.create(file(name), made);
      return new SimDisk(this.share, `${at}` as VolumeId, `vd${'abc'[at]}`, file(name), format);
    });
    this.guest = new SimGuest('guest' as ServerId, disks);
    this.hypervisor = new SimHypervisor({ clock: this.clock, guests: [this.guest] });
    expect(this.guest.start()).toEqual(ok(null));
  }

  get disk(): SimDisk {
    return this.guest.disks[0] as SimDisk;
  }

  over(name: string, says: NewFile = {}, disk = this.disk, keyed = false) {
    const { file: backing, format } = disk.chain();
    this.share.create(file(name), { backing, backingFormat: format, ...says });
    const key = keyed ? { secret: disk.secret, engine: 'qemu' } : null;
    const directory = this.share.home(says.protocol ?? null) ?? '/images';
    return switchTo(disk, { directory, file: file(name), key });
  }

  async merge(merge: Merge): Promise<void> {
    const { volume, target } = this.disk;
    const chain = this.disk.xml;
    const names: FileName[] = [];
    for (let at: typeof chain | null = chain; at !== null; at = at.on) names.push(at.file);
    const { server, process } = this.guest;
    const order = { server, volume, target, process, merge, chain: names };
    expect(await this.hypervisor.merge(order)).toEqual(ok(null));
    await this.clock.advance(10_000);
    expect(this.disk.job).toBeNull();
  }

  restart(from?: 'the configuration'): void {
    this.guest.end('stopped');
    expect(this.guest.start(from)).toEqual(ok(null));
  }

  live(): readonly string[] {
    return this.guest.disks.map((disk) => sketch(diskOf(disk, true)));
  }

  inactive(): readonly string[] {
    return this.guest.disks.map((disk) => sketch(diskOf(disk, false)));
  }
}

const RAW_FILE: NewFile = { format: RAW };

/** The volume, and snapshots s1 to s4 of it. */
function four(): Scene {
  const it = new Scene({ a01: RAW_FILE });
  for (const name of ['a01.s1', 'a01.s2', 'a01.s3', 'a01.s4']) it.over(name);
  return it;
}

async function committed(): Promise<Scene> {
  const it = four();
  it.restart();
  await it.merge({ kind: 'commit', top: file('a01.s3'), into: file('a01.s2') });
  await it.merge({ kind: 'commit', top: file('a01.s2'), into: file('a01.s1') });
  return it;
}

/** Two disks, and a third one in the place of the empty drive. */
function two(): Scene {
  return new Scene({ a01: RAW_FILE, b02: { format: QCOW2 }, drive: RAW_FILE });
}

function snapped(): Scene {
  const it = two();
  for (const disk of it.guest.disks.slice(0, 2)) it.over(`${disk.xml.file}.snap1`, {}, disk);
  return it;
}

const LUKS_DISKS = {
  lq: { format: QCOW2, luks: true },
  lr: { format: RAW, luks: true },
  a01: RAW_FILE,
};

const network = (): Scene => new Scene({ exp1: { format: RAW, protocol: 'nbd' } });

function overNetwork(): Scene {
  const it = network();
  it.over('nbd.s1');
  return it;
}

function gluster(overlays = 3): Scene {
  const it = new Scene({ v: { format: RAW, protocol: 'gluster' } });
  for (let at = 1; at <= overlays; at++) it.over(`v.s${at}`, { protocol: 'gluster' });
  return it;
}

/** What was done on libvirt before each dump, done on the sim. */
const MADE: Readonly<Record<string, () => readonly string[] | Promise<readonly string[]>>> = {
  '01-single-raw-live.xml': () => new Scene({ a01: RAW_FILE }).live(),
  '03-raw-plus-one-overlay.xml': () => {
    const it = new Scene({ a01: RAW_FILE });
    it.over('a01.s1');
    return it.live();
  },
  '04-depth-4-overlays.xml': () => four().live(),
  '06-restarted-with-top-only.xml': () => {
    const it = four();
    it.restart();
    return it.live();
  },
  '13-after-inner-commit.xml': async () => (await committed()).live(),
  '14-after-pull-all.xml': async () => {
    const it = await committed();
    await it.merge({ kind: 'pull', onto: null });
    return it.live();
  },
  '16-two-disks-empty-cdrom-live.xml': () => driveless(two().live()),
  '17-two-disks-after-snapshot-live.xml': () => driveless(snapped().live()),
  '18-two-disks-after-snapshot-inactive.xml': () => driveless(snapped().inactive()),
  '19-shutoff-after-snapshot-inactive.xml': () => {
    const it = snapped();
    it.guest.end('stopped');
    return driveless(it.inactive());
  },
  '21-network-nbd.xml': () => network().live(),
  '22-network-nbd-plus-overlay.xml': () => overNetwork().live(),
  '24-luks-qcow2-and-luks-raw.xml': () => new Scene(LUKS_DISKS).live(),
  '25-luks-qcow2-plus-luks-overlay.xml': () => {
    const it = new Scene(LUKS_DISKS);
    // It was tried without the key first.
    expect(it.over('lq.s1', { luks: true })).toMatchObject({ ok: false });
    expect(it.over('lq.s1', { luks: true }, it.disk, true)).toEqual(ok(null));
    return it.live();
  },
  '29-plain-overlay-on-luks-raw.xml': async () => (await onLuks()).live(),
  '30-gluster-plus-three-overlays.xml': () =>
    gluster()
      .live()
      .map((disk) => disk.replaceAll('volumes/', 'ck/')),
};

async function onLuks(): Promise<Scene> {
  const it = new Scene({ lr: LUKS_DISKS.lr });
  it.disk.write(0, 1);
  for (const name of ['a', 'b', 'c']) it.over(name, { luks: false });
  it.disk.write(1, 2);
  await it.merge({ kind: 'pull', onto: file('lr') });
  return it;
}

/** The drive is there in libvirt's dumps too, but without a layer. */
const driveless = (disks: readonly string[]): readonly string[] => [...disks.slice(0, 2), 'sda ro'];

describe('the sim numbers, marks and ends its layers as libvirt did', () => {
  test.each(Object.entries(MADE))('%s', async (dump, made) => {
    expect(await made()).toEqual(DUMPS[dump]);
  });
});

describe('what the sim shows of a disk is what the adapter makes of such XML', () => {
  const scenes: Readonly<Record<string, () => Scene | Promise<Scene>>> = {
    'a chain': four,
    'a merged chain': committed,
    'two disks': snapped,
    'a network disk': network,
    'an overlay on a network disk': overNetwork,
    'a disk on GlusterFS': () => gluster(),
    'a disk on GlusterFS over a file of this host': () => {
      const it = new Scene({ v: RAW_FILE });
      it.over('v.s1', { protocol: 'gluster' });
      return it;
    },
    'a file of this host over a disk on GlusterFS': () => {
      const it = gluster(0);
      it.over('v.s1');
      return it;
    },
    'encrypted disks': () => new Scene(LUKS_DISKS),
    'an encrypted base': onLuks,
  };
  const seen = async (it: Scene) => {
    const domain = parseDomain(buildXml(xmlOf(it.guest)));
    if (!domain.ok) throw new Error(domain.error);
    for (const { volume, bytes } of it.guest.disks) {
      const disk = found(domain.value, volume);
      if ('kind' in disk) throw new Error(disk.kind);
      const { process } = it.guest;
      const remote = process === null && disk.layers[0]?.source.kind === 'network';
      const facts = { process, saved: false, size: remote ? null : bytes, job: null };
      const view = await it.hypervisor.look({ server: it.guest.server, volume });
      expect(view).toEqual(ok(viewOf(domain.value, disk, facts)));
    }
  };

  test.each(Object.entries(scenes))('%s', async (_, make) => {
    const it = await make();
    await seen(it);
    it.guest.end('stopped');
    await seen(it);
    expect(it.guest.start('the configuration')).toEqual(ok(null));
    await seen(it);
  });

  test('a network disk has no folder, and one below a local file is astray', async () => {
    const [alone, over] = [network(), overNetwork()];
    const look = ({ hypervisor, guest, disk }: Scene) =>
      hypervisor.look({ server: guest.server, volume: disk.volume });
    const source = { kind: 'other', type: 'network (nbd)' };
    expect(await look(alone)).toMatchObject({ value: { source, stray: null } });
    const stray = { file: 'exp1', directory: 'no local folder' };
    expect(await look(over)).toMatchObject({ value: { source, stray } });
  });
});

describe('an encrypted layer', () => {
  test('is luks in the header above and raw in the XML, after a merge onto it', async () => {
    const it = await onLuks();
    expect(it.share.file(file('c'))?.header).toMatchObject({ backing: 'lr', format: 'luks' });
    expect(it.disk.chain()).toMatchObject({ file: 'c', on: { file: 'lr', format: RAW } });
  });

  test('is read by whoever has the key, and noise to everybody else', async () => {
    const it = await onLuks();
    const before = it.disk.view();
    expect(before.slice(0, 3)).toEqual([1, 2, 0]);
    // The configuration has the key of each layer.
    it.restart('the configuration');
    expect(it.disk.view()).toEqual(before);
    // Its own key is all that a raw one needs, and without it the guest has the LUKS header.
    const alone = new Scene({ lr: LUKS_DISKS.lr });
    alone.disk.write(0, 1);
    alone.guest.end('stopped');
    alone.disk.keys = new Set();
    expect(alone.guest.start()).toEqual(ok(null));
    expect(alone.disk.view()[0]).not.toBe(1);
  });

  test.each(['lq', 'lr'] as const)('%s is not opened where a header leads to it', (name) => {
    const stopped = (luks: boolean) => {
      const it = new Scene({ [name]: LUKS_DISKS[name] });
      expect(it.over('c', { luks }, it.disk, luks)).toEqual(ok(null));
      it.guest.end('stopped');
      return it;
    };
    for (const luks of [true, false]) {
      expect(stopped(luks).guest.start()).toMatchObject({
        ok: false,
        error: expect.stringContaining('virStorageEncryptionEngine'),
      });
      expect(stopped(luks).guest.start('the configuration')).toEqual(ok(null));
    }
  });
});

test('the configuration overrides the headers, and the top file alone believes them', async () => {
  const it = four();
  const lies = { ...it.share.file(file('a01.s4'))!.header!, backing: 'a01', format: QCOW2 };
  it.disk.forge({});
  it.share.file(file('a01.s4'))!.header = lies;
  it.restart('the configuration');
  expect(it.live()[0]).toMatch(/^vda file:a01.s4 qcow2 #1 < file:a01.s3 qcow2 #2 < /);
  expect(it.disk.chain().on?.on?.on?.on?.format).toBe(RAW);
  it.guest.end('stopped');
  expect(it.guest.start()).toMatchObject({ ok: false });
});

test('a raw layer that libvirt gives no driver is called file in the header above', async () => {
  const it = four();
  it.disk.dropRawDriver();
  await it.merge({ kind: 'pull', onto: file('a01') });
  expect(it.share.file(file('a01.s4'))?.header).toMatchObject({ backing: 'a01', format: 'file' });
  expect(it.disk.chain().on?.format).toBe(RAW as Format);
  it.restart();
  expect(it.disk.chain().on?.format).toBe(RAW);
});
