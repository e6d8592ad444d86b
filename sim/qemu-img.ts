import { type FileName, type Format, fileName, QCOW2 } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { nodesFrom } from './node.ts';
import { openChain } from './opening.ts';
import { forged, type SimFile, type SimShare } from './share.ts';

/** What `qemu-img info` says of a file. */
export interface Inspected {
  readonly format: Format;
  readonly backing: FileName | null;
}

/**
 * `qemu-img info` and what remotefs.py lets pass of it (_qemu_img_info_base): without a format a
 * raw file's bytes are believed, and a backing file of another name than the volume's own is
 * refused.
 */
export function inspect(
  share: SimShare,
  file: FileName,
  volume: FileName,
  known: Format | null = null,
): Result<Inspected, string> {
  const found = share.file(file);
  if (found === null) return err(`Could not open '${file}': No such file or directory`);
  const format = known ?? share.probe(found);
  const header = format === QCOW2 ? (found.header ?? forged(found)) : null;
  if (format === QCOW2 && header === null) {
    return err(`Could not open '${file}': Image is not in qcow2 format`);
  }
  if (header?.backing == null) return ok({ format, backing: null });
  const bare = fileName(header.backing);
  const ours = bare !== null && (bare === volume || bare.startsWith(`${volume}.`));
  if (!ours) return err(`File ${file} has invalid backing file ${header.backing}.`);
  return ok({ format, backing: bare });
}

/**
 * `qemu-img commit -d`: into the file that the header names, opened as what the header says it is;
 * needs the locks of all that it opens. Answers what qemu-img says when it fails.
 */
export function commit(share: SimShare, top: SimFile, format: Format): string | null {
  const opened = openChain(share, top, format);
  if (!opened.ok) return opened.error.message;
  const nodes = [...nodesFrom(opened.value)];
  const base = opened.value.backing;
  const close = () => {
    for (const node of nodes) node.close();
  };
  // One user is this qemu-img itself; what is below the two it only reads.
  if (base === null || [top, base.file].some((file) => share.users(file) > 1)) {
    close();
    return base === null ? 'Image does not have a backing file' : LOCKED;
  }
  base.file.clusters = Math.max(base.file.clusters, top.clusters);
  for (let at = 0; at < top.clusters; at++) {
    const own = opened.value.own(at);
    if (own !== 'absent') base.write(at, own === 'zero' ? 0 : own);
  }
  base.flush();
  close();
  return null;
}

/** `qemu-img rebase -u`: the header is rewritten, and nothing else looked at. */
export function rebase(
  share: SimShare,
  name: FileName,
  backing: string,
  format: string,
): string | null {
  const file = share.file(name);
  if (file === null) return `Could not open '${name}': No such file or directory`;
  if (share.isOpen(file)) return LOCKED;
  if (file.header === null) return 'Image is not in qcow2 format';
  file.header = { ...file.header, backing, format };
  return null;
}

const LOCKED = 'Failed to get "write" lock';
