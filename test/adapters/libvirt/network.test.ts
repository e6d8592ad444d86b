import { describe, expect, test } from 'vitest';
import { locate, viewOf, within } from '#adapters/libvirt/disk-view.ts';
import { parseDomain } from '#adapters/libvirt/domain-xml.ts';
import { fileIn, snapshotXml } from '#adapters/libvirt/snapshot-xml.ts';
import { filesOf } from '#domain/chain.ts';
import { explain } from '#domain/failure.ts';
import type { FileName } from '#domain/ids.ts';
import { planCreate } from '#domain/plan-create.ts';
import { planDelete } from '#domain/plan-delete.ts';
import { SUBJECT, sight } from '../../support/sights.ts';
import { dump } from './dumps.ts';

const FACTS = { process: 'qemu-1', saved: false, size: 2 ** 30, job: null };

/** By dump: the disks whose chain is not made of files that can be handled, and what they are. */
const DISKS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  '20-block-device-plus-overlay.xml': { vda: 'block device' },
  '21-network-nbd.xml': { vda: 'network (nbd)' },
  '22-network-nbd-plus-overlay.xml': { vda: 'network (nbd)' },
  '23-network-and-odd-sources-inactive.xml': {
    vda: 'network (gluster) with several servers',
    vdb: 'network (rbd)',
    vdc: 'volume',
    vdd: 'nvme',
    vde: 'network (gluster)',
    vdi: 'block device',
  },
};

describe.each(Object.entries(DISKS))('%s', (name, words) => {
  const domain = parseDomain(dump(name));
  if (!domain.ok) throw new Error(domain.error);
  const views = domain.value.disks.map((disk) => viewOf(domain.value, disk, FACTS));

  test.each(Object.entries(words))(
    '%s is refused as a %s, and the disk is named',
    (target, word) => {
      const view = views.find((one) => one.target === target);
      if (view === undefined) throw new Error(`no disk ${target}`);
      const file = view.chain.file;
      const create = { ...SUBJECT, newFile: 'new' as FileName };
      const remove = { ...SUBJECT, fileToMerge: file, mergeTarget: null };
      for (const plan of [
        planCreate(create, sight(view, 'creating'), { maxChainDepth: 64 }),
        planDelete(remove, sight(view, 'deleting')),
      ]) {
        if (plan.ok) expect.unreachable();
        expect(plan.error).toEqual({ kind: 'unsupported-source', target, source: word });
        expect(explain(plan.error)).toContain(`Disk ${target} has a source of type ${word}, whose`);
      }
    },
  );
});

const GLUSTER = '30-gluster-plus-three-overlays.xml';
const VOLUME = '6c6ad3a0-0a3d-4d53-9c5f-0f6b8a5f0a01';

/** The one disk of a dump, as it was printed or as `print` would have it. */
function gluster(print: (xml: string) => string = (xml) => xml, process: string | null = 'qemu-1') {
  const domain = parseDomain(print(dump(GLUSTER)));
  if (!domain.ok) throw new Error(domain.error);
  const [disk] = domain.value.disks;
  if (disk === undefined) throw new Error('no disk');
  return { domain: domain.value, disk, view: viewOf(domain.value, disk, { ...FACTS, process }) };
}

describe('a disk on GlusterFS', () => {
  const source = { kind: 'remote', directory: 'gluster://10.99.0.1:24007/ck' };
  const names = ['3', '2', '1'].map(
    (n) => `volume-${VOLUME}.5a000000-0000-4000-8000-00000000000${n}`,
  );

  test('has files by name, all in one place', () => {
    const { view } = gluster();
    expect(view).toMatchObject({ source, stray: null, keys: [] });
    expect(filesOf(view.chain)).toEqual([...names, `volume-${VOLUME}`]);
  });

  test('and is the same after a start, when libvirt names what it found by ./', () => {
    const { view } = gluster((xml) => {
      const [first, ...rest] = xml.split("name='ck/");
      return [first, rest[0], ...rest.slice(1).map((it) => `./${it}`)].join("name='ck/");
    });
    expect(view).toEqual(gluster().view);
  });

  test('names its layers to libvirt by their index', () => {
    const { disk } = gluster();
    expect(names.map((name) => locate(disk, name as FileName))).toEqual([
      'vda[4]',
      'vda[3]',
      'vda[2]',
    ]);
  });

  test('is snapshotted onto a file of the same place, as Nova did it', () => {
    const { domain, view } = gluster();
    if (view.source.kind === 'other') expect.unreachable();
    const file = fileIn(view.source.directory, 'new');
    expect(snapshotXml(domain, 'vda', file)).toBe(`<domainsnapshot>
  <disks>
    <disk name='vda' snapshot='external' type='network'>
      <driver type='qcow2'/>
      <source protocol='gluster' name='ck/new'>
        <host name='10.99.0.1' port='24007'/>
      </source>
    </disk>
  </disks>
</domainsnapshot>
`);
  });

  test('that has a layer elsewhere is astray', () => {
    for (const print of [
      (xml: string) => xml.replace("name='10.99.0.1'", "name='10.99.0.2'"),
      (xml: string) => xml.replace("name='ck/", "name='other/"),
      (xml: string) => xml.replace("port='24007'", "port='24008'"),
    ]) {
      expect(gluster(print).view.stray).toMatchObject({ file: names[1] });
    }
  });

  test.each<[string, string, (xml: string) => string]>([
    ['several servers', 'with several servers', (xml) => xml.replace(HOST, '$&$&')],
    ['no server', 'over nothing', (xml) => xml.replace(HOST, '')],
    ['a socket', 'over unix', (xml) => xml.replace(HOST, "<host transport='unix' socket='/s'/>")],
    ['a strange server', 'with an unusual name', (xml) => xml.replace('10.99.0.1', 'a,b=c')],
    ['a strange volume', 'with an unusual name', (xml) => xml.replaceAll("'ck/", "'c k/")],
    // Without its storage driver libvirt sees no more than the topmost file.
    ['an open end', 'whose chain libvirt does', (xml) => xml.replace('<backingStore/>', '')],
  ])('with %s is refused', (_, words, print) => {
    const { view } = gluster(print);
    expect(view.source).toEqual({
      kind: 'other',
      type: expect.stringMatching(new RegExp(`^network \\(gluster\\) ${words}`)),
    });
  });

  test('that no QEMU has open is refused in a sentence', () => {
    const { view } = gluster((xml) => xml.replace('<backingStore/>', ''), null);
    expect(view.source).toEqual(source);
    const create = { ...SUBJECT, newFile: 'new' as FileName };
    const remove = { ...SUBJECT, fileToMerge: null, mergeTarget: null };
    for (const plan of [
      planCreate(create, sight(view, 'creating'), { maxChainDepth: 64 }),
      planDelete(remove, sight(view, 'deleting')),
    ]) {
      if (plan.ok) expect.unreachable();
      expect(explain(plan.error)).toMatch(/^Disk vda is a network disk and guest \S+ is shut off/);
    }
  });

  test('that is encrypted is refused', () => {
    const secret = `<secret type='passphrase' uuid='u'/>`;
    const encryption = `<encryption format='luks'>${secret}</encryption>`;
    const { view } = gluster((xml) => xml.replaceAll('</source>', `${encryption}</source>`));
    expect(view.keys).toHaveLength(4);
    const create = { ...SUBJECT, newFile: 'new' as FileName };
    const plan = planCreate(create, sight(view, 'creating'), { maxChainDepth: 64 });
    expect(plan).toMatchObject({ ok: false, error: { kind: 'encrypted' } });
  });

  test('lies in no folder that the operator can allow', () => {
    const { view } = gluster();
    expect(within(view, [])).toBe(view);
    expect(within(view, ['/', '/mnt']).source).toMatchObject({ kind: 'other' });
  });
});

const HOST = /<host name='10\.99\.0\.1' port='24007'\/>/;

/** Cinder's other drivers of files: what their guests have are files under a mount point. */
describe.each([
  ['Quobyte', 'file', '/var/lib/nova/mnt/2a6b/volume-1'],
  ['VZStorage', 'file', '/var/lib/nova/mnt/9f0c/volume-1'],
  ['SMBFS', 'file', '/var/lib/nova/mnt/77aa/volume-1.vhdx'],
])('%s', (_, type, path) => {
  test('is a file of a folder of this host', () => {
    const xml = `<domain id='1'><name>n</name><uuid>u</uuid><devices>
      <disk type='${type}' device='disk'><driver name='qemu' type='raw' cache='none'/>
      <source file='${path}' index='1'/><backingStore/><target dev='vdb' bus='virtio'/>
      <serial>${VOLUME}</serial></disk></devices></domain>`;
    const domain = parseDomain(xml);
    if (!domain.ok) throw new Error(domain.error);
    const view = viewOf(domain.value, domain.value.disks[0]!, FACTS);
    const [directory, file] = [path.slice(0, path.lastIndexOf('/')), path.split('/').at(-1)];
    expect(view).toMatchObject({ source: { kind: 'files', directory }, chain: { file } });
  });
});

test('a netfs source, which libvirt has for filesystems only, is no disk of files', () => {
  const xml = `<domain><name>n</name><uuid>u</uuid><devices>
    <disk type='network' device='disk'><source protocol='netfs' name='share/volume-1'>
    <host name='h'/></source><target dev='vdb'/></disk></devices></domain>`;
  const domain = parseDomain(xml);
  if (!domain.ok) throw new Error(domain.error);
  const view = viewOf(domain.value, domain.value.disks[0]!, FACTS);
  expect(view.source).toEqual({ kind: 'other', type: 'network (netfs)' });
});
