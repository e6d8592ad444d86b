import { stat } from 'node:fs/promises';
import { QCOW2, RAW } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { headerAt } from '../images/images.ts';
import { Recent } from '../system/recent.ts';
import type { XmlDisk } from './domain-xml.ts';
import type { GuestCalls } from './guest-calls.ts';
import type { Answer } from './lane.ts';
import { capacityOf, type Found, isRemote } from './remote-disk.ts';

/** Disks of running guests; more than a host has. */
const MOST = 4096;

/**
 * The size that a guest sees of a disk. libvirt asks QEMU for all its nodes to answer, and QEMU
 * 7.2 looks at all layers below for each of them: 3 ms for one layer, 46 ms for 32, 1.2 s for 128
 * (measured), in which the guest's monitor does nothing else. So QEMU is asked once; from then on
 * the same process has that size for as long as the active file's header says so, or the length of
 * a raw one: QEMU writes a new size there before it uses it. A file alone is never believed.
 */
export class Sizes {
  readonly #said = new Recent<number>(MOST);

  /** As `capacityOf`: bytes, or null of what cannot be asked. */
  async of(calls: GuestCalls, found: Found): Promise<Answer<number | null>> {
    const key = found.process === null ? null : `${found.process} ${found.disk.target}`;
    const said = key === null ? undefined : this.#said.get(key);
    if (said !== undefined && (await inFile(found.disk)) === said) return ok(said);
    const size = await capacityOf(calls, found);
    if (key !== null && size.ok && size.value !== null) this.#said.set(key, size.value);
    return size;
  }
}

/** What the active file says, or null where nothing can be read. */
async function inFile(disk: XmlDisk): Promise<number | null> {
  const [active] = disk.layers;
  if (active === undefined || isRemote(disk) || active.source.kind !== 'file') return null;
  const { path } = active.source;
  if (active.format === RAW) return lengthOf(path);
  if (active.format !== QCOW2) return null;
  const header = await headerAt(path);
  return header.ok && header.value.ok ? header.value.value.size : null;
}

const lengthOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ size }) => size,
    () => null,
  );
