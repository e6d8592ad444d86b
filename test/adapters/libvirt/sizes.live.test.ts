/** A disk's size, which QEMU is asked for once (see `Sizes`), on guests that others work on too. */
import { randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { GuestCalls } from '#adapters/libvirt/guest-calls.ts';
import type { LibvirtHypervisor } from '#adapters/libvirt/hypervisor.ts';
import type { ServerId, VolumeId } from '#domain/ids.ts';
import type { Guest } from '../../live/lab/guest.ts';
import { hypervisorOfLab } from '../../live/lab/hypervisor.ts';
import { createImage, createOverlay } from '../../live/lab/images.ts';
import { type Lab, openLab } from '../../live/lab/lab.ts';
import { virsh } from '../../live/lab/libvirt.ts';

const MIB = 1024 * 1024;
/** Of the virtual size in a qcow2 header: 8 bytes, big-endian. */
const SIZE_AT = 24;

let lab: Lab<null>;
let hypervisor: LibvirtHypervisor;

beforeAll(async () => {
  lab = await openLab({ cinder: false });
  hypervisor = lab.keep(await hypervisorOfLab());
});
afterAll(() => lab?.[Symbol.asyncDispose]());

interface Disk {
  readonly guest: Guest;
  readonly path: string;
  look(): Promise<{ readonly size: number | null; readonly asked: number }>;
}

async function disk(format: 'raw' | 'qcow2' = 'qcow2'): Promise<Disk> {
  const volume = randomUUID();
  const base = join(lab.images, volume);
  await createImage(base, { format: 'raw', size: 8 * MIB });
  const overlay = `${base}.over`;
  await createOverlay(overlay, { name: volume, format: 'raw' });
  const path = format === 'raw' ? base : overlay;
  const guest = await lab.guest({ disks: [{ path, format, serial: volume }] });
  const look = async () => {
    using asking = vi.spyOn(GuestCalls.prototype, 'blockCapacity');
    const server = guest.uuid as ServerId;
    const seen = await hypervisor.look({ server, volume: volume as VolumeId });
    if (!seen.ok || seen.value.kind !== 'disk') throw new Error(JSON.stringify(seen));
    return { size: seen.value.size, asked: asking.mock.calls.length };
  };
  return { guest, path, look };
}

test.each(['qcow2', 'raw'] as const)('QEMU is asked for a size once: %s', async (format) => {
  const { look } = await disk(format);
  expect(await look()).toEqual({ size: 8 * MIB, asked: 1 });
  expect(await look()).toEqual({ size: 8 * MIB, asked: 0 });
});

test.each(['qcow2', 'raw'] as const)('and again after a resize: %s', async (format) => {
  const { guest, look } = await disk(format);
  expect(await look()).toEqual({ size: 8 * MIB, asked: 1 });
  await virsh('blockresize', guest.name, 'vda', '16M');
  expect(await look()).toEqual({ size: 16 * MIB, asked: 1 });
  expect(await look()).toEqual({ size: 16 * MIB, asked: 0 });
});

test('and again when the guest was started anew', async () => {
  const { guest, path, look } = await disk();
  expect((await look()).asked).toBe(1);
  await guest.destroy();
  await guest.startFromTopOnly({ vda: { path, format: 'qcow2' } });
  expect(await look()).toEqual({ size: 8 * MIB, asked: 1 });
});

test('a header that says something else is not believed', async () => {
  const { path, look } = await disk();
  expect((await look()).size).toBe(8 * MIB);
  await using file = await open(path, 'r+');
  const lie = Buffer.alloc(8);
  lie.writeBigUInt64BE(BigInt(32 * MIB));
  await file.write(lie, 0, lie.length, SIZE_AT);
  expect(await look()).toEqual({ size: 8 * MIB, asked: 1 });
});
