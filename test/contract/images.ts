import { expect, test } from 'vitest';
import { type Layer, layersOf, type Merge } from '#domain/chain.ts';
import { type FileName, type Format, QCOW2, RAW } from '#domain/ids.ts';
import type { HeaderView } from '#domain/sight.ts';
import type { CopyOrder, Images } from '#ports/images.ts';

/** A directory with files of 512 KiB, and somebody who can have one open. */
export interface ImagesLab extends AsyncDisposable {
  readonly images: Images;
  readonly directory: string;
  /** A raw file full of zeros. */
  raw(name: string): Promise<FileName>;
  /**
   * An empty qcow2 file, with LUKS inside or not; a backing format of null is left out of its
   * header.
   */
  overlay(name: string, says: OverlaySays): Promise<FileName>;
  /** Fills one of a file's clusters, 64 KiB, with a byte; zeros in a qcow2 hide what is below. */
  write(file: FileName, format: Format, at: number, byte: number): Promise<void>;
  /** The byte that fills each cluster, for whoever believes the headers below the file. */
  read(file: FileName, format: Format): Promise<readonly number[]>;
  /** Has the file open for writing, as QEMU does, until it is closed or the lab disposed of. */
  openForWriting(file: FileName): Promise<void>;
  /** Closes what was opened. */
  close(): Promise<void>;
}

export interface OverlaySays {
  readonly backing: string | null;
  readonly format: Format | null;
  readonly luks?: boolean;
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
        encryption: 'none',
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

  law('a file has a number of its own, which a mended one keeps', async (lab) => {
    const says = { backing: 'base', format: QCOW2, luks: true };
    const [file, other] = [await lab.overlay('a.qcow2', says), await lab.overlay('b.qcow2', says)];
    const numberOf = async (of: FileName) => {
      const read = await header(lab, of);
      return read.ok ? read.value.inode : expect.unreachable();
    };
    const before = await numberOf(file);
    expect(before).toMatch(/^\d+$/);
    expect(await numberOf(other)).not.toBe(before);
    expect(await lab.images.mend(lab.directory, file, 'base' as FileName, RAW)).toEqual(DONE);
    expect(await numberOf(file)).toBe(before);
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

  law('an encrypted file is mended like any other, without its key', async (lab) => {
    const says = { backing: 'base', format: QCOW2, luks: true };
    const file = await lab.overlay('a.qcow2', says);
    const before = await header(lab, file);
    expect(before).toMatchObject({ value: { encryption: 'luks', backingFormat: QCOW2 } });
    for (const name of ['b', 'a-name-that-is-much-longer', 'b'] as FileName[]) {
      expect(await lab.images.mend(lab.directory, file, name, RAW)).toEqual(DONE);
      const value = { ...(before.ok ? before.value : {}), backingFile: name, backingFormat: RAW };
      expect(await header(lab, file)).toEqual({ ok: true, value });
    }
    const alone = await lab.overlay('b.qcow2', { backing: null, format: null, luks: true });
    expect(await lab.images.mend(lab.directory, alone, file, QCOW2)).toEqual(DONE);
    const back = { backingFile: file, backingFormat: QCOW2 };
    expect(await header(lab, alone)).toMatchObject({ value: back });
  });

  law('an encrypted file that somebody has open is not mended', async (lab) => {
    const says = { backing: 'base', format: QCOW2, luks: true };
    const file = await lab.overlay('a.qcow2', says);
    await lab.openForWriting(file);
    const base = 'base' as FileName;
    expect(await lab.images.mend(lab.directory, file, base, RAW)).toMatchObject(REFUSED);
    expect(await header(lab, file)).toMatchObject({ ok: true, value: { backingFormat: QCOW2 } });
  });

  law('an encrypted file is not merged: nobody gives its key', async (lab) => {
    const base = await lab.raw('base');
    const file = await lab.overlay('a.qcow2', { backing: base, format: RAW, luks: true });
    const on: Layer = { file: base, format: RAW, provenance: 'reported', on: null };
    const chain: Layer = { file, format: QCOW2, provenance: 'reported', on };
    for (const merge of [
      { kind: 'commit', top: file, into: base },
      { kind: 'pull', onto: null },
    ] as const) {
      const refused = await lab.images.copy(orderOf(lab, chain, merge));
      expect(refused).toMatchObject({ error: { detail: expect.stringContaining('key-secret') } });
      expect(await header(lab, file)).toMatchObject({ ok: true, value: { backingFile: base } });
    }
  });

  law('what is not a qcow2 file is not mended', async (lab) => {
    const base = await lab.raw('base');
    const { images, directory } = lab;
    expect(await images.mend(directory, base, base, RAW)).toMatchObject(REFUSED);
    const nothing = 'no.qcow2' as FileName;
    expect(await images.mend(directory, nothing, base, RAW)).toMatchObject(REFUSED);
  });

  law(
    'a commit copies a layer down, leaves it and every header alone, and twice is once',
    async (lab) => {
      const chain = await chainOf(lab);
      const [top, middle, first, base] = names(chain);
      const whole = await lab.read(top, QCOW2);
      const order = orderOf(lab, chain, { kind: 'commit', top: middle, into: first });
      const gone = await lab.read(middle, QCOW2);
      for (let times = 0; times < 2; times++) {
        expect(await lab.images.copy(order)).toEqual(DONE);
        expect(await lab.read(top, QCOW2)).toEqual(whole);
        expect(await lab.read(middle, QCOW2)).toEqual(gone);
        expect(await lab.read(first, QCOW2)).toEqual(gone);
        for (const [file, on] of [
          [top, middle],
          [middle, first],
          [first, base],
        ] as const) {
          expect(await header(lab, file)).toMatchObject({ ok: true, value: { backingFile: on } });
        }
      }
      expect(await lab.images.mend(lab.directory, top, first, QCOW2)).toEqual(DONE);
      expect(await lab.read(top, QCOW2)).toEqual(whole);
    },
  );

  law('a commit into a raw base, whatever a header calls it', async (lab) => {
    const chain = await chainOf(lab);
    const [top, middle, first, base] = names(chain);
    const whole = await lab.read(top, QCOW2);
    const gone = await lab.read(first, QCOW2);
    expect(await lab.images.mend(lab.directory, first, base, QCOW2)).toEqual(DONE);
    const order = orderOf(lab, chain, { kind: 'commit', top: first, into: base });
    expect(await lab.images.copy(order)).toEqual(DONE);
    expect(await lab.read(base, RAW)).toEqual(gone);
    expect(await lab.images.mend(lab.directory, middle, base, RAW)).toEqual(DONE);
    expect(await lab.read(top, QCOW2)).toEqual(whole);
  });

  law('a pull takes in what lies between, and names the file below it, bare', async (lab) => {
    for (const [below, format] of [
      ['s1', QCOW2],
      ['base', RAW],
    ] as const) {
      const chain = await chainOf(lab);
      const [top, middle] = names(chain);
      const whole = await lab.read(top, QCOW2);
      const left = await lab.read(middle, QCOW2);
      const order = orderOf(lab, chain, { kind: 'pull', onto: below as FileName });
      expect(await lab.images.copy(order)).toEqual(DONE);
      const now = { backingFile: below, backingFormat: format };
      expect(await header(lab, top)).toMatchObject({ ok: true, value: now });
      expect(await lab.read(top, QCOW2)).toEqual(whole);
      expect(await lab.read(middle, QCOW2)).toEqual(left);
      // The chain that it was given is not there any more.
      expect(await lab.images.copy(order)).toMatchObject(REFUSED);
      expect(await header(lab, top)).toMatchObject({ ok: true, value: now });
      expect(await lab.read(top, QCOW2)).toEqual(whole);
    }
  });

  law('a pull of everything names nothing, and twice is once', async (lab) => {
    const chain = await chainOf(lab);
    const [top] = names(chain);
    const whole = await lab.read(top, QCOW2);
    const order = orderOf(lab, chain, { kind: 'pull', onto: null });
    for (let times = 0; times < 2; times++) {
      expect(await lab.images.copy(order)).toEqual(DONE);
      const none = { backingFile: null, backingFormat: null };
      expect(await header(lab, top)).toMatchObject({ ok: true, value: none });
      expect(await lab.read(top, QCOW2)).toEqual(whole);
    }
  });

  law('what somebody has open is not merged, and nothing is changed', async (lab) => {
    const chain = await chainOf(lab);
    const [top, middle, first] = names(chain);
    const all = () => Promise.all([top, middle, first].map((file) => lab.read(file, QCOW2)));
    const before = await all();
    await lab.openForWriting(first);
    const locked = { ok: false, error: { kind: 'rejected', who: 'qemu-img', code: 'locked' } };
    const merges: readonly Merge[] = [
      { kind: 'commit', top: middle, into: first },
      { kind: 'pull', onto: first },
      { kind: 'pull', onto: null },
    ];
    for (const merge of merges) {
      expect(await lab.images.copy(orderOf(lab, chain, merge))).toMatchObject(locked);
      expect(await header(lab, top)).toMatchObject({ ok: true, value: { backingFile: middle } });
    }
    await lab.close();
    expect(await all()).toEqual(before);
  });

  law('a file that is not there, or not what it is called, is not merged', async (lab) => {
    const chain = await chainOf(lab);
    const [top, middle, first] = names(chain);
    const whole = await lab.read(top, QCOW2);
    const merge = { kind: 'commit', top: middle, into: first } as const;
    const lost = {
      ...chain,
      on: { ...chain.on!, on: { ...chain.on!.on!, file: 'no' as FileName } },
    };
    expect(await lab.images.copy(orderOf(lab, lost, merge))).toMatchObject(REFUSED);
    const base = { ...chain.on!.on!.on!, format: QCOW2 };
    const called = { ...chain, on: { ...chain.on!, on: { ...chain.on!.on!, on: base } } };
    expect(await lab.images.copy(orderOf(lab, called, merge))).toMatchObject(REFUSED);
    expect(await lab.read(top, QCOW2)).toEqual(whole);
  });

  law('a file is put on disk, or it is said that it cannot be', async (lab) => {
    const base = await lab.raw('base');
    expect(await lab.images.sync(lab.directory, base)).toEqual(DONE);
    const nothing = await lab.images.sync(lab.directory, 'no.qcow2' as FileName);
    expect(nothing).toMatchObject({ ok: false, error: { kind: 'unreachable', who: 'the share' } });
  });
}

/** base, raw, with s1, s2 and s3 on it; each has data and zeros of its own. */
async function chainOf(lab: ImagesLab): Promise<Layer> {
  const base = await lab.raw('base');
  let layer: Layer = { file: base, format: RAW, provenance: 'reported', on: null };
  for (let at = 0; at < 8; at++) await lab.write(base, RAW, at, 0x10 + at);
  for (const [nth, name] of ['s1', 's2', 's3'].entries()) {
    const file = await lab.overlay(name, { backing: layer.file, format: layer.format });
    layer = { file, format: QCOW2, provenance: 'reported', on: layer };
    await lab.write(file, QCOW2, nth, 0x21 + nth);
    await lab.write(file, QCOW2, nth + 1, 0x31 + nth);
    await lab.write(file, QCOW2, nth + 4, 0);
  }
  return layer;
}

const names = (chain: Layer): [FileName, FileName, FileName, FileName] => {
  const [top, middle, first, base] = layersOf(chain).map(({ file }) => file);
  if (!top || !middle || !first || !base) throw new Error('four layers are needed');
  return [top, middle, first, base];
};

const orderOf = ({ directory }: ImagesLab, chain: Layer, merge: Merge): CopyOrder => ({
  directory,
  chain,
  merge,
});

const DONE = { ok: true, value: null };
const REFUSED = { ok: false, error: { kind: 'rejected', who: 'qemu-img' } };

const flaw = (kind: string) => ({ ok: false, error: { kind } });

async function header(lab: ImagesLab, file: FileName): Promise<HeaderView> {
  const read = await lab.images.header(lab.directory, file);
  if (!read.ok) throw new Error(JSON.stringify(read.error));
  return read.value;
}
