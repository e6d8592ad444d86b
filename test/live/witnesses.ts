/** The three witnesses of a chain, and whether they agree. */
import { basename, dirname, join } from 'node:path';
import { expect } from 'vitest';
import { parseDomain } from '#adapters/libvirt/domain-xml.ts';
import type { Cinder } from './lab/cinder.ts';
import type { Guest } from './lab/guest.ts';
import { backingChain } from './lab/images.ts';

export interface SeenFile {
  readonly file: string;
  readonly format: string | null;
}

/** The chain in the live XML, the active file first. */
export async function liveChain(guest: Guest, serial: string): Promise<readonly SeenFile[]> {
  const domain = parseDomain(await guest.xml());
  if (!domain.ok) throw new Error(domain.error);
  const disk = domain.value.disks.find((one) => one.serial === serial);
  return (disk?.layers ?? []).map(({ source, format }) => ({
    file: 'path' in source ? basename(source.path) : '?',
    format,
  }));
}

/** The chain as the headers tell it, read by qemu-img (only for volumes whose guest is honest). */
export async function headerChain(path: string): Promise<readonly SeenFile[]> {
  const format = basename(path).includes('.') ? 'qcow2' : 'raw';
  const chain = await backingChain(path, format);
  return chain.map((one) => ({ file: basename(one.filename), format: one.format }));
}

/** Cinder's .info, the live XML and the headers name the same files; answers them. */
export async function expectAgreement(
  cinder: Cinder,
  guest: Guest,
  volumeId: string,
  volumePath: string,
): Promise<readonly SeenFile[]> {
  const live = await liveChain(guest, volumeId);
  const active = live[0]?.file ?? '';
  const info = await cinder.infoFile(volumeId).catch(() => ({ active: basename(volumePath) }));
  expect(active, "Cinder's .info and the live XML").toBe(info.active);
  const headers = await headerChain(join(dirname(volumePath), active));
  expect(headers, 'the headers and the live XML').toEqual(live);
  return live;
}
