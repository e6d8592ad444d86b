import { execFileSync } from 'node:child_process';
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readlink,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, type RunnerTestCase, TestRunner, test, vi } from 'vitest';
import { ShareImages } from '#adapters/images/images.ts';
import type { FileName } from '#domain/ids.ts';
import { PAGE_BYTES } from '#domain/qcow2.ts';
import type { Images } from '#ports/images.ts';
import { luks, qcow2 } from '../support/qcow2-bytes.ts';
import { imagesContract, SIZE } from './images.ts';
import { temporary } from './temporary-folder.ts';

/** Mending and merging is qemu-img's work: see images.share.live.test.ts. */
class HeadersOnly extends ShareImages {
  override mend(): ReturnType<Images['mend']> {
    return needsQemu();
  }

  override copy(): ReturnType<Images['copy']> {
    return needsQemu();
  }
}

function needsQemu(): never {
  const test = TestRunner.getCurrentTest<RunnerTestCase | undefined>();
  test?.context.skip('needs qemu-img: see images.share.live.test.ts');
  throw new Error('only tests come here');
}

imagesContract('share', async () => {
  const folder = await temporary();
  const handles: FileHandle[] = [];
  const close = async () => {
    for (const handle of handles.splice(0)) await handle.close();
  };
  const write = async (name: string, bytes: Uint8Array, length: number) => {
    await writeFile(folder.path(name), bytes);
    await truncate(folder.path(name), length);
    return name as FileName;
  };
  return {
    images: new HeadersOnly(),
    directory: folder.directory,
    raw: (name) => write(name, new Uint8Array(), SIZE),
    overlay(name, says) {
      const sealed = says.luks ? { crypt: 2, extensions: [luks()] } : {};
      const { page, fileBytes } = qcow2({ ...says, ...sealed, size: SIZE });
      return write(name, page, fileBytes);
    },
    write: async () => needsQemu(),
    read: async () => needsQemu(),
    async openForWriting(file) {
      handles.push(await open(folder.path(file), 'r+'));
    },
    close,
    async [Symbol.asyncDispose]() {
      await close();
      await folder[Symbol.asyncDispose]();
    },
  };
});

const NAME = 'a.qcow2' as FileName;
const images = new ShareImages();
const OVERLAY = qcow2({ backing: 'base', format: 'raw', size: SIZE });
const NOT_REGULAR = { ok: true, value: { ok: false, error: { kind: 'not-regular' } } };
const MISSING = { ok: true, value: { ok: false, error: { kind: 'missing' } } };

describe('what is no regular file is a flaw, found without a wait', () => {
  test('a link, wherever it leads, is not followed', async () => {
    await using folder = await temporary();
    await writeFile(folder.path('true.qcow2'), OVERLAY.page);
    for (const to of ['true.qcow2', './true.qcow2', folder.path('true.qcow2'), 'nothing', NAME]) {
      await using inside = await temporary(folder.directory);
      await symlink(to, inside.path(NAME));
      expect(await images.header(inside.directory, NAME), to).toMatchObject(NOT_REGULAR);
    }
    await symlink('true.qcow2', folder.path(NAME));
    expect(await images.header(folder.directory, NAME)).toMatchObject(NOT_REGULAR);
  });

  test('a FIFO that nobody writes to', async () => {
    await using folder = await temporary();
    execFileSync('mkfifo', [folder.path(NAME)]);
    expect(await images.header(folder.directory, NAME)).toMatchObject(NOT_REGULAR);
  });

  test('a directory', async () => {
    await using folder = await temporary();
    await mkdir(folder.path(NAME));
    expect(await images.header(folder.directory, NAME)).toMatchObject(NOT_REGULAR);
  });

  test('a socket', async () => {
    await using folder = await temporary();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(folder.path(NAME), resolve));
    expect(await images.header(folder.directory, NAME)).toMatchObject(NOT_REGULAR);
    await new Promise((resolve) => server.close(resolve));
  });

  test('a device', async () => {
    expect(await images.header('/dev', 'zero' as FileName)).toMatchObject(NOT_REGULAR);
  });

  test('nothing at all, in a folder that is there or not', async () => {
    await using folder = await temporary();
    expect(await images.header(folder.directory, NAME)).toMatchObject(MISSING);
    expect(await images.header(folder.path('no'), NAME)).toMatchObject(MISSING);
  });
});

describe('how much is read', () => {
  /** How many bytes every read of any file asked for. */
  async function reads(work: () => Promise<unknown>): Promise<number> {
    const handle = await open('/dev/null');
    const spy = vi.spyOn(Object.getPrototypeOf(handle) as FileHandle, 'read');
    await handle.close();
    try {
      await work();
      return (spy.mock.calls as unknown[][]).reduce((sum, call) => sum + Number(call[2]), 0);
    } finally {
      spy.mockRestore();
    }
  }

  test('of a huge file no more than a page', async () => {
    await using folder = await temporary();
    await writeFile(folder.path(NAME), OVERLAY.page);
    await truncate(folder.path(NAME), 2 ** 42);
    const read = await reads(async () => {
      expect(await images.header(folder.directory, NAME)).toMatchObject({
        ok: true,
        value: { ok: true, value: { backingFile: 'base', backingFormat: 'raw', size: SIZE } },
      });
    });
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThanOrEqual(PAGE_BYTES);
    expect(PAGE_BYTES).toBe(65_536);
  });

  test('a name that lies behind the page is never seen', async () => {
    await using folder = await temporary();
    const bytes = new Uint8Array(PAGE_BYTES + 4096);
    bytes.set(OVERLAY.page);
    const view = new DataView(bytes.buffer);
    // The backing name is said to lie just behind what is read.
    view.setBigUint64(8, BigInt(PAGE_BYTES));
    bytes.set(new TextEncoder().encode('base'), PAGE_BYTES);
    await writeFile(folder.path(NAME), bytes);
    expect(await images.header(folder.directory, NAME)).toMatchObject({
      ok: true,
      value: { ok: false },
    });
  });

  test.each([0, 1, 71, 104, 4096])('a file of %i bytes is short, and no fault', async (length) => {
    await using folder = await temporary();
    await writeFile(folder.path(NAME), OVERLAY.page.subarray(0, length));
    expect(await images.header(folder.directory, NAME)).toMatchObject({
      ok: true,
      value: { ok: false },
    });
  });
});

test.skipIf(process.getuid?.() === 0)(
  'what may not be read is a refusal of the share',
  async () => {
    await using folder = await temporary();
    await writeFile(folder.path(NAME), OVERLAY.page, { mode: 0 });
    expect(await images.header(folder.directory, NAME)).toMatchObject({
      ok: false,
      error: { kind: 'rejected', who: 'the share', code: 'EACCES' },
    });
  },
);

test('a folder that is a file is a fault: nobody knows what became of the share', async () => {
  await using folder = await temporary();
  await writeFile(join(folder.directory, 'file'), '');
  expect(await images.header(folder.path('file'), NAME)).toMatchObject({
    ok: false,
    error: { kind: 'unreachable', who: 'the share' },
  });
});

test('a file handle is never left open', async () => {
  await using folder = await temporary();
  await writeFile(folder.path(NAME), OVERLAY.page);
  await mkdir(folder.path('folder'));
  const links = async () => {
    const open = await readdir('/proc/self/fd');
    const to = await Promise.all(open.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
    return to.filter((path) => path.startsWith(folder.directory));
  };
  const kept = await open(folder.path(NAME));
  expect(await links()).toHaveLength(1);
  await kept.close();
  for (const name of [NAME, 'no', 'folder']) {
    await images.header(folder.directory, name as FileName);
  }
  expect(await links()).toEqual([]);
});
