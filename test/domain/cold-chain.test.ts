import { describe, expect, test } from 'vitest';
import { filesOf, layersOf } from '#domain/chain.ts';
import { coldChain, DEEPEST, nextToRead } from '#domain/cold-chain.ts';
import { explain } from '#domain/failure.ts';
import { type FileName, QCOW2, RAW } from '#domain/ids.ts';
import { planDelete } from '#domain/plan-delete.ts';
import { err } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';
import { chain, file, format, stripped } from '../support/chains.ts';
import { DELETES } from '../support/scenes.ts';
import { disk, header, headersOf, sight } from '../support/sights.ts';

const long = chain('s3', 's2', 's1', 'v');
const topOnly = { ...long, on: null };
const headers = headersOf(long);
const known = new Map<FileName, typeof RAW>();
const off = (seen = long as Parameters<typeof disk>[0]) => disk(seen, { process: null });
const recorded = (of: typeof long) => new Map(layersOf(of).map((one) => [one.file, one.format]));
const names = (it: ReturnType<typeof coldChain>) =>
  it.ok ? layersOf(it.value).map((layer) => `${layer.file}:${layer.format}`) : it.error;
const WHOLE = ['s3:qcow2', 's2:qcow2', 's1:qcow2', 'v:raw'];

describe.each(DELETES)('a $name of a guest that is off', (it) => {
  test.each([
    ['names the whole chain', it.before],
    ['names the active file alone', { ...it.before, on: null }],
    ['names the upper part', { ...it.before, on: it.before.on && { ...it.before.on, on: null } }],
    ['names no format but the first', { ...stripped(it.before), format: QCOW2 }],
  ])('is planned as that of one that runs, when its XML %s', (_, seen) => {
    const plan = planDelete(
      it.request,
      sight(off(seen), 'deleting', { headers: headersOf(it.before), known: recorded(it.before) }),
    );
    if (!plan.ok) expect.unreachable(explain(plan.error));
    const { merge, repointed, process, before, after } = plan.value;
    expect({ merge, repointed, process }).toEqual({
      merge: it.merge,
      repointed: it.repointed,
      process: null,
    });
    expect([filesOf(before), filesOf(after)]).toEqual([filesOf(it.before), filesOf(it.after)]);
  });
});

test('what the XML names is reported, what only a header names is assumed', () => {
  const cold = coldChain(off({ ...long, on: { ...chain('s2'), format: null } }), {
    headers,
    known,
  });
  if (!cold.ok) expect.unreachable(explain(cold.error));
  expect(names(cold)).toEqual(WHOLE);
  expect(layersOf(cold.value).map((layer) => layer.provenance)).toEqual([
    'reported',
    'assumed',
    'assumed',
    'assumed',
  ]);
});

test('what the XML names is reported, to the last layer', () => {
  const cold = coldChain(off(), { headers, known });
  if (!cold.ok) expect.unreachable(explain(cold.error));
  const provenances = layersOf(cold.value).map((layer) => layer.provenance);
  expect(provenances).toEqual(Array(4).fill('reported'));
});

test('a header that has a format and no name ends the chain', () => {
  const alone = { s1: header()(null, 'raw') };
  expect(names(coldChain(off(chain('s1:qcow2')), { headers: alone, known }))).toEqual(['s1:qcow2']);
});

test('a format that the XML leaves out is assumed, the topmost too', () => {
  const cold = coldChain(off(stripped(long)), { headers, known });
  expect(cold).toMatchObject({ value: { file: 's3', format: QCOW2, provenance: 'assumed' } });
});

test('a base may be qcow2, or what a protocol calls raw, and ends the chain', () => {
  const qcow2 = chain('s1', 'v:qcow2');
  expect(names(coldChain(off(qcow2), { headers: headersOf(qcow2), known }))).toEqual([
    's1:qcow2',
    'v:qcow2',
  ]);
  const protocol = { s1: header()('v', 'file') };
  expect(names(coldChain(off(chain('s1:qcow2')), { headers: protocol, known }))).toEqual([
    's1:qcow2',
    'v:raw',
  ]);
  expect(names(coldChain(off(chain('v')), { headers: {}, known }))).toEqual(['v:raw']);
});

const lie = (name: string, says: HeaderView) => ({ ...headers, [name]: says });
const silent = lie('s2', header()('s1', null));
const missing = err({ kind: 'missing', says: 'it is not there' } as const);

describe('there is no answer', () => {
  test.each<[string, Record<string, HeaderView>, RegExp]>([
    [
      'a header was not read',
      { ...headers, s2: undefined as never },
      /s2 cannot be used.*not read/,
    ],
    ['a header is not there', lie('s2', missing), /s2 cannot be used: it is not there/],
    ['a header names no format', silent, /s2 cannot be used: it names no format for s1/],
    ['a name is a path', lie('s2', header()('/mnt/s1', 'qcow2')), /names \/mnt\/s1, which/],
    ['a name leaves the folder', lie('s2', header()('../s1', 'qcow2')), /names \.\.\/s1, which/],
    ['it bites its tail', lie('s1', header()('s3', 'qcow2')), /s3 is in a chain that does not end/],
    ['data is elsewhere', lie('s1', header({ dataFile: true })('v', 'raw')), /s1 .*another file/],
    ['it is encrypted', lie('s1', header({ encryption: 'luks' })('v', 'raw')), /s1 .*encrypted/],
    ['what is below is', lie('s1', header()('v', 'luks')), /s1 stands on v, which is encrypted/],
    ['it is corrupt', lie('s1', header({ corrupt: true })('v', 'raw')), /s1 .*corrupt/],
    ['the XML says otherwise', lie('s2', header()('v', 'raw')), /the XML has s3 \(qcow2\) on s2/],
    [
      'there are two reasons',
      lie('s1', header({ dataFile: true, corrupt: true })('v', 'raw')),
      /s1 cannot be used: it keeps its data in another file; it is marked corrupt/,
    ],
  ])('when %s', (_, seen, says) => {
    const cold = coldChain(off(), { headers: seen, known });
    if (cold.ok) expect.unreachable();
    expect(cold.error.kind).toBe('broken-chain');
    expect(explain(cold.error)).toMatch(says);
  });

  test('when the record calls a file otherwise than the header above it', () => {
    const was = new Map([[file('v'), QCOW2]]);
    expect(names(coldChain(off(topOnly), { headers, known: was }))).toEqual({
      kind: 'format-differs',
      file: 'v',
      live: RAW,
      expected: QCOW2,
    });
  });

  test('when the XML calls a layer otherwise than the header above it', () => {
    const cold = coldChain(off(chain('s3', 's2', 's1', 'v:vmdk')), { headers, known });
    if (cold.ok) expect.unreachable();
    expect(explain(cold.error)).toContain(
      's3 heads the chain s3 (qcow2) on s2 (qcow2) on s1 (qcow2) on v (raw), and the XML has ' +
        's3 (qcow2) on s2 (qcow2) on s1 (qcow2) on v (vmdk)',
    );
    const silent = coldChain(off(stripped(chain('s3', 's1', 'v'))), { headers, known });
    if (silent.ok) expect.unreachable();
    expect(explain(silent.error)).toMatch(
      /and the XML has s3 \(no format\) on s1 \(no format\) on v \(no format\)(?! on)/,
    );
  });

  test('when it is deeper than libvirt would follow', () => {
    const deep = Array.from({ length: DEEPEST + 1 }, (_, at) => `s${at}`);
    const whole = chain(...deep);
    const cold = coldChain(off({ ...whole, on: null }), { headers: headersOf(whole), known });
    expect(cold.ok).toBe(false);
    const [, ...less] = deep;
    const fits = chain(...less);
    expect(coldChain(off(fits), { headers: headersOf(fits), known }).ok).toBe(true);
  });
});

describe('the next header that may be read', () => {
  const qcow2 = header()('v', 'qcow2');
  const seen = chain('s1:qcow2');
  test.each<[string, HeaderView, typeof long, Map<FileName, typeof RAW>, string | null]>([
    ['is that of a qcow2 file', qcow2, seen, known, 'v'],
    ['is none that is raw', header()('v', 'raw'), seen, known, null],
    ['is none whose format is left out', header()('v', null), seen, known, null],
    ['is none behind a path', header()('/v', 'qcow2'), seen, known, null],
    ['is none where none is named', header()(null, null), seen, known, null],
    ['is none where only a format is', header()(null, 'qcow2'), seen, known, null],
    ['is none of a header that is none', missing, seen, known, null],
    ['is none that is recorded as raw', qcow2, seen, new Map([[file('v'), RAW]]), null],
    ['is none that the XML calls raw', qcow2, chain('s1', 'v'), known, null],
    [
      'is one that all call qcow2',
      qcow2,
      chain('s1', 'v:qcow2'),
      new Map([[file('v'), QCOW2]]),
      'v',
    ],
  ])('%s', (_, says, xml, record, next) => {
    expect(nextToRead(says, xml, record)).toBe(next);
  });

  test('is none of another format', () => {
    expect(nextToRead(header()('v', 'vmdk'), seen, new Map([[file('v'), format('vmdk')]]))).toBe(
      null,
    );
  });
});
