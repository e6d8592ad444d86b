import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FileName, type Format, fileName } from '#domain/ids.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { repoint } from '#domain/qcow2-writing.ts';
import { type Extension, luks, qcow2, TYPE } from '../support/qcow2-bytes.ts';

const name = fc
  .stringMatching(/^[a-z0-9][a-z0-9.-]{0,60}$/)
  .filter((text) => fileName(text) !== null)
  .map((text) => text as FileName);
const format = fc.constantFrom('raw' as Format, 'qcow2' as Format, 'luks' as Format);
const extra: fc.Arbitrary<Extension> = fc.constantFrom<Extension>(
  [TYPE.features, 'x'.repeat(48)],
  [0x12345678, 'what nobody knows'],
  [0x22345678, ''],
);

const facts = fc.record({
  version: fc.constantFrom(2 as const, 3 as const),
  backing: fc.option(name),
  format: fc.option(format),
  extensions: fc.uniqueArray(extra, { selector: ([type]) => type }),
});

test('a header with other names says those, and otherwise what it said', () => {
  fc.assert(
    fc.property(facts, name, format, ({ extensions, ...wrote }, backing, says) => {
      const head = qcow2({ ...wrote, crypt: 2, extensions: [luks(), ...extensions] });
      const before = parseHeader(head.page, head.fileBytes);
      if (!before.ok) throw new Error(before.error.says);
      const anew = repoint(head.page, backing, says);
      if (anew === null) throw new Error('no room');
      const page = head.page.slice();
      page.set(anew);
      const value = { ...before.value, backingFile: backing, backingFormat: says };
      expect(parseHeader(page, head.fileBytes)).toEqual({ ok: true, value });
      // Each other extension is there to the letter, and nothing beyond the sectors has changed.
      const text = Buffer.from(page).toString('latin1');
      for (const [, data] of extensions) expect(text).toContain(data);
      expect(anew.length % 512).toBe(0);
      expect(page.subarray(anew.length)).toEqual(head.page.subarray(anew.length));
    }),
    { numRuns: 1_000 },
  );
});

test('what stood there before is wiped, to the last sector of it', () => {
  const head = qcow2({ backing: 'o'.repeat(900), crypt: 2, extensions: [luks()] });
  expect(parseHeader(head.page, head.fileBytes).ok).toBe(true);
  const anew = repoint(head.page, 'n' as FileName, 'raw' as Format);
  expect(anew).toHaveLength(1536);
  expect(Buffer.from(anew ?? []).toString('latin1')).not.toContain('oo');
});

test('a name that does not fit into the first cluster is not written', () => {
  const head = qcow2({ clusterBits: 9, crypt: 2, extensions: [luks(512n, 512n)] });
  expect(parseHeader(head.page, head.fileBytes).ok).toBe(true);
  expect(repoint(head.page, 'n'.repeat(255) as FileName, 'qcow2' as Format)).not.toBeNull();
  const long = [0x12345678, 'x'.repeat(200)] as const;
  const full = qcow2({ clusterBits: 9, crypt: 2, extensions: [luks(512n, 512n), long] });
  expect(parseHeader(full.page, full.fileBytes).ok).toBe(true);
  expect(repoint(full.page, 'n'.repeat(255) as FileName, 'qcow2' as Format)).toBeNull();
});
