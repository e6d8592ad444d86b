import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fileName } from '#domain/ids.ts';

test.each(['volume-8c25.snap-1', 'v', 'base.vhd', 'x+y@z'])('%s is a file name', (name) => {
  expect(fileName(name)).toBe(name);
});

test.each(['', '.', '..', '.info', '-f', 'a/b', '../v', '/v', 'a\0b', 'a\n', 'a b', 'é', "a'"])(
  '%j is not a file name',
  (name) => {
    expect(fileName(name)).toBeNull();
  },
);

test('a name is never a path, an option, or longer than a folder holds', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      const name = fileName(text);
      if (name === null) return;
      expect(name).toBe(text);
      expect(name).toMatch(/^[^-./\\\s'"`$&;|<>(){}*?!~\0]/);
      expect(name).not.toMatch(/[/\\\s'"`$&;|<>(){}*?!~\0]/);
      expect(name.length).toBeLessThan(256);
    }),
  );
  expect(fileName('a'.repeat(255))).not.toBeNull();
  expect(fileName('a'.repeat(256))).toBeNull();
});

// As a relative backing name QEMU reads `nbd:10.0.0.1:10809` as a protocol and connects
// (path_has_protocol: a colon before the first slash). The next overlay would have to name it so.
test.each(['nbd:10.0.0.1:10809', 'fat:x', 'a:b'])('%s is not a file name', (name) => {
  expect(fileName(name)).toBeNull();
});
