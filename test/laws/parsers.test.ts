import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { parseDomain } from '#adapters/libvirt/domain-xml.ts';
import { snapshotXml } from '#adapters/libvirt/snapshot-xml.ts';
import { PAGE_BYTES, parseHeader } from '#domain/qcow2.ts';
import { xmlDomain } from '../adapters/libvirt/build-xml.ts';
import { type Extension, type FileHead, put32, qcow2, TYPE } from '../support/qcow2-bytes.ts';

vi.setConfig({ testTimeout: 60_000 });

const parse = ({ page, fileBytes }: FileHead) => parseHeader(page, fileBytes);

const extension = fc.constantFrom<Extension>(
  [TYPE.features, 'lazy'.padEnd(48)],
  [0x1234, 'unknown to all'],
);
const head = fc
  .record({
    version: fc.constantFrom(2 as const, 3 as const),
    clusterBits: fc.integer({ min: 9, max: 21 }),
    size: fc.nat(2 ** 20).map((sectors) => sectors * 512),
    backing: fc.option(fc.stringMatching(/^[ -~]{1,40}$/)),
    format: fc.option(fc.stringMatching(/^[ -~]{1,15}$/)),
    crypt: fc.constantFrom(0, 1),
    snapshots: fc.constantFrom(0, 1),
    extensions: fc.array(extension, { maxLength: 2 }),
  })
  .map(qcow2);
/** A field of the header, or what comes after it, overwritten. */
const mutated = fc
  .tuple(head, fc.array(fc.tuple(fc.nat(60), fc.nat(2 ** 16)), { maxLength: 3 }))
  .map(([whole, all]) => all.reduce((it, [at, value]) => put32(it, at * 4, value), whole));
const garbage = fc
  .uint8Array({ maxLength: 600 })
  .map((page): FileHead => ({ page, fileBytes: page.length }));

test('law 33: the parser is total, and needs no more than a page', () => {
  let accepted = 0;
  let refused = 0;
  fc.assert(
    fc.property(fc.oneof(head, mutated, garbage), (it) => {
      const found = parse(it);
      if (found.ok) accepted++;
      else refused++;
      // Whatever lies behind the page changes nothing.
      const longer = new Uint8Array(PAGE_BYTES + 4096).fill(0x51);
      longer.set(it.page.subarray(0, PAGE_BYTES));
      const first = longer.subarray(0, Math.min(it.page.length, PAGE_BYTES));
      expect(parseHeader(first, it.fileBytes)).toEqual(found);
    }),
    { numRuns: 4_000 },
  );
  expect([accepted, refused].every((times) => times > 300)).toBe(true);
});

test('law 34: what was read of a header, written again, is read the same', () => {
  let mended = 0;
  fc.assert(
    fc.property(fc.oneof(head, mutated), (it) => {
      const found = parse(it);
      if (!found.ok) return;
      const { backingFile, backingFormat, encryption, dataFile, dirty, corrupt, bitmaps, ...rest } =
        found.value;
      // What only an extension says is no part of this serializer.
      if (bitmaps || encryption === 'luks') return;
      const bits = (dirty ? 1n : 0n) | (corrupt ? 2n : 0n) | (dataFile ? 4n : 0n);
      const again = qcow2({
        ...rest,
        backing: backingFile,
        format: backingFormat,
        crypt: encryption === 'aes' ? 1 : 0,
        incompatible: bits,
      });
      mended++;
      // How long the file is no header says: tables can lie further back than need be.
      const { fileBytes } = again;
      expect(parse(again)).toEqual({ ok: true, value: { ...found.value, fileBytes } });
    }),
    { numRuns: 4_000 },
  );
  expect(mended).toBeGreaterThan(1_000);
});

/** Whatever may stand in an XML document at all, and much of what must be escaped in it. */
const text = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 9 }),
      fc.constantFrom('<', '>', '&', "'", '"', '\n', '\t', '\r', '&#10;', ']]>', ' '),
    ),
    { minLength: 1, maxLength: 9 },
  )
  .map((all) => all.join(''))
  .filter((it) => it !== '' && !/[\p{Cs}\ufffe\uffff]|(?![\t\n\r])\p{Cc}/u.test(it));

test('law 34: the XML that we send says exactly what was meant', () => {
  fc.assert(
    fc.property(xmlDomain, text, text, (domain, target, path) => {
      const sent = snapshotXml(domain, target, path);
      const named = [...sent.matchAll(/<disk name='([^']*)' snapshot='(\w+)'/g)];
      const others = domain.disks.filter((disk) => disk.target !== target);
      expect(named.map(([, , how]) => how)).toEqual(['external', ...others.map(() => 'no')]);
      // An attribute's own line break would be read as a space.
      expect(sent.split('\n')).toHaveLength(9 + others.length);
      expect(sent).not.toMatch(/[\t\r]/);
      // Read by the reader that we have: as the disk of a domain.
      const fragment = /<driver[^>]*\/>\s*<source [^>]*\/>/.exec(sent)?.[0] ?? '';
      const disks = named.map(([, name], at) => {
        const inside = at === 0 ? fragment : "<driver type='raw'/><source file='/x'/>";
        return `<disk type='file' device='disk'>${inside}<target dev='${name}'/></disk>`;
      });
      const uuid = '6c6ad3a0-0a3d-4d53-9c5f-0f6b8a5f0d04';
      const read = parseDomain(
        `<domain type='kvm'><name>a</name><uuid>${uuid}</uuid>` +
          `<devices>${disks.join('')}</devices></domain>`,
      );
      if (!read.ok) throw new Error(read.error);
      const [mine, ...rest] = read.value.disks;
      expect(mine?.target).toBe(target);
      expect(mine?.layers[0]).toMatchObject({ source: { kind: 'file', path }, format: 'qcow2' });
      expect(rest.map((disk) => disk.target)).toEqual(others.map((disk) => disk.target));
    }),
    { numRuns: 1_000 },
  );
});
