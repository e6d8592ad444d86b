import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  afterCreate,
  afterMerge,
  agrees,
  beginsLike,
  changedBy,
  complete,
  filesOf,
  find,
  formatsOf,
  type Layer,
  layersOf,
  type Merge,
  means,
  repointedBy,
  type SeenLayer,
} from '#domain/chain.ts';
import { type FileName, type Format, QCOW2, RAW } from '#domain/ids.ts';
import { chain, chains, everyMerge, FORMATS, file, STRANGER, stripped } from '../support/chains.ts';

const every = (holds: (before: Layer) => void) => fc.assert(fc.property(chains, holds));

/** Holds for every chain of up to four layers, with every base, and every merge of it. */
function exhaustively(holds: (before: Layer, merge: Merge) => void): void {
  for (let depth = 1; depth <= 4; depth++) {
    for (const base of FORMATS) {
      const names = ['d', 'c', 'b', 'a'].slice(4 - depth);
      const before = chain(...names.slice(0, -1), `a:${base}`);
      for (const merge of everyMerge(filesOf(before))) holds(before, merge);
    }
  }
}

/** Which files a merge empties, by hand: what lies between the ends that it names. */
function emptied(before: Layer, merge: Merge): readonly FileName[] | null {
  const files = filesOf(before);
  if (merge.kind === 'pull') {
    const onto = merge.onto === null ? files.length : files.indexOf(merge.onto);
    return onto < 1 ? null : files.slice(1, onto);
  }
  const top = files.indexOf(merge.top);
  return top >= 0 && files[top + 1] === merge.into ? [merge.top] : null;
}

function judge(before: Layer, merge: Merge): void {
  const gone = emptied(before, merge);
  const after = afterMerge(before, merge);
  if (gone === null) {
    expect(after).toMatchObject({ ok: false });
    return;
  }
  const left = layersOf(before).filter((layer) => !gone.includes(layer.file));
  const told = after.ok ? layersOf(after.value) : [];
  expect(told.map(({ on, ...layer }) => layer)).toEqual(left.map(({ on, ...layer }) => layer));
}

test('a merge removes what it empties and never touches the format of what is left', () => {
  every((before) => {
    for (const merge of everyMerge(filesOf(before))) judge(before, merge);
  });
  exhaustively(judge);
});

test('a merge leaves the chain it was asked about alone', () => {
  every((before) => {
    const copy = structuredClone(before);
    for (const merge of everyMerge(filesOf(before))) afterMerge(before, merge);
    expect(before).toEqual(copy);
  });
});

test('a merge that cannot be says what is wrong', () => {
  const before = chain('c', 'b', 'a');
  const notThere = { ok: false, error: { kind: 'not-in-chain', file: STRANGER } };
  const [b, c, a] = [file('b'), file('c'), file('a')];
  expect(afterMerge(before, { kind: 'pull', onto: STRANGER })).toMatchObject(notThere);
  expect(afterMerge(before, { kind: 'commit', top: STRANGER, into: a })).toMatchObject(notThere);
  expect(afterMerge(before, { kind: 'commit', top: b, into: STRANGER })).toMatchObject(notThere);
  expect(afterMerge(before, { kind: 'commit', top: c, into: a })).toEqual({
    ok: false,
    error: { kind: 'not-adjacent', top: c, into: a },
  });
});

test('pull away a raw base and the volume is qcow2; commit into it and it stays raw', () => {
  const before = chain('top', 'base');
  const pulled = afterMerge(before, { kind: 'pull', onto: null });
  expect(pulled).toMatchObject({ value: { file: 'top', format: 'qcow2', on: null } });
  const commit = { kind: 'commit', top: file('top'), into: file('base') } as const;
  expect(afterMerge(before, commit)).toMatchObject({
    value: { file: 'base', format: 'raw', on: null },
  });
});

test('a create puts a qcow2 layer on top and changes nothing below, once', () => {
  every((before) => {
    const after = afterCreate(before, STRANGER);
    const overlay = { file: STRANGER, format: 'qcow2', provenance: 'assumed', on: before };
    expect(after).toEqual({ ok: true, value: overlay });
    for (const name of filesOf(before)) {
      const error = { kind: 'already-in-chain', file: name };
      expect(afterCreate(before, name)).toEqual({ ok: false, error });
    }
  });
});

test('a create and the pull of what it stood on leave the overlay alone', () => {
  every((before) => {
    const after = afterCreate(before, STRANGER);
    if (!after.ok) expect.unreachable();
    const pulled = afterMerge(after.value, { kind: 'pull', onto: null });
    expect(pulled).toEqual({ ok: true, value: { ...after.value, on: null } });
  });
});

test('the repointed overlay survives and stands on the rest; nobody else is moved', () => {
  const holds = (before: Layer, merge: Merge): void => {
    const after = afterMerge(before, merge);
    if (!after.ok) return;
    const repointed = repointedBy(before, merge);
    const active = merge.kind === 'commit' && merge.top === before.file;
    expect(repointed === null).toBe(active);
    if (repointed === null) return;
    const survivor = find(after.value, repointed.file);
    const floor = merge.kind === 'pull' ? merge.onto : merge.into;
    expect(survivor?.on?.file ?? null).toBe(floor);
    const rest = layersOf(after.value).filter((layer) => layer.file !== repointed.file);
    for (const layer of rest) {
      expect(layer.on?.file).toBe(find(before, layer.file)?.on?.file);
    }
  };
  exhaustively(holds);
  every((before) => {
    for (const merge of everyMerge(filesOf(before))) holds(before, merge);
  });
});

test('what a merge changed is what Cinder is told of, and all of it is left', () => {
  exhaustively((before, merge) => {
    const after = afterMerge(before, merge);
    if (!after.ok) return;
    const told = changedBy(before, merge);
    for (const name of told) expect(find(after.value, name)).not.toBeNull();
    if (merge.kind === 'commit') expect(told).toEqual([merge.into]);
    else expect(told).toEqual([before.file, merge.onto].filter((name) => name !== null));
  });
});

test('formats come from the live chain, and without them the same ones are assumed', () => {
  const holds = (before: Layer, merge: Merge): void => {
    const after = afterMerge(before, merge);
    if (!after.ok) return;
    const files = changedBy(before, merge);
    const reported = formatsOf(files, after.value, after.value);
    const assumed = formatsOf(files, stripped(after.value), after.value);
    expect(reported.map(({ file: name }) => name)).toEqual(files);
    expect(reported.every(({ provenance }) => provenance === 'reported')).toBe(true);
    expect(assumed).toEqual(reported.map((it) => ({ ...it, provenance: 'assumed' })));
  };
  exhaustively(holds);
  every((before) => {
    for (const merge of everyMerge(filesOf(before))) holds(before, merge);
  });
});

test('of a file that nobody knows nothing is told', () => {
  every((before) => {
    expect(formatsOf([STRANGER], before, before)).toEqual([]);
  });
});

test('the live format wins over the predicted one', () => {
  const [seen, predicted] = [chain('a:vmdk'), chain('a:raw')];
  expect(formatsOf([file('a')], seen, predicted)).toEqual([
    { file: 'a', format: 'vmdk', provenance: 'reported' },
  ]);
});

test('a chain with its formats stripped is completed to the same formats, marked assumed', () => {
  every((before) => {
    const base = layersOf(before).at(-1)!;
    const known = new Map([[base.file, base.format]]);
    const assume = (layer: Layer): Layer => ({
      ...layer,
      provenance: 'assumed',
      on: layer.on && assume(layer.on),
    });
    expect(complete(stripped(before), known)).toEqual({ ok: true, value: assume(before) });
    expect(complete(before, new Map())).toEqual({ ok: true, value: before });
  });
});

test('a file that is not what it was made as is refused, with both formats named', () => {
  every((before) => {
    const layers = layersOf(before);
    const known = new Map([[layers.at(-1)!.file, layers.at(-1)!.format]]);
    for (const [at, { file: name, format: expected }] of layers.entries()) {
      const seen = relabelled(before, at, 'vdi');
      const error = { kind: 'format-differs', file: name, live: 'vdi', expected };
      expect(complete(seen, known)).toEqual({ ok: false, error });
    }
  });
});

test('a base of which nobody knows the format is never guessed', () => {
  every((before) => {
    const base = layersOf(before).at(-1)!;
    const error = { kind: 'unknown-format', file: base.file };
    expect(complete(stripped(before), new Map())).toEqual({ ok: false, error });
  });
});

test('raw has other names in headers, and no other format has one', () => {
  const names = ['raw', 'file', 'host_device', 'nbd', 'qcow2', 'vpc', 'luks', null] as Format[];
  const meaning = (format: Format) => names.filter((said) => means(said, format));
  expect(meaning(RAW)).toEqual(['raw', 'file', 'host_device', 'nbd', 'luks']);
  expect(meaning(QCOW2)).toEqual(['qcow2']);
  expect(meaning('vpc' as Format)).toEqual(['vpc']);
});

test('a chain agrees with itself, with or without formats, and with no other one', () => {
  every((before) => {
    expect(agrees(before, before)).toBe(true);
    expect(agrees(stripped(before), before)).toBe(true);
    expect(agrees(null, before)).toBe(false);
    expect(agrees(before, null)).toBe(false);
    for (const other of variants(before)) expect(agrees(other, before)).toBe(false);
  });
  expect(agrees(null, null)).toBe(true);
});

test('a chain begins like itself in every upper part of it, and in nothing else', () => {
  every((whole) => {
    const files = filesOf(whole);
    for (let depth = 1; depth <= files.length; depth++) {
      const upper = upperPart(whole, depth);
      expect(beginsLike(upper, whole)).toBe(true);
      expect(beginsLike(stripped(upper), whole)).toBe(true);
      expect(beginsLike(whole, upper)).toBe(depth === files.length);
      expect(beginsLike({ ...upper, file: STRANGER }, whole)).toBe(false);
      expect(beginsLike({ ...upper, format: 'vdi' as Layer['format'] }, whole)).toBe(false);
    }
  });
});

test('before and after a merge that empties something never look alike', () => {
  exhaustively((before, merge) => {
    const after = afterMerge(before, merge);
    if (!after.ok) return;
    const alike = emptied(before, merge)?.length === 0;
    expect(agrees(before, after.value)).toBe(alike);
    expect(agrees(stripped(before), after.value)).toBe(alike);
  });
});

test('a file is found exactly when it is in the chain', () => {
  every((before) => {
    for (const layer of layersOf(before)) expect(find(before, layer.file)).toBe(layer);
    expect(find(before, STRANGER)).toBeNull();
    expect(find(before, null)).toBeNull();
    expect(find(null, before.file)).toBeNull();
  });
});

function upperPart(layer: Layer, depth: number): Layer {
  return { ...layer, on: layer.on && depth > 1 ? upperPart(layer.on, depth - 1) : null };
}

/** The chain with another format for its layer number `at`, counted from the active one. */
function relabelled(layer: Layer, at: number, said: string): SeenLayer {
  if (at === 0) return { ...layer, format: said as Layer['format'] };
  return { ...layer, on: layer.on && relabelled(layer.on, at - 1, said) };
}

/** One thing different, in every layer: the file, the format, the length. */
function variants(layer: SeenLayer): readonly SeenLayer[] {
  return [
    { ...layer, file: STRANGER },
    { ...layer, format: 'vdi' as SeenLayer['format'] },
    { ...layer, on: layer.on === null ? layer : null },
    ...(layer.on === null ? [] : variants(layer.on).map((on) => ({ ...layer, on }))),
  ];
}
