import type { FileHandle } from 'node:fs/promises';
import { PAGE_BYTES } from '#domain/qcow2.ts';

/** The first bytes of a file, as many as a header may take. */
export async function pageOf(handle: FileHandle, size: number): Promise<Uint8Array> {
  const page = new Uint8Array(Math.min(PAGE_BYTES, size));
  return page.subarray(0, await fill(handle, page));
}

/** Reads from the beginning of the file; how many bytes there were. */
export async function fill(handle: FileHandle, page: Uint8Array): Promise<number> {
  let read = 0;
  while (read < page.length) {
    const { bytesRead } = await handle.read(page, read, page.length - read, read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return read;
}
