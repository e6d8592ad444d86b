import { expect, test } from 'vitest';
import { filesOf } from '#domain/chain.ts';
import { type FileName, type Format, QCOW2, RAW, type VolumeId } from '#domain/ids.ts';
import { SimDisk } from '#sim/disk.ts';
import { SimNode } from '#sim/node.ts';
import { type Header, SimShare } from '#sim/share.ts';

const BASE = 'base' as FileName;
const TOP = 'overlay' as FileName;

/** A raw base whose guest has forged a header, under an overlay that says this of the base. */
function attacked(forged: Partial<Header>, says: Format | null): SimDisk {
  const share = new SimShare();
  share.create(BASE, { format: RAW });
  const disk = new SimDisk(share, 'volume' as VolumeId, 'vda', BASE, RAW);
  disk.start();
  disk.write(3, 0x33);
  disk.forge(forged);
  const made = share.create(TOP, { backing: BASE, backingFormat: says });
  disk.attach(new SimNode(share, made, QCOW2, null));
  return disk;
}

test('a header that calls a raw base raw keeps it raw for ever', () => {
  const disk = attacked({ backing: '/etc/shadow', format: RAW }, RAW);
  const before = disk.view();
  disk.stop();
  expect(disk.start()).toMatchObject({ ok: true });
  expect(disk.view()).toEqual(before);
});

test('a header that calls a raw base qcow2 lies in wait, then shows another file', () => {
  const disk = attacked({ backing: '/etc/shadow', format: RAW }, QCOW2);
  expect(disk.chain().on?.format).toBe(RAW);
  disk.stop();
  expect(disk.start()).toMatchObject({ ok: true });
  expect(filesOf(disk.chain())).toEqual([TOP, BASE, '_etc_shadow']);
  expect(disk.view()[3]).toBe(0x53);
});

test('a silent header lets the bytes decide: refused when they name a file', () => {
  const disk = attacked({ backing: '/etc/shadow', format: RAW }, null);
  disk.stop();
  expect(disk.start()).toMatchObject({
    ok: false,
    error: { code: 55, message: expect.stringContaining('not specified') },
  });
});

test('a silent header lets the bytes decide: believed when they name none', () => {
  const disk = attacked({}, null);
  const before = disk.view();
  disk.stop();
  expect(disk.start()).toMatchObject({ ok: true });
  expect(disk.chain().on?.format).toBe(QCOW2);
  expect(disk.view()).not.toEqual(before);
});

test('a backing file that is gone keeps the guest from starting', () => {
  const disk = attacked({}, RAW);
  disk.stop();
  disk.share.files.delete(BASE);
  expect(disk.start()).toMatchObject({ ok: false });
});
