import type { FlawKind } from '#domain/qcow2.ts';
import {
  AT,
  cutTo,
  type Extension,
  type FileHead,
  type HeaderFacts,
  luks,
  put32,
  put64,
  qcow2,
  TYPE,
} from './qcow2-bytes.ts';

/**
 * Malformed and hostile qcow2 headers, each built from the layout in QEMU's docs/interop/qcow2,
 * with the verdict on it as an overlay that must stand on `v` (raw, 8 MiB).
 */
export interface Vector {
  readonly name: string;
  readonly head: FileHead;
  readonly verdict: 'accepted' | 'mendable' | 'refused';
  /** The first reason's kind; null when it is accepted. */
  readonly kind: FlawKind | null;
}

export const EXPECTED = { backing: 'v', format: 'raw', size: 2 ** 23 } as const;

const CLUSTER = 65_536n;
const FAR = 2n ** 64n - CLUSTER;
type Heads = Readonly<Record<string, FileHead>>;

const named = (backing: string): FileHead => qcow2({ backing });
const called = (format: string | null): FileHead => qcow2({ format });
const with32 = (at: number, value: number, facts: HeaderFacts = {}) =>
  put32(qcow2(facts), at, value);
const with64 = (at: number, value: bigint, facts: HeaderFacts = {}) =>
  put64(qcow2(facts), at, value);
const extended = (...extensions: Extension[]): FileHead => qcow2({ extensions });
const withByte = (at: number, byte: number): FileHead => {
  const head = qcow2();
  const page = head.page.slice();
  page[at] = byte;
  return { ...head, page };
};
/** One head for each value, named after it. */
function each<T>(values: readonly T[], name: (it: T) => string, head: (it: T) => FileHead): Heads {
  return Object.fromEntries(values.map((it) => [name(it), head(it)]));
}

/** All is right, whatever it looks like. */
const accepted: Heads = {
  'as qemu-img create makes it': qcow2(),
  'version 2': qcow2({ version: 2 }),
  'a header of 104 bytes': qcow2({ headerLength: 104 }),
  'a header longer than any known': qcow2({ headerLength: 4096 }),
  'clusters of 512 bytes': qcow2({ clusterBits: 9 }),
  'clusters of 2 MiB': qcow2({ clusterBits: 21 }),
  'extended L2 entries': qcow2({ incompatible: 16n }),
  'zstd, with its bit': qcow2({ incompatible: 8n, compression: 1 }),
  'lazy refcounts': with64(80, 1n),
  'compatible bits that nobody knows': with64(80, 2n ** 63n),
  'autoclear bits that nobody knows': with64(AT.autoclear, 2n ** 62n),
  'an L1 table larger than needed': {
    ...with32(AT.l1Size, 512),
    fileBytes: 4 * 65_536,
  },
  'a table of feature names': extended([TYPE.features, 'lazy'.padEnd(48, '\0')]),
  'a table of 192 feature names': extended([TYPE.features, '\0'.repeat(9216)]),
  'an extension that nobody knows': extended([0x5a5a5a5a, 'whatever']),
  'an unknown extension of no bytes': extended([0x5a5a5a5a, '']),
  'a one-byte extension with its padding': extended([0x5a5a5a5a, 'x']),
  '31 extensions': extended(...Array.from({ length: 31 }, (_, at) => [0x1000 + at, ''] as const)),
  'reserved bytes behind the compression type': withByte(105, 0xff),
  'extensions after the end': qcow2({ afterEnd: [[TYPE.dataFile, '/etc/passwd']] }),
};

/** Only the format is another one, or none that QEMU would use. */
const mendable: Heads = {
  ...each(
    ['qcow2', 'vmdk', 'vpc', 'luks', 'host_device', 'nbd', 'RAW', 'Raw', ' raw', 'raw ', 'r'],
    (it) => `the format '${it}'`,
    called,
  ),
  "the protocol's name: file": called('file'),
  'the longest format there may be': called('x'.repeat(15)),
  'a format with a slash': called('../raw'),
  'no format': called(null),
  'a format of no bytes': called(''),
  'a format after the end': qcow2({ format: null, afterEnd: [[TYPE.format, 'raw']] }),
  'a format after the end of version 2': qcow2({
    version: 2,
    format: null,
    afterEnd: [[TYPE.format, 'raw']],
  }),
  'no format, and an unknown extension where it was': qcow2({
    format: null,
    extensions: [[0xe2792acb, 'raw']],
  }),
};

const refused: Partial<Record<FlawKind, Heads>> = {
  'too-short': {
    ...each(
      [0, 1, 4, 8, 71],
      (it) => `${it} bytes`,
      (it) => cutTo(qcow2(), it),
    ),
    ...each(
      [72, 80, 96, 103],
      (it) => `version 3 in ${it} bytes`,
      (it) => cutTo(qcow2(), it),
    ),
    'a header that ends inside itself': cutTo(qcow2({ headerLength: 120 }), 112),
  },
  'not-qcow2': {
    'another magic': with32(AT.magic, 0x514649fa),
    'the magic backwards': with32(AT.magic, 0xfb494651),
    'a VMDK': with32(AT.magic, 0x4b444d56),
    'a QED': with32(AT.magic, 0x51454400),
    'all zeros': with32(AT.magic, 0),
    'a magic one byte late': { ...qcow2(), page: new Uint8Array([0, ...qcow2().page]) },
  },
  version: each(
    [0, 1, 4, 2 ** 24, 2 ** 31, 2 ** 32 - 1],
    (it) => `version ${it}`,
    (it) => with32(AT.version, it),
  ),
  'cluster-size': each(
    [0, 8, 22, 31, 32, 63, 64, 2 ** 32 - 1],
    (it) => `clusters of 2^${it} bytes`,
    (it) => with32(AT.clusterBits, it),
  ),
  'header-length': {
    ...each(
      [0, 8, 72, 96, 103, 105, 108, 4104, 65_536, 65_544, 2 ** 32 - 8],
      (it) => `a header of ${it} bytes`,
      (it) => with32(AT.headerLength, it),
    ),
    'a header longer than its cluster': with32(AT.headerLength, 520, { clusterBits: 9 }),
  },
  size: {
    'a size beyond numbers': with64(AT.size, 2n ** 53n),
    'the largest size': with64(AT.size, 2n ** 64n - 512n),
    'a size that is negative to a careless reader': with64(AT.size, 2n ** 63n),
    'a size of no whole sectors': with64(AT.size, 2n ** 23n - 1n),
    'half the size': qcow2({ size: 2 ** 22 }),
    'one sector less': qcow2({ size: 2 ** 23 - 512 }),
    'one sector more': qcow2({ size: 2 ** 23 + 512 }),
    'a size of nothing': qcow2({ size: 0 }),
    'a terabyte': qcow2({ size: 2 ** 40 }),
  },
  encryption: {
    'AES of old': qcow2({ crypt: 1 }),
    LUKS: qcow2({ crypt: 2, extensions: [luks()] }),
    'LUKS without its pointer': qcow2({ crypt: 2 }),
    'a LUKS pointer without LUKS': extended(luks()),
    'AES with a LUKS pointer': qcow2({ crypt: 1, extensions: [luks()] }),
    'method 3': qcow2({ crypt: 3 }),
    'the last method': qcow2({ crypt: 2 ** 32 - 1 }),
  },
  features: {
    ...each(
      [5n, 6n, 31n, 32n, 62n, 63n],
      (it) => `incompatible bit ${it}`,
      (it) => qcow2({ incompatible: 2n ** it }),
    ),
    'every incompatible bit': qcow2({ incompatible: 2n ** 64n - 1n }),
    'extended L2 entries in small clusters': qcow2({ incompatible: 16n, clusterBits: 13 }),
    'the compression bit over zlib': qcow2({ incompatible: 8n }),
    'the compression bit without the field': qcow2({ incompatible: 8n, headerLength: 104 }),
    'zstd without its bit': qcow2({ compression: 1 }),
    'a compression that nobody knows': qcow2({ incompatible: 8n, compression: 2 }),
    'the last compression': qcow2({ incompatible: 8n, compression: 255 }),
  },
  tables: {
    'refcounts of 128 bits': with32(AT.refcountOrder, 7),
    'refcounts of 2^4294967295 bits': with32(AT.refcountOrder, 2 ** 32 - 1),
    'no L1 table': with32(AT.l1Size, 0),
    'an L1 table too small': with64(AT.size, 2n ** 40n),
    'an L1 table half of what extended L2 needs': with64(AT.size, 2n ** 30n + 512n, {
      size: 2 ** 30,
      incompatible: 16n,
    }),
    'an L1 table above 32 MiB': with32(AT.l1Size, 2 ** 22 + 1),
    'an L1 table of 32 GiB': with32(AT.l1Size, 2 ** 32 - 1),
    'an L1 table over the header': with64(AT.l1Offset, 0n),
    ...each(
      [8n, 1n, CLUSTER - 8n],
      (it) => `an L1 table ${it} bytes late`,
      (it) => with64(AT.l1Offset, 3n * CLUSTER + it),
    ),
    'an L1 table behind the file': with64(AT.l1Offset, 4n * CLUSTER),
    'an L1 table at the end of the world': with64(AT.l1Offset, FAR),
    'an L1 table cut off': { ...qcow2(), fileBytes: 3 * 65_536 + 7 },
    'no refcount table': with32(AT.refcountClusters, 0),
    'a refcount table above 8 MiB': with32(AT.refcountClusters, 129),
    'a refcount table without end': with32(AT.refcountClusters, 2 ** 32 - 1),
    'a refcount table over the header': with64(AT.refcountOffset, 0n),
    'a refcount table between clusters': with64(AT.refcountOffset, CLUSTER + 512n),
    'a refcount table behind the file': with64(AT.refcountOffset, 8n * CLUSTER),
    'a refcount table at the end of the world': with64(AT.refcountOffset, FAR),
    'more snapshots than QEMU reads': qcow2({ snapshots: 65_537 }),
    'four thousand million snapshots': qcow2({ snapshots: 2 ** 32 - 1 }),
    'a snapshot table behind the file': with64(AT.snapshotsOffset, 8n * CLUSTER, { snapshots: 1 }),
    'a snapshot table over the header': with64(AT.snapshotsOffset, 0n, { snapshots: 1 }),
    'a snapshot table between clusters': with64(AT.snapshotsOffset, 1n, { snapshots: 1 }),
    'an empty snapshot table between clusters': with64(AT.snapshotsOffset, 1n),
    'an empty snapshot table at the end of the world': with64(AT.snapshotsOffset, FAR),
  },
  snapshots: {
    'one internal snapshot': qcow2({ snapshots: 1 }),
    'as many as QEMU reads': qcow2({ snapshots: 65_536 }),
  },
  'backing-name': {
    'no backing file': qcow2({ backing: null, format: null }),
    ...each(
      [
        ...['V', 'v ', ' v', 'vv', './v', '../v', 'x/../v', '/v', '/etc/passwd', '/dev/sda', '.'],
        ...['nbd://localhost/v', 'nbd:localhost:10809', 'http://localhost/v', 'ssh://localhost/v'],
        ...['file:v', 'file:///etc/passwd', 'fat:/etc', 'fat:rw:/etc', 'json:{"driver":"null-co"}'],
        ...['json:{}', 'blkdebug::v', 'rbd:pool/v', 'gluster://localhost/a/v', '//./v', '-v', '~'],
        ...['volume-1.snapshot-2', '$(id)', ';id', '%s%n', '/dev/fd/0', '/proc/self/mem'],
      ],
      (it) => `the name ${it}`,
      named,
    ),
    'a name of 1023 bytes': named('v'.repeat(1023)),
    'a name of 1024 bytes': named('v'.repeat(1024)),
    'a name as long as a number holds': with32(AT.backingSize, 2 ** 32 - 1),
    'a NUL that cuts it for QEMU': named('v\0/etc/passwd'),
    'a NUL behind it': named('v\0'),
    'a NUL before it': named('\0v'),
    'a line break': named('v\nv'),
    'an escape for a terminal': named('\x1b[2Jv'),
    'a byte above ASCII': named('v\xe9'),
    'a DEL': named('v\x7f'),
    'an offset without a length': with32(AT.backingSize, 0),
    'a name inside the header': with64(AT.backingOffset, 104n),
    'a name over the magic': with64(AT.backingOffset, 1n),
    'a name behind the first cluster': with64(AT.backingOffset, CLUSTER + 1n),
    'a name at the end of the first cluster': with64(AT.backingOffset, CLUSTER),
    'a name at the end of the world': with64(AT.backingOffset, 2n ** 64n - 1n),
  },
  extensions: {
    'the format twice': extended([TYPE.format, 'qcow2']),
    'the same format twice': extended([TYPE.format, 'raw']),
    'an unknown one twice': extended([0x1234, ''], [0x1234, '']),
    'one of 4097 bytes': extended([0x1234, 'x'.repeat(4097)]),
    'feature names of 9217 bytes': extended([TYPE.features, 'x'.repeat(9217)]),
    'more than 32': extended(...Array.from({ length: 33 }, (_, at) => [0x1000 + at, ''] as const)),
    'one as long as a number holds': put32(extended([0x1234, 'x']), 132, 2 ** 32 - 1),
    'one that reaches over the backing name': with32(116, 64),
    'an end with a length': with32(132, 8),
    'an end as long as a number holds': with32(132, 2 ** 32 - 1),
    'no end before the backing name': with32(128, 0x76 << 24),
    'dirty bitmaps': extended([TYPE.bitmaps, '\0\0\0\x01'.padEnd(24, '\0')]),
    'a bitmap extension of 8 bytes': extended([TYPE.bitmaps, '12345678']),
    'bitmaps in use, of which there are none': put64(
      extended([TYPE.bitmaps, '\0'.repeat(24)]),
      AT.autoclear,
      1n,
    ),
  },
  'backing-format': {
    'a NUL that cuts it for QEMU': called('raw\0qcow2'),
    'a NUL behind it': called('raw\0'),
    'only a NUL': called('\0'),
    'one of 16 bytes': called('x'.repeat(16)),
    'one of 4096 bytes': called('x'.repeat(4096)),
    'a line break': called('raw\n'),
    'an escape for a terminal': called('\x1b[2J'),
    'a byte above ASCII': called('r\xe4w'),
  },
  'data-file': {
    'the data file bit': qcow2({ incompatible: 4n }),
    'a data file': qcow2({ incompatible: 4n, extensions: [[TYPE.dataFile, '/etc/passwd']] }),
    'the name of a data file without the bit': extended([TYPE.dataFile, '/etc/passwd']),
    'a raw data file': put64(qcow2({ incompatible: 4n }), AT.autoclear, 2n),
    'a data file in version 2': qcow2({ version: 2, extensions: [[TYPE.dataFile, 'x']] }),
  },
  state: {
    'marked corrupt': qcow2({ incompatible: 2n }),
    'marked dirty': qcow2({ incompatible: 1n }),
    'marked dirty and corrupt': qcow2({ incompatible: 3n }),
  },
};

export const VECTORS: readonly Vector[] = [
  ...vectors(accepted, 'accepted', null),
  ...vectors(mendable, 'mendable', 'backing-format'),
  ...Object.entries(refused).flatMap(([kind, heads]) =>
    vectors(heads, 'refused', kind as FlawKind),
  ),
];

function vectors(heads: Heads, verdict: Vector['verdict'], kind: FlawKind | null): Vector[] {
  return Object.entries(heads).map(([name, head]) => ({ name, head, verdict, kind }));
}
