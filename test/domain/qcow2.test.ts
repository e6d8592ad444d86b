import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import type { FlawKind } from '#domain/qcow2.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { FUZZ_TIME, fuzz } from '../support/fuzz.ts';
import {
  AT,
  carelessly,
  cutTo,
  type Extension,
  type FileHead,
  type HeaderFacts,
  luks,
  put32,
  put64,
  qcow2,
  TYPE,
} from '../support/qcow2-bytes.ts';

// 20,000 inputs take a while on a busy machine.
vi.setConfig({ testTimeout: FUZZ_TIME });

const BARE_V2 = qcow2({ version: 2, backing: null, format: null });
const parse = ({ page, fileBytes }: FileHead) => parseHeader(page, fileBytes);
const CLUSTER = 65536;

const name = fc.stringMatching(/^[ -~]{1,40}$/);
const facts = fc
  .record({
    version: fc.constantFrom(2 as const, 3 as const),
    clusterBits: fc.integer({ min: 9, max: 21 }),
    sectors: fc.nat(2 ** 20),
    backing: fc.option(name),
    format: fc.option(fc.constantFrom('raw', 'qcow2', 'vpc', 'vhdx', 'vmdk', 'file', 'RAW')),
    headerLength: fc.constantFrom(104, 112, 120),
    crypt: fc.constantFrom(0, 0, 1),
    snapshots: fc.constantFrom(0, 0, 0, 1, 65536),
    features: fc.constantFrom(0n, 1n, 2n, 4n, 7n),
    extensions: fc.subarray([
      [TYPE.features, 'lazy'.padEnd(48)] as const,
      [TYPE.dataFile, 'elsewhere'] as const,
      [0x1234, 'unknown to all'] as const,
    ]),
  })
  .map(({ sectors, features, ...rest }): HeaderFacts & { readonly size: number } => ({
    ...rest,
    size: sectors * 512,
    incompatible: rest.version === 3 ? features : 0n,
  }));

test('a header says what was written into it', () => {
  fc.assert(
    fc.property(facts, (wrote) => {
      const incompatible = wrote.incompatible ?? 0n;
      const dataFile = wrote.extensions?.some(([type]) => type === TYPE.dataFile);
      expect(parse(qcow2(wrote))).toEqual({
        ok: true,
        value: {
          version: wrote.version,
          clusterBits: wrote.clusterBits,
          size: wrote.size,
          backingFile: wrote.backing,
          backingFormat: wrote.format,
          encryption: wrote.crypt === 1 ? 'aes' : 'none',
          dataFile: (incompatible & 4n) !== 0n || dataFile,
          dirty: (incompatible & 1n) !== 0n,
          corrupt: (incompatible & 2n) !== 0n,
          snapshots: wrote.snapshots,
          bitmaps: false,
          headerLength: wrote.version === 2 ? 72 : wrote.headerLength,
          fileBytes: qcow2(wrote).fileBytes,
        },
      });
    }),
    { numRuns: 1000 },
  );
});

test('a page that lies anywhere in its buffer reads the same', () => {
  const { page, fileBytes } = qcow2();
  const buffer = new Uint8Array(page.length + 13);
  buffer.set(page, 13);
  expect(parseHeader(buffer.subarray(13), fileBytes)).toEqual(parseHeader(page, fileBytes));
});

const flawed: Partial<Record<FlawKind, Record<string, FileHead>>> = {
  'too-short': {
    'no bytes at all': cutTo(qcow2(), 0),
    'one byte less than a v2 header': cutTo(qcow2({ version: 2 }), 71),
    'a v2 header that says v3': cutTo(qcow2(), 80),
    'a header that ends inside itself': cutTo(qcow2({ headerLength: 112 }), 108),
  },
  'not-qcow2': { 'another magic': put32(qcow2(), AT.magic, 0x514649fa) },
  version: {
    'version 1': put32(qcow2(), AT.version, 1),
    'version 4, which is probed as qcow2': put32(qcow2(), AT.version, 4),
  },
  'cluster-size': {
    'clusters of 256 bytes': put32(qcow2(), AT.clusterBits, 8),
    'clusters of 4 MiB': put32(qcow2(), AT.clusterBits, 22),
    'clusters of 2^4294967295 bytes': put32(qcow2(), AT.clusterBits, 2 ** 32 - 1),
  },
  'header-length': {
    'too short for v3': put32(qcow2(), AT.headerLength, 96),
    'not a multiple of 8': put32(qcow2(), AT.headerLength, 108),
    'longer than a cluster': put32(qcow2({ clusterBits: 9 }), AT.headerLength, 520),
    'longer than we read': put32(qcow2(), AT.headerLength, 4104),
  },
  size: { 'more than a number holds': put64(qcow2(), AT.size, 2n ** 53n) },
  encryption: { 'method 3': put32(qcow2(), AT.crypt, 3) },
  features: {
    'bit 5': qcow2({ incompatible: 32n }),
    'bit 63': qcow2({ incompatible: 2n ** 63n }),
    'extended L2 entries with small clusters': qcow2({ incompatible: 16n, clusterBits: 13 }),
  },
  tables: {
    'refcount order 7': put32(qcow2(), AT.refcountOrder, 7),
    'an L1 table too small for the size': put64(qcow2(), AT.size, 2n ** 40n),
    'an L1 table half of what extended L2 needs': put64(
      qcow2({ size: 2 ** 30, incompatible: 16n }),
      AT.size,
      2n ** 30n + 512n,
    ),
    'an L1 table above 32 MiB': put32(qcow2(), AT.l1Size, 2 ** 22 + 1),
    'an L1 table between clusters': put64(qcow2(), AT.l1Offset, 3n * 65536n + 8n),
    'an L1 table over the header': put64(qcow2(), AT.l1Offset, 0n),
    'an L1 table behind the file': put64(qcow2(), AT.l1Offset, 4n * 65536n),
    'an L1 table at the end of the world': put64(qcow2(), AT.l1Offset, 2n ** 64n - 65536n),
    'an L1 table cut off by the file': { ...qcow2(), fileBytes: 3 * CLUSTER + 7 },
    'no refcount table': put32(qcow2(), AT.refcountClusters, 0),
    'a refcount table above 8 MiB': put32(qcow2(), AT.refcountClusters, 129),
    'a refcount table between clusters': put64(qcow2(), AT.refcountOffset, 65537n),
    'a refcount table over the header': put64(qcow2(), AT.refcountOffset, 0n),
    'a refcount table behind the file': put64(qcow2(), AT.refcountOffset, 8n * 65536n),
    'more snapshots than QEMU reads': qcow2({ snapshots: 65537 }),
    'a snapshot table behind the file': put64(
      qcow2({ snapshots: 1 }),
      AT.snapshotsOffset,
      4n * 65536n,
    ),
  },
  'backing-name': {
    'an offset without a size': put32(qcow2(), AT.backingSize, 0),
    'inside the header': put64(qcow2(), AT.backingOffset, 104n),
    'behind the first cluster': put64(qcow2(), AT.backingOffset, 65537n),
    'over the end of the first cluster': put64(qcow2(), AT.backingOffset, 65536n),
    'longer than 1023 bytes': put32(qcow2(), AT.backingSize, 1024),
    'a NUL that cuts it for QEMU': qcow2({ backing: 'base\0/etc/passwd' }),
    'a line break': qcow2({ backing: 'base\nbase' }),
    'an escape': qcow2({ backing: '\x1b[2J' }),
    'bytes above ASCII': qcow2({ backing: 'v\xe9' }),
    'cut off by the page': shorter(qcow2({ backing: 'longer' }), 140),
  },
  extensions: {
    'the format twice': qcow2({ extensions: [[TYPE.format, 'qcow2']] }),
    'the same format twice': qcow2({ extensions: [[TYPE.format, 'raw']] }),
    'an unknown one twice': qcow2({ extensions: twice([0x1234, 'x']) }),
    'one longer than QEMU would hold for us': qcow2({ extensions: [[0x1234, 'x'.repeat(4097)]] }),
    'more than 32': qcow2({ extensions: range(32).map((at) => [0x1000 + at, ''] as const) }),
    'an end with a length': put32(qcow2({ format: null }), 116, 8),
    'one that reaches over the backing name': put32(qcow2(), 116, 64),
    'no end before the backing name': put64(put32(qcow2(), 128, 0x76 << 24), 8, 128n),
    'no end before the page does': shorter(qcow2({ backing: null }), 128),
  },
  'backing-format': {
    'a NUL that cuts it for QEMU': qcow2({ format: 'raw\0qcow2' }),
    'a NUL behind it': qcow2({ format: 'raw\0' }),
    'more than 15 bytes': qcow2({ format: 'x'.repeat(16) }),
    'a byte that is no letter': qcow2({ format: 'raw\n' }),
  },
};

describe.each(Object.entries(flawed))('%s', (kind, vectors) => {
  test.each(Object.entries(vectors))('%s', (_, head) => {
    expect(parse(head)).toMatchObject({ ok: false, error: { kind } });
  });
});

/** Where one flaw ends and the next begins, each in its own words. */
const borders: readonly [FileHead, FlawKind, string][] = [
  [shorter(BARE_V2, 71), 'too-short', 'it is only 71 bytes long'],
  [shorter(BARE_V2, 72), 'extensions', 'its header extensions do not end'],
  [shorter(qcow2({ headerLength: 104 }), 103), 'too-short', 'its header is cut off'],
  [
    shorter(qcow2({ headerLength: 104, backing: null }), 104),
    'extensions',
    'its header extensions do not end',
  ],
  [shorter(qcow2(), 111), 'too-short', 'its header is cut off'],
  [shorter(qcow2({ backing: null }), 112), 'extensions', 'its header extensions do not end'],
  [shorter(qcow2({ backing: null }), 127), 'extensions', 'a header extension is cut off'],
  [shorter(qcow2({ backing: null }), 128), 'extensions', 'its header extensions do not end'],
  [put64(qcow2(), AT.size, 2n ** 53n), 'size', 'its virtual size is 9007199254740992 bytes'],
  [
    put64(qcow2(), AT.size, 2n ** 53n - 1n),
    'size',
    'its virtual size is 9007199254740991 bytes, no whole sectors',
  ],
  [
    qcow2({ incompatible: 2n ** 63n }),
    'features',
    'it has unknown feature bits 0x8000000000000000',
  ],
  [put64(qcow2(), AT.l1Offset, 65544n), 'tables', 'its L1 table is not aligned to a cluster'],
  [put64(qcow2(), AT.l1Offset, 0n), 'tables', 'its L1 table lies over the header'],
  [
    put64(qcow2(), AT.backingOffset, 111n),
    'backing-name',
    'its backing name lies inside the header',
  ],
  [put64(qcow2(), AT.backingOffset, 112n), 'backing-name', 'its backing name is not plain text'],
  [put64(qcow2(), AT.backingOffset, 65536n), 'backing-name', 'its backing name has 1 bytes'],
  [
    put64(qcow2(), AT.backingOffset, 65537n),
    'backing-name',
    'its backing name lies outside the first cluster',
  ],
];

test.each(borders)('a flaw is called by its own name (%#)', (head, kind, says) => {
  expect(parse(head)).toEqual({ ok: false, error: { kind, says } });
});

test('a v2 header ends where it ends', () => {
  expect(parse(shorter(BARE_V2, 80)).ok).toBe(true);
});

const NAMED = qcow2({ clusterBits: 9, backing: 'x'.repeat(400) });
const NAME_AT = 112 + 16 + 8;
const roomy = (head: FileHead): FileHead => ({ ...head, fileBytes: 2 ** 40 });
/** On each limit the last that is accepted, and the first that is not, with the words for it. */
const limits: readonly [string, FileHead, FileHead, RegExp][] = [
  [
    'the refcount order',
    put32(qcow2(), AT.refcountOrder, 6),
    put32(qcow2(), AT.refcountOrder, 7),
    /^its refcount order is 7$/,
  ],
  [
    'the L1 table',
    roomy(put32(qcow2(), AT.l1Size, 2 ** 22)),
    roomy(put32(qcow2(), AT.l1Size, 2 ** 22 + 1)),
    /^its L1 table has 4194305 entries$/,
  ],
  [
    'the L1 table for the size',
    put64(qcow2(), AT.size, 2n ** 29n),
    put64(qcow2(), AT.size, 2n ** 29n + 512n),
    /^its L1 table is too small for its size$/,
  ],
  [
    'the refcount table',
    roomy(put32(qcow2(), AT.refcountClusters, 128)),
    roomy(put32(qcow2(), AT.refcountClusters, 129)),
    /^its refcount table has 129 clusters$/,
  ],
  [
    'the end of the file',
    qcow2(),
    { ...qcow2(), fileBytes: qcow2().fileBytes - 1 },
    /^its L1 table lies outside the file$/,
  ],
  [
    'internal snapshots',
    qcow2({ snapshots: 65536 }),
    qcow2({ snapshots: 65537 }),
    /^it has 65537 internal snapshots$/,
  ],
  [
    'the first byte of the snapshot table',
    {
      ...put64(qcow2({ snapshots: 1 }), AT.snapshotsOffset, 4n * 65536n),
      fileBytes: 4 * CLUSTER + 1,
    },
    { ...put64(qcow2({ snapshots: 1 }), AT.snapshotsOffset, 4n * 65536n), fileBytes: 4 * CLUSTER },
    /^its snapshot table lies outside the file$/,
  ],
  [
    'the length of the backing name',
    qcow2({ backing: 'x'.repeat(1023) }),
    qcow2({ backing: 'x'.repeat(1024) }),
    /^its backing name has 1024 bytes$/,
  ],
  [
    'the end of the first cluster',
    put32(NAMED, AT.backingSize, 512 - NAME_AT),
    put32(NAMED, AT.backingSize, 512 - NAME_AT + 1),
    /^its backing name has 377 bytes$/,
  ],
  [
    'the end of the page',
    shorter(qcow2({ backing: 'longer' }), NAME_AT + 6),
    shorter(qcow2({ backing: 'longer' }), NAME_AT + 5),
    /^its backing name is cut off$/,
  ],
  [
    'the length of the format',
    qcow2({ format: 'x'.repeat(15) }),
    qcow2({ format: 'x'.repeat(16) }),
    /^its backing format is not a name$/,
  ],
  [
    'the number of extensions',
    qcow2({ format: null, extensions: range(32).map((at) => [0x1000 + at, ''] as const) }),
    qcow2({ format: null, extensions: range(33).map((at) => [0x1000 + at, ''] as const) }),
    /^it has more than 32 header extensions$/,
  ],
  [
    'the length of an extension',
    qcow2({ extensions: [[0x1234, 'x'.repeat(4096)]] }),
    qcow2({ extensions: [[0x1234, 'x'.repeat(4097)]] }),
    /^a header extension has 4097 bytes$/,
  ],
  [
    'the length of the names of features',
    qcow2({ extensions: [[TYPE.features, 'x'.repeat(9216)]] }),
    qcow2({ extensions: [[TYPE.features, 'x'.repeat(9217)]] }),
    /^a header extension has 9217 bytes$/,
  ],
  [
    'the letters of a name',
    qcow2({ backing: ' ~' }),
    qcow2({ backing: ' \x7f' }),
    /^its backing name is not plain text$/,
  ],
  [
    'the length of a header',
    qcow2({ headerLength: 4096 }),
    qcow2({ headerLength: 4104 }),
    /^its header claims 4104 bytes$/,
  ],
];

test.each(limits)('%s has its limit', (_, last, first, words) => {
  expect(parse(last)).toMatchObject({ ok: true });
  expect(parse(first)).toMatchObject({ ok: false, error: { says: expect.stringMatching(words) } });
});

test.each<[string, FileHead]>([
  ['of no bytes', qcow2({ format: '' })],
  ['that is not there', qcow2({ format: null })],
  ['after the end', qcow2({ format: null, afterEnd: [[TYPE.format, 'raw']] })],
  [
    'after the end, in a v2 header',
    qcow2({ version: 2, format: null, afterEnd: [[TYPE.format, 'raw']] }),
  ],
])('a format %s is no format, for QEMU would probe', (_, head) => {
  expect(parse(head)).toMatchObject({ ok: true, value: { backingFormat: null } });
});

test('a format beyond the backing name is never believed', () => {
  // The name lies where the format extension began; what follows is beyond it.
  const head = put64(qcow2({ extensions: [[0x1234, '']] }), AT.backingOffset, 112n);
  expect(parse(head).ok).toBe(false);
  const beyond = put64(qcow2({ format: null, afterEnd: [[TYPE.format, 'raw']] }), 8, 120n);
  const found = parse(put32(beyond, AT.backingSize, 1));
  expect(found.ok && found.value.backingFormat !== null).toBe(false);
});

test('the case of a format is kept: QEMU tells raw from RAW', () => {
  expect(parse(qcow2({ format: 'RAW' }))).toMatchObject({ value: { backingFormat: 'RAW' } });
});

test('a v2 header has no feature bits, whatever stands where v3 has them', () => {
  const head = qcow2({ version: 2, extensions: [[TYPE.dataFile, 'x']] });
  expect(parse(head)).toMatchObject({ value: { dirty: false, corrupt: false, dataFile: true } });
});

test('extended L2 entries are accepted where QEMU accepts them', () => {
  expect(parse(qcow2({ incompatible: 16n, clusterBits: 14 })).ok).toBe(true);
});

test('a LUKS pointer means encrypted, and bitmaps are noticed', () => {
  const it = parse(qcow2({ crypt: 2, extensions: [luks()] }));
  expect(it).toMatchObject({ value: { encryption: 'luks' } });
  const bitmaps = parse(qcow2({ extensions: [[TYPE.bitmaps, '\0'.repeat(24)]] }));
  expect(bitmaps).toMatchObject({ value: { bitmaps: true } });
});

test.each([1n, 2n ** 24n])('a LUKS header of %i bytes is within the limits', (length) => {
  const head = roomy(qcow2({ crypt: 2, extensions: [luks(65_536n, length)] }));
  expect(parse(head)).toMatchObject({ value: { encryption: 'luks' } });
});

/** QEMU refuses the first three itself; the others are limits of our own. */
test.each<[string, Extension, RegExp]>([
  ['is longer than one', [TYPE.luks, '\0'.repeat(24)], /pointer of 24 bytes$/],
  ['is empty', [TYPE.luks, ''], /pointer of 0 bytes$/],
  ['leads between clusters', luks(65_537n), /not aligned to a cluster$/],
  ['leads to the header', luks(0n), /lies over the header$/],
  ['leads outside the file', luks(2n ** 40n), /lies outside the file$/],
  ['leads over the end of the file', luks(65_536n, 2n ** 20n), /lies outside the file$/],
  ['leads to nothing', luks(65_536n, 0n), /has 0 bytes$/],
  ['leads to more than any LUKS header has', luks(65_536n, 2n ** 24n + 1n), /16777217 bytes$/],
  ['leads to more than a number holds', luks(65_536n, 2n ** 64n - 1n), /bytes$/],
])('a LUKS pointer that %s is not believed', (_, extension, says) => {
  const found = parse(qcow2({ crypt: 2, extensions: [extension] }));
  const error = { kind: 'encryption', says: expect.stringMatching(says) };
  expect(found).toEqual({ ok: false, error });
});

/** Each was refused, or read differently, by QEMU 7.2.22; and what we say of it. */
const refusedByQemu: readonly [string, FileHead, FlawKind, RegExp][] = [
  [
    'a size that is no multiple of 512, which QEMU rounds down',
    put64(qcow2(), AT.size, 1000n),
    'size',
    /size is 1000 bytes, no whole sectors$/,
  ],
  ['the compression bit over zlib', qcow2({ incompatible: 8n }), 'features', /type is 0$/],
  [
    'the compression bit in a header without the field',
    qcow2({ incompatible: 8n, headerLength: 104 }),
    'features',
    /type is 0$/,
  ],
  ['zstd without the compression bit', qcow2({ compression: 1 }), 'features', /type is 1$/],
  [
    'a compression that nobody knows',
    qcow2({ incompatible: 8n, compression: 2 }),
    'features',
    /type is 2$/,
  ],
  ['the same without the bit', qcow2({ compression: 2 }), 'features', /type is 2$/],
  [
    'an empty snapshot table between clusters',
    put64(qcow2(), AT.snapshotsOffset, 1n),
    'tables',
    /^its snapshot table is not aligned to a cluster$/,
  ],
  [
    'an empty snapshot table at the end of the world',
    put64(qcow2(), AT.snapshotsOffset, 2n ** 64n - 65536n),
    'tables',
    /^its snapshot table lies outside the file$/,
  ],
  [
    'a bitmap extension of another length',
    qcow2({ extensions: [[TYPE.bitmaps, '12345678']] }),
    'extensions',
    /bitmap extension has another length$/,
  ],
  [
    'bitmaps in use of which there are none',
    put64(qcow2({ extensions: [[TYPE.bitmaps, '\0'.repeat(24)]] }), AT.autoclear, 1n),
    'extensions',
    /no bitmaps in use$/,
  ],
  [
    'a LUKS pointer in a file that is not encrypted',
    qcow2({ extensions: [luks()] }),
    'encryption',
    /disagree$/,
  ],
  [
    'LUKS without a pointer, on which qemu-img aborts',
    qcow2({ crypt: 2 }),
    'encryption',
    /disagree$/,
  ],
];

test.each(refusedByQemu)('what QEMU refuses we refuse: %s', (_, head, kind, says) => {
  expect(parse(head)).toEqual({ ok: false, error: { kind, says: expect.stringMatching(says) } });
});

test('bitmaps that are in use are noticed like others', () => {
  const one = `\0\0\0\x01${'\0'.repeat(20)}`;
  const head = put64(qcow2({ extensions: [[TYPE.bitmaps, one]] }), AT.autoclear, 1n);
  expect(parse(head)).toMatchObject({ ok: true, value: { bitmaps: true } });
});

test('zstd with its bit is accepted', () => {
  expect(parse(qcow2({ incompatible: 8n, compression: 1 })).ok).toBe(true);
});

const nasty32 = fc.oneof(
  fc.constantFrom(0, 1, 7, 8, 15, 16, 72, 103, 104, 1023, 1024, 65535, 65536, 65537, 2 ** 31),
  fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  fc.constantFrom(...Object.values(TYPE)),
);
const mutation = fc.oneof(
  fc.tuple(fc.nat(200), fc.nat(255)).map(([at, byte]) => (head: FileHead) => {
    const page = head.page.slice();
    page[at] = byte;
    return { ...head, page };
  }),
  fc.tuple(fc.nat(50), nasty32).map(([at, value]) => (head: FileHead) => {
    return put32(head, at * 4, value);
  }),
  fc.tuple(fc.nat(25), fc.nat(200)).map(([at, value]) => (head: FileHead) => {
    return put64(head, at * 8, BigInt(value));
  }),
  fc.nat(400).map((bytes) => (head: FileHead) => cutTo(head, bytes)),
);
const mutated = fc
  .tuple(facts, fc.array(mutation, { minLength: 1, maxLength: 4 }))
  .map(([wrote, mutations]) =>
    mutations.reduce((head, mutate) => mutate(head), shorter(qcow2(wrote), 1024)),
  );
const noise = fc
  .tuple(fc.uint8Array({ maxLength: 512 }), fc.boolean(), fc.nat(2 ** 20))
  .map(([page, magic, fileBytes]): FileHead => {
    const head = { page, fileBytes: Math.max(page.length, fileBytes) };
    return magic ? put32(put32(head, 0, 0x514649fb), 4, 3) : head;
  });

const PLAIN = /^[ -~]{1,1023}$/;

test('any bytes give facts or one flaw with a clause, never an exception', () => {
  fc.assert(
    fc.property(fc.oneof(mutated, mutated, noise), (head) => {
      const found = parse(head);
      if (!found.ok) {
        expect(found.error.says).toMatch(/^(it|its|the|a) [ -~]+$/);
        return;
      }
      const { value } = found;
      expect(Number.isSafeInteger(value.size)).toBe(true);
      if (value.backingFile !== null) expect(value.backingFile).toMatch(PLAIN);
      if (value.backingFormat !== null) expect(value.backingFormat).toMatch(/^[ -~]{1,15}$/);
    }),
    { numRuns: fuzz() },
  );
});

test('what is accepted can never be read in two ways', () => {
  fc.assert(
    fc.property(mutated, (head) => {
      const found = parse(head);
      if (!found.ok) return;
      for (const wins of ['first', 'last'] as const) {
        expect(carelessly(head, wins)).toEqual({
          size: BigInt(found.value.size),
          backing: found.value.backingFile,
          format: found.value.backingFormat,
        });
      }
    }),
    { numRuns: fuzz() },
  );
});

/** The page as a reader gets it who reads less of it. */
function shorter(head: FileHead, bytes: number): FileHead {
  return { ...head, page: head.page.slice(0, bytes) };
}

function twice<T>(it: T): readonly T[] {
  return [it, it];
}

function range(count: number): readonly number[] {
  return Array.from({ length: count }, (_, at) => at);
}
