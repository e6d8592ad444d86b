import type { Layer, Merge } from '#domain/chain.ts';
import { type FileName, type Format, fileName, QCOW2 } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { nodesFrom, SimNode } from './node.ts';
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
  const opened = openChain(share, top, format, { keys: 'all' });
  if (!opened.ok) return opened.error.message;
  const nodes = [...nodesFrom(opened.value)];
  const base = opened.value.backing;
  const close = () => {
    for (const node of nodes) node.close();
  };
  // One user is this qemu-img itself; what is below the two it only reads.
  if (base === null || [top, base.file].some((file) => share.users(file) > 1)) {
    close();
    return base === null ? NO_BACKING : LOCKED;
  }
  pour(opened.value, base);
  close();
  return null;
}

/** What a layer has goes into the one below; false when the disk is full in the middle. */
function pour(top: SimNode, base: SimNode, take: () => boolean = () => true): boolean {
  base.file.clusters = Math.max(base.file.clusters, top.file.clusters);
  for (let at = 0; at < top.file.clusters; at++) {
    const own = top.own(at);
    if (own === 'absent') continue;
    if (base.grows(at) && !take()) return false;
    base.write(at, own === 'zero' ? 0 : own);
  }
  base.flush();
  return true;
}

/**
 * `qemu-img commit -d` or `rebase` of a chain that is given whole, so that no header is believed.
 * A pull's header is rewritten last. Answers what qemu-img says when it fails.
 */
export function copyGiven(share: SimShare, chain: Layer, merge: Merge): string | null {
  const from = merge.kind === 'commit' ? below(chain, merge.top) : chain;
  const opened = from === null ? NO_BACKING : openGiven(share, from);
  if (typeof opened === 'string') return opened;
  const said =
    merge.kind === 'commit' ? commitGiven(share, opened) : pull(share, opened, merge.onto);
  for (const node of [...nodesFrom(opened)]) node.close();
  return said;
}

function openGiven(share: SimShare, { file: name, format, on }: Layer): SimNode | string {
  const file = share.file(name);
  if (file === null) return `Could not open '${name}': No such file or directory`;
  if (file.access === 'folder') return `${name} is no regular file`;
  if (share.isOpen(file)) return LOCKED;
  const isQcow2 = (file.header ?? forged(file)) !== null;
  if (format === QCOW2 && !isQcow2) return 'Image is not in qcow2 format';
  if (format === QCOW2 && file.luks) return NO_KEY;
  const under = on === null ? null : openGiven(share, on);
  return typeof under === 'string' ? under : new SimNode(share, file, format, under);
}

function commitGiven(share: SimShare, top: SimNode): string | null {
  if (top.backing === null) return NO_BACKING;
  if (top.backing.file.access === 'immutable') return 'Operation not permitted';
  return pour(top, top.backing, () => share.take()) ? null : FULL;
}

/** What reads otherwise without the layers that are left out is written into the topmost. */
function pull(share: SimShare, top: SimNode, onto: FileName | null): string | null {
  const { file, backing } = top;
  if (file.access === 'immutable') return 'Operation not permitted';
  if (file.header === null || backing === null) return 'Image is not in qcow2 format';
  // With a header that names another file than the chain that was given.
  if (onto !== null && file.header.backing !== backing.file.name) {
    return 'Could not resolve backing filename: Cannot use relative backing file names';
  }
  const base = [...nodesFrom(backing)].find((node) => node.file.name === onto) ?? null;
  for (let at = 0; at < file.clusters; at++) {
    const old = backing.read(at);
    if (top.own(at) !== 'absent' || old === (base?.read(at) ?? 0)) continue;
    if (!share.take()) {
      top.flush();
      return FULL;
    }
    top.write(at, old === 0 ? 'zero' : old);
  }
  top.flush();
  file.header = { ...file.header, backing: onto, format: base?.driver ?? null };
  return null;
}

function below(chain: Layer, file: FileName): Layer | null {
  if (chain.file === file) return chain;
  return chain.on && below(chain.on, file);
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

export const LOCKED = 'Failed to get "write" lock';
const NO_KEY = "Parameter 'encrypt.key-secret' is required for cipher";
const NO_BACKING = 'Image does not have a backing file';
const FULL = 'No space left on device';
