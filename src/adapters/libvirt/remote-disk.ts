import { ok } from '#domain/result.ts';
import type { XmlDisk } from './domain-xml.ts';
import type { GuestCalls } from './guest-calls.ts';
import type { Answer } from './lane.ts';

/**
 * What takes longer where a disk is on a network. libvirt opens and closes each file of the chain
 * by itself, and to close one takes libgfapi 10 s (gluster issues 1962 and 2606): a snapshot took
 * 21 s and the start of a commit 41 s on libvirt 9.0 and GlusterFS 10.3.
 */
const PATIENCE_MS = 180_000;

export const isRemote = ({ layers: [active] }: XmlDisk): boolean =>
  active?.source.kind === 'network';

/** The calls that change this disk, each with the time that it needs. */
export const patiently = (calls: GuestCalls, disk: XmlDisk): GuestCalls =>
  isRemote(disk) ? calls.withTimeout(PATIENCE_MS) : calls;

/**
 * The size that the guest sees. virDomainGetBlockInfo opens a network disk anew for its answer
 * (11 s), which leaves no time for a request; of a guest that runs the statistics have it from
 * QEMU. One that is off has null: nothing is done then that would need it.
 */
export async function capacityOf(
  calls: GuestCalls,
  { disk, process }: Found,
): Promise<Answer<number | null>> {
  if (!isRemote(disk)) return calls.blockCapacity(disk.target);
  return process === null ? ok(null) : calls.capacitySeen(disk.target);
}

/** A disk, and the QEMU that has it open. */
export interface Found {
  readonly disk: XmlDisk;
  readonly process: string | null;
}
