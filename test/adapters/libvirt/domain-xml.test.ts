import { readdirSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseDomain, type XmlDomain } from '#adapters/libvirt/domain-xml.ts';
import { snapshotXml } from '#adapters/libvirt/snapshot-xml.ts';
import { FUZZ_TIME, fuzz } from '../../support/fuzz.ts';
import { sketch } from '../../support/sketch.ts';
import { buildXml, xmlDomain } from './build-xml.ts';
import { DUMPS, dump, XML } from './dumps.ts';
import { stripFormats } from './strip-formats.ts';

function parsed(xml: string): XmlDomain {
  const found = parseDomain(xml);
  if (!found.ok) throw new Error(found.error);
  return found.value;
}

describe('what libvirt really printed', () => {
  test('every dump is in the table', () => {
    expect(readdirSync(XML).sort()).toEqual(Object.keys(DUMPS).sort());
  });

  test.each(Object.entries(DUMPS))('%s', (file, disks) => {
    expect(parsed(dump(file)).disks.map(sketch)).toEqual(disks);
  });

  test.each(Object.keys(DUMPS))('%s without formats is the same without formats', (file) => {
    const without = parsed(dump(file)).disks.map((disk) => ({
      ...disk,
      layers: disk.layers.map((layer) => ({ ...layer, format: null })),
    }));
    const stripped = stripFormats(dump(file));
    expect(parsed(stripped).disks).toEqual(without);
    expect(stripped).not.toMatch(/<format\b/);
  });

  test('a live domain has an id, an inactive one has none', () => {
    expect(parsed(dump('01-single-raw-live.xml'))).toMatchObject({
      name: 'r2-x1',
      uuid: 'b11c5d7d-057e-4f2d-a297-bd723a48ca4d',
      id: 2,
      agent: 'none',
    });
    expect(parsed(dump('02-single-raw-transient-inactive.xml')).id).toBe(null);
  });

  test("the serial is the volume's id, whatever the file is called", () => {
    const serials = parsed(dump('17-two-disks-after-snapshot-live.xml')).disks.map((d) => d.serial);
    expect(serials).toEqual([
      '6c6ad3a0-0a3d-4d53-9c5f-0f6b8a5f0a01',
      '6c6ad3a0-0a3d-4d53-9c5f-0f6b8a5f0b02',
      null,
    ]);
  });

  test('network hosts keep their transport', () => {
    const [gluster] = parsed(dump('23-network-and-odd-sources-inactive.xml')).disks;
    expect(gluster?.layers[0]?.source).toEqual({
      kind: 'network',
      protocol: 'gluster',
      name: 'vol1/volume-6c6ad3a0',
      hosts: [
        { transport: 'tcp', name: 'gl1', port: 24007, socket: null },
        { transport: 'unix', name: null, port: null, socket: '/var/run/gl.sock' },
      ],
    });
  });
});

test('whatever is printed is read back', () => {
  fc.assert(
    fc.property(xmlDomain, (domain) => {
      expect(parseDomain(buildXml(domain))).toEqual({ ok: true, value: domain });
    }),
    { numRuns: 2_000 },
  );
});

test('a chain of 200 layers, the most libvirt allows, is read', () => {
  const layers = Array.from({ length: 200 }, (_, at) => ({
    source: { kind: 'file', path: `/v.${at}` } as const,
    format: 'qcow2',
    index: at + 1,
    encryption: null,
  }));
  const [disk] = parsed(dump('01-single-raw-live.xml')).disks;
  const domain = { ...parsed(dump('01-single-raw-live.xml')), disks: [{ ...disk!, layers }] };
  expect(parsed(buildXml(domain))).toEqual(domain);
});

describe('what libvirt never prints', () => {
  const around = (inside: string) => `<domain><name>n</name><uuid>u</uuid>${inside}</domain>`;
  const disk = (inside: string) => around(`<devices><disk type='file'>${inside}</disk></devices>`);

  test.each([
    ['nothing', ''],
    ['text', 'error: no domain'],
    ['another root', '<domainsnapshot><name>n</name><uuid>u</uuid></domainsnapshot>'],
    ['no name', '<domain><uuid>u</uuid></domain>'],
    ['an empty uuid', '<domain><name>n</name><uuid/></domain>'],
    ['two names', around('<name>m</name>')],
    ['an unclosed tag', '<domain><name>n</name><uuid>u</uuid>'],
    ['a wrong closing tag', around('<devices></device>')],
    ['junk after', `${around('')}junk`],
    ['junk before', `junk${around('')}`],
    ['a second root', around('') + around('')],
    ['a comment after', `${around('')}<!-- -->`],
    ['a doctype', `<!DOCTYPE domain [<!ENTITY a "b">]>${around('&a;')}`],
    [
      'an external entity',
      `<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]>${around('&a;')}`,
    ],
    ['an element __proto__', around('<__proto__ a="1"/>')],
    ['an index that is no number', disk("<source file='/a' index='x'/><target dev='a'/>")],
    [
      'a disk without target',
      around("<devices><disk type='file'><source file='/a'/></disk></devices>"),
    ],
    [
      'a backing store without source',
      disk("<source file='/a'/><backingStore type='file'/><target dev='a'/>"),
    ],
    ['too much', around(`<title>${'x'.repeat(4 * 1024 * 1024)}</title>`)],
    ['a chain without end', around('<a>'.repeat(100_000) + '</a>'.repeat(100_000))],
  ])('%s is an error in a sentence', (_, xml) => {
    const found = parseDomain(xml);
    expect(found).toEqual({ ok: false, error: expect.stringContaining('not a domain') });
    expect(found.ok || found.error.length).toBeLessThan(400);
  });

  test('a bomb of entities is refused at once', () => {
    const levels = Array.from(
      { length: 20 },
      (_, at) => `<!ENTITY e${at + 1} "${`&e${at};`.repeat(10)}">`,
    );
    const started = performance.now();
    const bomb = `<!DOCTYPE d [<!ENTITY e0 "x">${levels.join('')}]>${around('&e20;')}`;
    expect(parseDomain(bomb).ok).toBe(false);
    expect(performance.now() - started).toBeLessThan(100);
  });

  test('names that JavaScript knows do no harm', () => {
    const xml = around('').replace(
      '<domain>',
      "<domain __proto__='x' constructor='y' toString='z'>",
    );
    expect(parseDomain(xml)).toMatchObject({ ok: true, value: { name: 'n', id: null } });
    expect(Object.hasOwn(Object.prototype, 'x')).toBe(false);
  });

  test('a file disk without a file is of a kind nobody opens, a drive is empty', () => {
    const xml = around(`<devices>
      <disk type='file' device='disk'><source startupPolicy='optional'/><target dev='a'/></disk>
      <disk type='file' device='cdrom'><source startupPolicy='optional'/><target dev='b'/></disk>
    </devices>`);
    expect(parsed(xml).disks.map(sketch)).toEqual(['a other:file -', 'b']);
  });

  test('encryption beside the source, as before libvirt 3.9, counts for the top layer', () => {
    const xml = around(`<devices><disk type='file'><driver type='qcow2'/><source file='/a'/>
      <encryption format='luks'/><backingStore type='file'><format type='raw'/><source file='/b'/>
      </backingStore><target dev='a'/></disk></devices>`);
    expect(parsed(xml).disks.map(sketch)).toEqual(['a file:a qcow2 luks < file:b raw']);
  });

  test(
    'garbage and mutilated dumps never throw',
    () => {
      const dumps = Object.keys(DUMPS).map(dump);
      const cut = fc
        .tuple(fc.constantFrom(...dumps), fc.nat(), fc.nat(40), fc.string())
        .map(([xml, at, much, instead]) => {
          const from = at % xml.length;
          return xml.slice(0, from) + instead + xml.slice(from + much);
        });
      const pieces = fc
        .array(
          fc.constantFrom(
            '<domain>',
            '</domain>',
            '<disk',
            '>',
            '/>',
            "='",
            '&',
            '<!--',
            ']]>',
            'x',
          ),
        )
        .map((list) => list.join(''));
      fc.assert(
        fc.property(fc.oneof(fc.string({ unit: 'binary' }), cut, pieces), (xml) => {
          expect(typeof parseDomain(xml).ok).toBe('boolean');
        }),
        { numRuns: fuzz() },
      );
    },
    FUZZ_TIME,
  );
});

test('the key of a layer is known by its name alone, beside or inside the source', () => {
  const key = { format: 'luks', engine: 'qemu', secret: '6c6ad3a0-0a3d-4d53-9c5f-0f6b8a5f0d04' };
  const keys = (name: string) =>
    parsed(dump(name)).disks.map(({ layers }) => layers.map(({ encryption }) => encryption));
  expect(keys('25-luks-qcow2-plus-luks-overlay.xml')).toEqual([[key, key], [key], [null]]);
  expect(keys('29-plain-overlay-on-luks-raw.xml')).toEqual([[null, key]]);
  const secrets: [string, string | null][] = [
    [`<secret type='passphrase' uuid='u'/>`, 'u'],
    [`<secret type='passphrase' usage='u'/>`, null],
    [`<secret type='other' uuid='u'/>`, null],
    [`<secret type='passphrase' uuid='u'/><secret type='passphrase' uuid='w'/>`, null],
    ['', null],
  ];
  for (const [inside, secret] of secrets) {
    const xml = `<domain><name>n</name><uuid>u</uuid><devices>
      <disk type='file'><source file='/a'/><target dev='a'/>
      <encryption format='luks'>${inside}</encryption></disk></devices></domain>`;
    const encryption = { format: 'luks', engine: null, secret };
    expect(parsed(xml).disks[0]?.layers[0]?.encryption).toEqual(encryption);
  }
});

describe('the snapshot', () => {
  test('puts the file on its disk and leaves every other disk alone', () => {
    const domain = parsed(dump('16-two-disks-empty-cdrom-live.xml'));
    expect(snapshotXml(domain, 'vda', "/nfs/it's <new>&\n.qcow2")).toBe(`<domainsnapshot>
  <disks>
    <disk name='vda' snapshot='external' type='file'>
      <driver type='qcow2'/>
      <source file='/nfs/it&#39;s &lt;new&gt;&amp;&#10;.qcow2'/>
    </disk>
    <disk name='vdb' snapshot='no'/>
    <disk name='sda' snapshot='no'/>
  </disks>
</domainsnapshot>
`);
  });

  test('names the key of an encrypted file, with the engine of the other layers', () => {
    const domain = parsed(dump('24-luks-qcow2-and-luks-raw.xml'));
    const sent = (engine: string | null) =>
      snapshotXml(domain, 'vda', '/x', { secret: "it's", engine });
    const secret = `<secret type='passphrase' uuid='it&#39;s'/>`;
    expect(sent('qemu')).toContain(`      <source file='/x'>
        <encryption format='luks' engine='qemu'>${secret}</encryption>
      </source>
`);
    expect(sent(null)).toContain(`<encryption format='luks'><secret `);
  });
});
