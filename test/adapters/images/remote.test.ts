import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ShareImages } from '#adapters/images/images.ts';
import { bytesIn, lengthIn } from '#adapters/images/remote.ts';
import type { Layer } from '#domain/chain.ts';
import { type FileName, QCOW2, RAW } from '#domain/ids.ts';

/** As qemu-io 7.2 prints it: three digits of the largest unit that fits, none where all are 0. */
function printed(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  let [value, unit] = [bytes, 0];
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  const number = unit === 0 ? String(value) : value.toFixed(3).replace(/\.000$/, '');
  return `${number} ${units[unit]}\n`;
}

test.each([
  ['0 bytes\n', 0],
  ['512 bytes\n', 512],
  ['192.500 KiB\n', 197_120],
  ['1023.500 KiB\n', 1_048_064],
  // Three digits do not say whether it is this or a little more.
  ['16 MiB\n', 16 * 2 ** 20 + 1024],
])('%s', (said, bytes) => {
  expect(lengthIn(said)).toBe(bytes);
});

test.each(['', 'length: 5', 'KiB', '1.5 XiB', '[I] 5 KiB\nmore'])('%j is no length', (said) => {
  expect(lengthIn(said)).toBeNull();
});

test('a length is exact below a MiB, and above it never less than it is', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2047 }), (sectors) => {
      expect(lengthIn(printed(sectors * 512))).toBe(sectors * 512);
    }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 2048, max: 2 ** 33 }), (sectors) => {
      const [said, is] = [lengthIn(printed(sectors * 512)) ?? 0, sectors * 512];
      expect(said).toBeGreaterThanOrEqual(is);
      // What an overlay grows by when it is written to is far more.
      expect(said - is).toBeLessThanOrEqual(Math.max(2048, is / 500));
    }),
  );
});

const line = (at: number, bytes: readonly number[]): string => {
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  const shown = bytes.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : '.'));
  return `${hex(at, 8)}:  ${bytes.map((byte) => `${hex(byte, 2)} `).join('')} ${shown.join('')}\n`;
};

const dump = (bytes: readonly number[]): string => {
  const rows: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) rows.push(line(at, bytes.slice(at, at + 16)));
  return `${rows.join('')}read ${bytes.length}/${bytes.length} bytes at offset 0\n`;
};

test('a dump is the bytes that were read, whatever their letters look like', () => {
  const tricky = [...'00000000:  51 46 '].map((letter) => letter.charCodeAt(0));
  fc.assert(
    fc.property(fc.array(fc.nat(255), { maxLength: 700 }), (bytes) => {
      const all = [...tricky, ...bytes];
      expect([...bytesIn(dump(all))]).toEqual(all);
    }),
  );
});

test('what does not follow is not taken for what does', () => {
  const [one, three] = [line(0, Array(16).fill(1)), line(32, Array(16).fill(3))];
  expect(bytesIn(one + three)).toHaveLength(16);
  expect(bytesIn('read failed: Input/output error\n')).toHaveLength(0);
});

test('what needs image locks is not done to remote files', async () => {
  const images = new ShareImages();
  const directory = 'gluster://gl1:24007/vol1';
  const [top, base] = ['volume-1.s1', 'volume-1'].map((name) => name as FileName);
  if (top === undefined || base === undefined) expect.unreachable();
  const below: Layer = { file: base, format: RAW, provenance: 'reported', on: null };
  const chain: Layer = { file: top, format: QCOW2, provenance: 'reported', on: below };
  const no = { ok: false, error: { kind: 'rejected', who: 'qemu-img', code: 'ENOTSUP' } };
  const merge = { kind: 'commit', top, into: base } as const;
  expect(await images.copy({ directory, chain, merge })).toMatchObject(no);
  expect(await images.sync(directory, top)).toMatchObject(no);
});
