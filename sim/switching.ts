import { QCOW2 } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import type { SnapshotOrder } from '#ports/hypervisor.ts';
import type { SimDisk } from './disk.ts';
import { nodesFrom, SimNode } from './node.ts';
import { type No, no } from './refusals.ts';
import { forged, type SimFile } from './share.ts';

/** The file that is to become the active layer, and the name of its key. */
export type Overlay = Pick<SnapshotOrder, 'directory' | 'file' | 'key'>;

/** The incompatible feature bits that QEMU 7.2 knows, and the one of a corrupt image. */
const KNOWN_FEATURES = 31;
const CORRUPT = 2;
/** libvirt's limit [read in its source]. */
const DEEPEST = 200;

/**
 * virDomainSnapshotCreateXML with DISK_ONLY and REUSE_EXT. Of what the overlay's header says only
 * what keeps QEMU from opening it alone is looked at: not its backing file, nor its size.
 */
export function switchTo(disk: SimDisk, overlay: Overlay): Result<null, No> {
  const { share, target } = disk;
  const path = `${overlay.directory}/${overlay.file}`;
  if (!path.startsWith('/') && share.at(overlay.directory, overlay.file) === null)
    return no('overlay named by a relative path', target, path);
  const free = withoutJob(disk);
  if (!free.ok) return free;
  const file = share.at(overlay.directory, overlay.file);
  if (file === null) return no('overlay missing', target, path);
  if (file.access === 'folder') return no('overlay is a folder', target);
  if (disk.top === null) {
    const { protocol } = file;
    if (protocol !== null) return no('remote disk of a guest that is off', target, protocol);
    // Of a guest that is shut off only the configuration changes, and it forgets what is below.
    disk.configure(overlay.file, QCOW2);
    return ok(null);
  }
  if ([...nodesFrom(disk.top)].length >= DEEPEST) return no('chain too deep', target);
  if (file.access === 'immutable') return no('overlay is immutable', target, path);
  const { key = null } = overlay;
  // libvirt looks the secret up before it asks QEMU for anything (measured).
  const unknown = key !== null && (key.secret !== disk.secret || !disk.hasSecret);
  if (unknown) return no('secret unknown', target, key.secret);
  const opened = blockdevAdd(disk, file, path, key !== null);
  // The number is gone, whatever became of it (measured: dump 25 has none for a refused one).
  if (!opened.ok) disk.indexes.next();
  else disk.attach(opened.value);
  return opened.ok ? ok(null) : opened;
}

/** One job on a disk at a time. A copy and an active commit write to two files at once. */
export function withoutJob({ job, target }: SimDisk): Result<null, No> {
  if (job === null) return ok(null);
  const mirror = job.kind === 'copy' || job.kind === 'active-commit';
  return no(mirror ? 'disk has a mirror' : 'disk has a job', target);
}

/** QEMU opens the overlay, `"backing": null`. */
function blockdevAdd(
  { share, target }: SimDisk,
  file: SimFile,
  path: string,
  keyed: boolean,
): Result<SimNode, No> {
  if (file.access === 'forbidden') return no('overlay may not be opened', target, path);
  if (share.isLocked(file)) return no('overlay in use', target);
  const header = file.header ?? forged(file);
  if (header === null) return no('overlay is not qcow2', target);
  const unknown = header.features & ~KNOWN_FEATURES;
  if (unknown !== 0) return no('overlay has unknown features', target, unknown.toString(16));
  if (header.features & CORRUPT) return no('overlay is corrupt', target);
  if (file.luks && !keyed) return no('overlay without its key', target);
  return ok(new SimNode(share, file, QCOW2, null, file.luks));
}
