import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type HeaderExpectation,
  judgeHeader,
  judgeOverlay,
  type OverlayExpectation,
} from '#domain/overlay.ts';
import type { HeaderFlaw, Qcow2Header } from '#domain/qcow2.ts';
import { err, ok } from '#domain/result.ts';
import { file, format } from '../support/chains.ts';

const EXPECTED: OverlayExpectation = {
  backing: file('s1'),
  format: format('raw'),
  size: 4096,
  encrypted: false,
};
const GOOD: Qcow2Header = {
  version: 3,
  clusterBits: 16,
  size: 4096,
  backingFile: 's1',
  backingFormat: format('raw'),
  encryption: 'none',
  dataFile: false,
  dirty: false,
  corrupt: false,
  snapshots: 0,
  bitmaps: false,
  headerLength: 112,
  fileBytes: 196_624,
};

const judge = (says: Partial<Qcow2Header>) => judgeOverlay(ok({ ...GOOD, ...says }), EXPECTED);

test('a header that says what it must is accepted', () => {
  expect(judge({})).toEqual({ verdict: 'accepted' });
  expect(judge({ version: 2, clusterBits: 9, headerLength: 72 })).toEqual({ verdict: 'accepted' });
});

/** Every way in which a header may not be good enough, and the words for it. */
const fatal: readonly [Partial<Qcow2Header>, HeaderFlaw['kind'], RegExp][] = [
  [{ backingFile: null }, 'backing-name', /names no backing file, and the guest writes to s1$/],
  [{ backingFile: 'S1' }, 'backing-name', /names S1,/],
  [{ backingFile: '/mnt/s1' }, 'backing-name', /names \/mnt\/s1,/],
  [{ backingFile: './s1' }, 'backing-name', /names \.\/s1,/],
  [{ backingFile: 'json:{"driver":"file"}' }, 'backing-name', /names json:/],
  [{ backingFile: 'nbd://10.0.0.1' }, 'backing-name', /names nbd:/],
  [{ size: 4095 }, 'size', /size is 4095, and the disk's 4096$/],
  [{ size: 8192 }, 'size', /size is 8192, and the disk's 4096$/],
  [{ dataFile: true }, 'data-file', /data in another file$/],
  [{ encryption: 'luks' }, 'encryption', /encrypted, and the volume is not$/],
  [{ snapshots: 3 }, 'snapshots', /3 internal snapshots$/],
  [{ bitmaps: true }, 'extensions', /dirty bitmaps$/],
  [{ corrupt: true }, 'state', /corrupt$/],
  [{ dirty: true }, 'state', /dirty/],
];

describe('refused', () => {
  test.each(fatal)('%j', (says, kind, words) => {
    const flaw = { kind, says: expect.stringMatching(words) };
    expect(judge(says)).toEqual({ verdict: 'refused', reasons: [flaw] });
  });

  test('a header that is no header, for that one reason', () => {
    const flaw: HeaderFlaw = { kind: 'not-qcow2', says: 'it is not a qcow2 file' };
    expect(judgeOverlay(err(flaw), EXPECTED)).toEqual({ verdict: 'refused', reasons: [flaw] });
  });
});

test.each([
  [null, /calls s1 nothing, and the guest has it as raw$/],
  ['qcow2', /calls s1 qcow2, and the guest has it as raw$/],
  ['RAW', /calls s1 RAW/],
  ['file', /calls s1 file/],
])('mendable: only the format is another one: %s', (said, words) => {
  const backingFormat = said === null ? null : format(said);
  expect(judge({ backingFormat })).toEqual({
    verdict: 'mendable',
    reasons: [{ kind: 'backing-format', says: expect.stringMatching(words) }],
  });
});

test('every reason is given, and one fatal one is enough to refuse', () => {
  const wrongFormat: Partial<Qcow2Header> = { backingFormat: format('qcow2') };
  const all = [...fatal.filter(([, kind]) => kind !== 'backing-name' && kind !== 'size')];
  fc.assert(
    fc.property(fc.subarray(all), fc.boolean(), (chosen, alsoFormat) => {
      const says = Object.assign({}, ...chosen.map(([one]) => one));
      const verdict = judge({ ...says, ...(alsoFormat ? wrongFormat : {}) });
      const reasons = verdict.verdict === 'accepted' ? [] : verdict.reasons;
      const kinds = chosen.map(([, kind]) => kind);
      expect(reasons.map(({ kind }) => kind)).toEqual(
        alsoFormat ? [...kinds, 'backing-format'] : kinds,
      );
      const expected = chosen.length > 0 ? 'refused' : alsoFormat ? 'mendable' : 'accepted';
      expect(verdict.verdict).toBe(expected);
    }),
  );
});

test('whatever a header says, what is accepted is what was expected', () => {
  const some = fc.record({
    size: fc.constantFrom(4096, 4097, 0),
    backingFile: fc.constantFrom('s1', 's1', 's2', null),
    backingFormat: fc.constantFrom(format('raw'), format('raw'), format('qcow2'), null),
    dataFile: fc.boolean(),
    encryption: fc.constantFrom('none' as const, 'none' as const, 'luks' as const, 'aes' as const),
    dirty: fc.boolean(),
    corrupt: fc.boolean(),
    snapshots: fc.constantFrom(0, 0, 1),
    bitmaps: fc.constantFrom(false, false, true),
  });
  fc.assert(
    fc.property(some, (says) => {
      const { verdict } = judge(says);
      const { dataFile, encryption, dirty, corrupt, snapshots, bitmaps } = says;
      const odd = dataFile || encryption !== 'none' || dirty || corrupt || bitmaps;
      const clean = !odd && snapshots === 0;
      const whole = clean && says.backingFile === 's1' && says.size === 4096;
      const named = says.backingFormat === 'raw';
      expect(verdict).toBe(whole ? (named ? 'accepted' : 'mendable') : 'refused');
    }),
    { numRuns: 500 },
  );
});

test('AES of old is refused, over whatever volume', () => {
  const says = 'it is encrypted with AES, which QEMU no longer does';
  const reasons = [{ kind: 'encryption', says }];
  expect(judge({ encryption: 'aes' })).toEqual({ verdict: 'refused', reasons });
});

describe('over an encrypted volume', () => {
  const over = (says: Partial<Qcow2Header>, backing = 'raw') =>
    judgeOverlay(ok({ ...GOOD, encryption: 'luks', ...says }), {
      ...EXPECTED,
      format: format(backing),
      encrypted: true,
    });

  test('an overlay with LUKS is accepted, and a plain one would be read by everybody', () => {
    expect(over({})).toEqual({ verdict: 'accepted' });
    const says = 'it is not encrypted, and the volume is';
    const reasons = [{ kind: 'encryption', says }];
    expect(over({ encryption: 'none' })).toEqual({ verdict: 'refused', reasons });
    expect(over({ encryption: 'aes' })).toMatchObject({ verdict: 'refused' });
  });

  test('what libvirt calls raw may be called luks, as QEMU does, and nothing else may', () => {
    expect(over({ backingFormat: format('luks') })).toEqual({ verdict: 'accepted' });
    expect(over({ backingFormat: format('luks') }, 'qcow2').verdict).toBe('mendable');
    expect(over({ backingFormat: format('qcow2') }).verdict).toBe('mendable');
    const plain = { ...GOOD, backingFormat: format('luks') };
    expect(judgeOverlay(ok(plain), EXPECTED).verdict).toBe('mendable');
  });
});

/** What somebody knows of the backing file, what the header says, and what comes of it. */
const partly: readonly [HeaderExpectation, Partial<Qcow2Header>, string, string?][] = [
  [{}, {}, 'accepted'],
  [{}, { size: 1, backingFile: 's2', backingFormat: format('vmdk') }, 'accepted'],
  [{}, { backingFile: null, backingFormat: null }, 'accepted'],
  [
    {},
    { backingFormat: null },
    'mendable',
    'it names no format for s1: whoever opens it would probe',
  ],
  [{ size: 1 }, {}, 'refused', "its virtual size is 4096, and the disk's 1"],
  [{ size: 0 }, {}, 'refused', "its virtual size is 4096, and the disk's 0"],
  [{ backing: null }, { backingFile: null, backingFormat: null }, 'accepted'],
  [{ backing: null }, {}, 'refused', 'it names s1, and it must name none'],
  [{ backing: null }, { backingFormat: null }, 'refused', 'it names s1, and it must name none'],
  [{ backing: 's2' }, {}, 'refused', 'it names s1, and the guest writes to s2'],
  [{ backing: 's1' }, {}, 'accepted'],
  [
    { backing: 's1' },
    { backingFormat: null },
    'mendable',
    'it names no format for s1: whoever opens it would probe',
  ],
  [
    { backing: 's1', format: 'raw' },
    { backingFormat: null },
    'mendable',
    'it calls s1 nothing, and the guest has it as raw',
  ],
  [{ format: 'raw' }, { backingFile: null, backingFormat: null }, 'accepted'],
  [{ format: 'qcow2' }, {}, 'mendable', 'it calls s1 raw, and the guest has it as qcow2'],
];

test.each(partly)(
  'of a header as much is judged as is known: %j, %j: %s',
  (known, says, verdict, words) => {
    const found = judgeHeader(ok({ ...GOOD, ...says }), known);
    expect(found.verdict).toBe(verdict);
    const said = found.verdict === 'accepted' ? [] : found.reasons.map((one) => one.says);
    expect(said).toEqual(words === undefined ? [] : [words]);
  },
);
