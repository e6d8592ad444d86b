/** The parts of a qcow2 file that its header points at, as far as a header page can tell. */

/** LUKS as QEMU makes it has 2 MiB: eight slots, of 4000 stripes of a key each (measured). */
const MAX_LUKS_BYTES = 16n * 2n ** 20n;

interface Grid {
  readonly cluster: number;
  readonly fileBytes: number;
}

/**
 * What is wrong with a LUKS pointer, or null. QEMU wants it to have 16 bytes and to lead to the
 * beginning of a cluster; that it leads into the file, and to how much, are limits of our own.
 */
export function badLuks({ cluster, fileBytes }: Grid, pointer: Uint8Array | null): string | null {
  if (pointer === null) return null;
  if (pointer.length !== 16) return `has a pointer of ${pointer.length} bytes`;
  const view = new DataView(pointer.buffer, pointer.byteOffset);
  const [offset, length] = [view.getBigUint64(0), view.getBigUint64(8)];
  if (length < 1n || length > MAX_LUKS_BYTES) return `has ${length} bytes`;
  return outside(offset, Number(length), cluster, fileBytes);
}

/** What is wrong with a part that begins at `offset`, or null. */
export function outside(
  offset: bigint,
  bytes: number,
  cluster: number,
  fileBytes: number,
): string | null {
  if (offset % BigInt(cluster) !== 0n) return 'is not aligned to a cluster';
  if (bytes > 0 && offset === 0n) return 'lies over the header';
  if (offset + BigInt(bytes) > BigInt(fileBytes)) return 'lies outside the file';
  return null;
}
