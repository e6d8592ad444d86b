import { expect, test } from 'vitest';
import { type FileName, type Format, QCOW2, RAW } from '#domain/ids.ts';
import type { HeaderView } from '#domain/sight.ts';
import type { Images } from '#ports/images.ts';

/** A directory with files of 512 KiB, and somebody who can have one open. */
export interface ImagesLab extends AsyncDisposable {
  readonly images: Images;
  readonly directory: string;
  /** A raw file full of zeros. */
  raw(name: string): Promise<FileName>;
  /** An empty qcow2 file; a backing format of null is left out of its header. */
  overlay(
    name: string,
    says: { readonly backing: string | null; readonly format: Format | null },
  ): Promise<FileName>;
  /** Has the file open for writing, as QEMU does, until the lab is disposed of. */
  openForWriting(file: FileName): Promise<void>;
}

export const SIZE = 512 * 1024;

export function imagesContract(name: string, open: () => Promise<ImagesLab>): void {
  const law = (what: string, check: (lab: ImagesLab) => Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      await using lab = await open();
      await check(lab);
    });

  law('a header says what the file was made with', async (lab) => {
    const base = await lab.raw('base');
    const file = await lab.overlay('a.qcow2', { backing: base, format: RAW });
    expect(await header(lab, file)).toMatchObject({
      ok: true,
      value: {
        version: 3,
        size: SIZE,
        backingFile: base,
        backingFormat: RAW,
        encrypted: false,
        dataFile: false,
        corrupt: false,
        snapshots: 0,
      },
    });
  });

  law('a backing file, and its format, may be missing from a header', async (lab) => {
    await lab.raw('base');
    const alone = await lab.overlay('a.qcow2', { backing: null, format: null });
    const silent = await lab.overlay('b.qcow2', { backing: 'base', format: null });
    const none = { backingFile: null, backingFormat: null };
    expect(await header(lab, alone)).toMatchObject({ ok: true, value: none });
    const some = { backingFile: 'base', backingFormat: null };
    expect(await header(lab, silent)).toMatchObject({ ok: true, value: some });
  });

  law('a file that is not there or not qcow2 is a flaw, not a fault', async (lab) => {
    const raw = await lab.raw('base');
    expect(await header(lab, 'no.qcow2' as FileName)).toMatchObject(flaw('missing'));
    expect(await header(lab, raw)).toMatchObject(flaw('not-qcow2'));
  });

  law('the header of a file that is open can be read', async (lab) => {
    await lab.raw('base');
    const file = await lab.overlay('a.qcow2', { backing: 'base', format: RAW });
    await lab.openForWriting(file);
    expect(await header(lab, file)).toMatchObject({ ok: true, value: { backingFile: 'base' } });
  });

  law('mending writes name and format, and twice is once', async (lab) => {
    const base = await lab.raw('base');
    const file = await lab.overlay('a.qcow2', { backing: base, format: QCOW2 });
    const before = await header(lab, file);
    expect(before).toMatchObject({ ok: true, value: { backingFormat: QCOW2 } });
    for (let times = 0; times < 2; times++) {
      expect(await lab.images.mend(lab.directory, file, base, RAW)).toEqual(DONE);
      const mended = { backingFile: base, backingFormat: RAW, size: SIZE };
      expect(await header(lab, file)).toMatchObject({ ok: true, value: mended });
    }
  });

  law('mending gives a silent header its format', async (lab) => {
    const base = await lab.raw('base');
    const file = await lab.overlay('a.qcow2', { backing: base, format: null });
    expect(await lab.images.mend(lab.directory, file, base, RAW)).toEqual(DONE);
    expect(await header(lab, file)).toMatchObject({ ok: true, value: { backingFormat: RAW } });
  });

  law('a file that somebody has open is not mended', async (lab) => {
    const base = await lab.raw('base');
    const file = await lab.overlay('a.qcow2', { backing: base, format: QCOW2 });
    await lab.openForWriting(file);
    expect(await lab.images.mend(lab.directory, file, base, RAW)).toMatchObject(REFUSED);
    expect(await header(lab, file)).toMatchObject({ ok: true, value: { backingFormat: QCOW2 } });
  });

  law('what is not a qcow2 file is not mended', async (lab) => {
    const base = await lab.raw('base');
    const { images, directory } = lab;
    expect(await images.mend(directory, base, base, RAW)).toMatchObject(REFUSED);
    const nothing = 'no.qcow2' as FileName;
    expect(await images.mend(directory, nothing, base, RAW)).toMatchObject(REFUSED);
  });
}

const DONE = { ok: true, value: null };
const REFUSED = { ok: false, error: { kind: 'rejected', who: 'qemu-img' } };

const flaw = (kind: string) => ({ ok: false, error: { kind } });

async function header(lab: ImagesLab, file: FileName): Promise<HeaderView> {
  const read = await lab.images.header(lab.directory, file);
  if (!read.ok) throw new Error(JSON.stringify(read.error));
  return read.value;
}
