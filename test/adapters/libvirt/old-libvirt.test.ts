import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { viewOf } from '#adapters/libvirt/disk-view.ts';
import { parseDomain } from '#adapters/libvirt/domain-xml.ts';
import {
  afterCreate,
  afterMerge,
  agrees,
  changedBy,
  complete,
  filesOf,
  formatsOf,
  type Layer,
  layersOf,
  type Merge,
  type SeenLayer,
} from '#domain/chain.ts';
import { type FileName, type Format, QCOW2 } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import type { DiskView } from '#domain/sight.ts';
import { headersToRead } from '#domain/sight.ts';
import { everyMerge, STRANGER, stripped } from '../../support/chains.ts';
import { stripFormats } from './strip-formats.ts';

const XML = new URL('./xml/', import.meta.url);
const FACTS = { process: 'qemu-1', saved: false, size: 2 ** 30, job: null };

/** The disks of a dump whose files can be handled by name, by target. */
function disksOf(file: string, print = (xml: string) => xml): ReadonlyMap<string, DiskView> {
  const domain = parseDomain(print(readFileSync(new URL(file, XML), 'utf8')));
  if (!domain.ok) throw new Error(domain.error);
  const views = domain.value.disks
    .filter((disk) => disk.layers.length > 0)
    .map((disk) => viewOf(domain.value, disk, FACTS))
    .filter(({ source, stray }) => source.kind === 'files' && stray === null);
  return new Map(views.map((view) => [view.target, view]));
}

function must<T>(result: Result<T, unknown>): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

const NOTHING: ReadonlyMap<FileName, Format> = new Map();

/** What was recorded when the lowest layer was first seen: the one thing that nothing implies. */
function recorded(chain: Layer): ReadonlyMap<FileName, Format> {
  const base = layersOf(chain).at(-1)!;
  return new Map([[base.file, base.format]]);
}

/** The same disk by a libvirt that names formats, and by one that does not. */
function twice(file: string, target: string): { readonly full: Layer; readonly old: SeenLayer } {
  const full = must(complete(disksOf(file).get(target)!.chain, NOTHING));
  return { full, old: disksOf(file, stripFormats).get(target)!.chain };
}

const DISKS = readdirSync(XML).flatMap((file) =>
  [...disksOf(file).keys()].map((target) => ({ file, target })),
);

const formats = (chain: Layer) => layersOf(chain).map(({ file, format }) => [file, format]);
const known = (told: readonly { file: FileName; format: Format }[]) =>
  told.map(({ file, format }) => [file, format]);
const provenances = (told: readonly { provenance: string }[]) => [
  ...new Set(told.map(({ provenance }) => provenance)),
];

/** Each merge that this chain allows, with what it predicts. */
function merges(chain: Layer): readonly { merge: Merge; after: Layer }[] {
  return everyMerge(filesOf(chain)).flatMap((merge) => {
    const after = afterMerge(chain, merge);
    return after.ok ? [{ merge, after: after.value }] : [];
  });
}

test('the dumps show disks of every kind', () => {
  expect(DISKS.length).toBeGreaterThan(30);
  const chains = DISKS.map(({ file, target }) => twice(file, target).full);
  expect(Math.max(...chains.map((chain) => layersOf(chain).length))).toBe(5);
  expect(chains.flatMap(merges).length).toBeGreaterThan(100);
});

describe.each(DISKS)('$file $target', ({ file, target }) => {
  const { full, old } = twice(file, target);
  const assumed = must(complete(old, recorded(full)));

  test('the old libvirt says no format, and the same files', () => {
    expect(old).toEqual(stripped(full));
    expect(provenances(layersOf(full))).toEqual(['reported']);
  });

  test('without a record there is no answer, for it could only be guessed', () => {
    const base = layersOf(full).at(-1)!.file;
    expect(complete(old, NOTHING)).toEqual({
      ok: false,
      error: { kind: 'unknown-format', file: base },
    });
  });

  test('with it, every format is what a newer libvirt names, marked assumed', () => {
    expect(formats(assumed)).toEqual(formats(full));
    expect(provenances(layersOf(assumed))).toEqual(['assumed']);
  });

  test('a create is told with the format the newer one names', () => {
    const [after, predicted] = [afterCreate(full, STRANGER), afterCreate(assumed, STRANGER)];
    const told = formatsOf([STRANGER], must(after), must(after));
    const guessed = formatsOf([STRANGER], stripped(must(predicted)), must(predicted));
    expect(told).toEqual([{ file: STRANGER, format: QCOW2, provenance: 'reported' }]);
    expect(guessed).toEqual([{ file: STRANGER, format: QCOW2, provenance: 'assumed' }]);
    expect(agrees(stripped(must(after)), must(predicted))).toBe(true);
  });

  test('each merge is told with the formats the newer one names', () => {
    const predictions = merges(assumed);
    expect(predictions.map(({ merge }) => merge)).toEqual(merges(full).map(({ merge }) => merge));
    for (const [at, { merge, after }] of merges(full).entries()) {
      const predicted = predictions[at]!.after;
      const files = changedBy(full, merge);
      const told = formatsOf(files, after, after);
      const guessed = formatsOf(files, stripped(after), predicted);
      expect(known(guessed)).toEqual(known(told));
      expect(guessed).toHaveLength(files.length);
      expect(provenances(told)).toEqual(['reported']);
      expect(provenances(guessed)).toEqual(['assumed']);
      // And what is left, where the newer one names only some: reported where it is.
      const [some] = formatsOf(files.slice(0, 1), { ...stripped(after), ...top(after) }, predicted);
      if (files[0] === after.file) expect(some?.provenance).toBe('reported');
      expect(agrees(stripped(after), predicted)).toBe(true);
      expect(formats(predicted)).toEqual(formats(after));
    }
  });

  test('no header is read of a file that a newer libvirt calls anything but qcow2', () => {
    for (const record of [NOTHING, recorded(full)]) {
      for (const name of headersToRead(old, filesOf(full), record)) {
        expect(new Map(layersOf(full).map((it) => [it.file, it.format])).get(name)).toBe(QCOW2);
      }
    }
  });
});

const top = ({ format }: Layer) => ({ format });

/** What libvirt really showed before and after; the files by the last sign of their names. */
describe('what was predicted without formats is what libvirt then showed with them', () => {
  const name = (chain: SeenLayer, last: string) =>
    filesOf(chain).find((file) => file.endsWith(last)) as FileName;
  const commit = (chain: SeenLayer, up: string, down: string) =>
    ({ kind: 'commit', top: name(chain, up), into: name(chain, down) }) as const;

  test.each([
    ['a commit', '06-restarted', '12-block-copy', (it) => afterMerge(it, commit(it, '3', '002'))],
    ['another', '12-block-copy', '13-after', (it) => afterMerge(it, commit(it, '2', '001'))],
    ['a pull of all', '13-after', '14-after', (it) => afterMerge(it, { kind: 'pull', onto: null })],
    ['a create', '01-single', '03-raw', (it) => afterCreate(it, created('03-raw'))],
    ['nothing', '04-depth', '05-depth', (it) => ok(it)],
  ] as readonly (readonly [string, string, string, (it: Layer) => Result<Layer, unknown>])[])(
    '%s: %s, then %s',
    (_, first, then, change) => {
      const { full, old } = twice(fileOf(first), 'vda');
      const predicted = must(change(must(complete(old, recorded(full)))));
      expect(provenances(layersOf(predicted))).toEqual(['assumed']);
      const shown = twice(fileOf(then), 'vda').full;
      expect(formats(predicted)).toEqual(formats(shown));
      expect(agrees(shown, predicted)).toBe(true);
    },
  );

  const fileOf = (start: string) => readdirSync(XML).find((file) => file.startsWith(start))!;
  const created = (start: string) => twice(fileOf(start), 'vda').full.file;
});
