/**
 * qemu-img for tests. Every format is said aloud, never probed: a raw disk's first bytes are
 * the guest's, and a guest may write a qcow2 header there (libvirt.md section 0, fact 2).
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { run } from './processes.ts';

export type ImageFormat = 'raw' | 'qcow2' | 'vpc' | 'vmdk' | 'vhdx';

export interface NewImage {
  readonly format: ImageFormat;
  /** Virtual size in bytes; may be left out over a backing file, then it is the backing's. */
  readonly size?: number;
  /** `name` goes into the header as it is, relative or absolute. */
  readonly backing?: { readonly name: string; readonly format: ImageFormat };
  readonly options?: readonly string[];
  /** false writes the header without opening the backing file, so it may lie. */
  readonly checkBacking?: boolean;
}

/** What `qemu-img info --output=json` says; the fields the tests use. */
export interface ImageInfo {
  readonly filename: string;
  readonly format: string;
  readonly 'virtual-size': number;
  readonly 'actual-size'?: number;
  readonly 'backing-filename'?: string;
  readonly 'full-backing-filename'?: string;
  readonly 'backing-filename-format'?: string;
  readonly 'format-specific'?: { readonly type: string; readonly data: Record<string, unknown> };
}

export async function createImage(path: string, image: NewImage): Promise<string> {
  const options = [...(image.options ?? [])];
  // Without force_size a VHD is rounded up to whole cylinders and no longer has the size asked for.
  if (image.format === 'vpc') options.push('force_size=on');
  const args = ['create', '-q', '-f', image.format];
  if (options.length > 0) args.push('-o', options.join(','));
  if (image.backing !== undefined) args.push('-b', image.backing.name, '-F', image.backing.format);
  if (image.checkBacking === false) args.push('-u');
  args.push(path);
  if (image.size !== undefined) args.push(String(image.size));
  await run('qemu-img', args);
  return path;
}

/** What Cinder prepares before it asks for a snapshot: an empty qcow2 that names its backing. */
export function createOverlay(
  path: string,
  backing: { readonly name: string; readonly format: ImageFormat },
): Promise<string> {
  return createImage(path, { format: 'qcow2', backing });
}

/** -U: the file may be open in QEMU; then only header fields can be trusted (fact 5). */
export async function imageInfo(path: string, format: ImageFormat): Promise<ImageInfo> {
  return JSON.parse(await run('qemu-img', ['info', '-U', '--output=json', '-f', format, path]));
}

/** From the top down, as the headers tell it. */
export async function backingChain(path: string, format: ImageFormat): Promise<ImageInfo[]> {
  const args = ['info', '-U', '--backing-chain', '--output=json', '-f', format, path];
  return JSON.parse(await run('qemu-img', args));
}

/** The first bytes, at most 64 KiB: where a qcow2 header with its names lies. */
export async function headerOf(path: string, length = 65_536): Promise<Buffer> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, 0);
  return buffer.subarray(0, bytesRead);
}

/** qemu-img check of an image that is not in use; throws on what it finds. */
export async function checkImage(path: string, format: ImageFormat): Promise<void> {
  if (format !== 'raw') await run('qemu-img', ['check', '-q', '-f', format, path]);
}

/** sha256 of the bytes a guest would read from this image, through its backing files. */
export function hashImage(path: string, format: ImageFormat, spare: string): Promise<string> {
  return hashSource(['-f', format, path], spare);
}

/**
 * Copied into a sparse file and read from there: qemu-img skips holes, the file system makes
 * zeros faster than anything could send them. `source` is qemu-img convert's.
 */
export async function hashSource(source: readonly string[], spare: string): Promise<string> {
  try {
    await run('qemu-img', ['convert', '-W', '-O', 'raw', ...source, spare]);
    return await hashFile(spare);
  } finally {
    await rm(spare, { force: true });
  }
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 4 * 1024 * 1024 })) {
    hash.update(chunk);
  }
  return hash.digest('hex');
}
