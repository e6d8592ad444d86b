import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type GlusterPlace, nameIn, placeAt, placeOf, urlOf } from '#adapters/gluster/place.ts';

const AT = { host: 'gl1', port: 24007, volume: 'vol1', folder: '' };

test.each<[string, string, number | null, GlusterPlace]>([
  ['vol1/volume-1', 'gl1', 24007, AT],
  ['vol1/volume-1', 'gl1', null, AT],
  // After a start from the topmost file alone libvirt 9.0 names what is below like this.
  ['vol1/./volume-1', 'gl1', 24007, AT],
  ['vol1/a/b/volume-1', '10.0.0.1', 24008, { ...AT, host: '10.0.0.1', port: 24008, folder: 'a/b' }],
  ['vol1/volume-1', 'fd00::1', 1, { ...AT, host: 'fd00::1', port: 1 }],
])('%s on %s:%s', (name, host, port, place) => {
  expect(placeOf(name, host, port)).toEqual(place);
});

test.each<[string, string]>([
  ['vol1', 'gl1'],
  ['', 'gl1'],
  ['/volume-1', 'gl1'],
  ['vol1//volume-1', 'gl1'],
  ['vol1/../volume-1', 'gl1'],
  ['vol1,file.driver=file/volume-1', 'gl1'],
  ['vol1/a b/volume-1', 'gl1'],
  ['vol1/volume-1', ''],
  ['vol1/volume-1', 'gl1,file.filename=/etc/passwd'],
  ['vol1/volume-1', 'gl1/x'],
  ['vol1/volume-1', '-gl1'],
  ['vol1/volume-1', 'gl1?logfile=/x'],
])('%s on %s is no place', (name, host) => {
  expect(placeOf(name, host, 24007)).toBeNull();
});

test.each([
  ['a folder of this host', '/var/lib/nova/mnt/5f4dcc3b'],
  ['one whose name begins so', '/gluster://gl1:24007/vol1'],
  ['another protocol', 'nbd://gl1:24007/vol1'],
  ['another transport', 'gluster+rdma://gl1:24007/vol1'],
  ['no volume', 'gluster://gl1:24007/'],
  ['no port', 'gluster://gl1/vol1'],
])('%s is none: %s', (_, directory) => {
  expect(placeAt(directory)).toBeNull();
});

const part = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,8}$/);
const place: fc.Arbitrary<GlusterPlace> = fc.record({
  host: fc.oneof(
    fc.stringMatching(/^[a-z0-9][a-z0-9.-]{0,12}$/),
    fc.constantFrom('fd00::1', '::1', '10.99.0.1'),
  ),
  port: fc.integer({ min: 1, max: 65_535 }),
  volume: part,
  folder: fc.array(part, { maxLength: 3 }).map((parts) => parts.join('/')),
});

test('what is written is read again, and is where its files are', () => {
  fc.assert(
    fc.property(place, part, (at, file) => {
      expect(placeAt(urlOf(at))).toEqual(at);
      expect(placeOf(nameIn(at, file), at.host, at.port)).toEqual(at);
    }),
  );
});
