import fc from 'fast-check';
import { layersOf, type SeenLayer } from '#domain/chain.ts';
import type { Fault } from '#domain/failure.ts';
import type { ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { err, ok } from '#domain/result.ts';
import type { Event } from '#domain/saga.ts';
import type { DiskView, GuestView, HeaderView, Job, SeenHeader, Sight } from '#domain/sight.ts';
import { file, format, stripped } from './chains.ts';

export const SERVER = 'server-1' as ServerId;
export const VOLUME = 'volume-1' as VolumeId;
export const SNAPSHOT = 'snapshot-1' as SnapshotId;
export const SUBJECT = { volume: VOLUME, snapshot: SNAPSHOT, server: SERVER } as const;
export const SIZE = 2 ** 30;

export function header(says: Partial<Omit<SeenHeader, 'backingFile' | 'backingFormat'>> = {}) {
  return (backing: string | null, backingFormat: string | null): HeaderView =>
    ok({
      version: 3,
      clusterBits: 16,
      size: SIZE,
      backingFile: backing,
      backingFormat: backingFormat === null ? null : format(backingFormat),
      encryption: 'none',
      dataFile: false,
      dirty: false,
      corrupt: false,
      snapshots: 0,
      bitmaps: false,
      headerLength: 112,
      fileBytes: 196_624,
      ...says,
    });
}

/** What the headers of a chain's qcow2 files say when all is well. */
export function headersOf(seen: SeenLayer): Record<string, HeaderView> {
  const files = layersOf(seen).filter(({ format: said, on }) => on !== null || said === 'qcow2');
  return Object.fromEntries(
    files.map(({ file: name, on }) => [name, header()(on?.file ?? null, on?.format ?? null)]),
  );
}

export const disk = (seen: SeenLayer, says: Partial<DiskView> = {}): DiskView => ({
  kind: 'disk',
  server: SERVER,
  target: 'vda',
  process: 'qemu-1',
  saved: false,
  source: { kind: 'files', directory: '/mnt' },
  stray: null,
  keys: [],
  chain: seen,
  size: SIZE,
  job: null,
  agent: 'none',
  ...says,
});

export const GONE: GuestView = {
  kind: 'absent',
  why: { kind: 'guest-not-found', server: SERVER },
};
export const AMBIGUOUS: GuestView = {
  kind: 'absent',
  why: { kind: 'ambiguous-disk', server: SERVER, volume: VOLUME, targets: ['vda', 'vdb'] },
};

/** A look that Cinder was asked in; null means that Cinder no longer has the snapshot. */
export function sight(
  guest: GuestView,
  status: string | null,
  says: Partial<Sight> & { readonly active?: string } = {},
): Sight {
  const { active, ...rest } = says;
  const snapshot = status === null ? null : { volume: VOLUME, status, progress: '0%' };
  return {
    guest,
    headers: guest.kind === 'disk' ? headersOf(guest.chain) : {},
    cinder: { snapshot, active: active === undefined ? null : file(active) },
    known: new Map(),
    late: false,
    ...rest,
  };
}

/** A look that Cinder was not asked in. */
export const glance = (guest: GuestView, says: Partial<Sight> = {}): Sight => ({
  ...sight(guest, null, says),
  cinder: null,
});

export const saw = (it: Sight): Event => ({ kind: 'saw', sight: it });
export const WOKE: Event = { kind: 'woke' };
export const DID: Event = { kind: 'did' };
export const failed = (fault: Fault): Event => ({ kind: 'failed', fault });
export const ended = (how: 'completed' | 'failed' | 'canceled'): Event => ({ kind: 'ended', how });

/** libvirt's own answers, measured. */
export const BUSY = {
  kind: 'rejected',
  who: 'libvirt',
  code: 84,
  detail: "disk 'vda' already in active block job",
} as const satisfies Fault;
export const REFUSED: Fault = {
  kind: 'rejected',
  who: 'libvirt',
  code: 38,
  detail: 'no such file',
};
export const UNKNOWN: Fault = { kind: 'unknown', who: 'libvirt', detail: 'end of file' };
export const AWAY: Fault = { kind: 'unreachable', who: 'libvirt', detail: 'no socket' };

const fault = fc.constantFrom(BUSY, REFUSED, UNKNOWN, AWAY, { ...BUSY, code: 68 });

/** The worlds that one volume may be seen in, of few kinds so that they meet again and again. */
export interface Scenes {
  readonly chains: readonly SeenLayer[];
  readonly extraHeaders: Readonly<Record<string, HeaderView>>;
  readonly status: string;
}

export function sights({ chains, extraHeaders, status }: Scenes): fc.Arbitrary<Sight> {
  const seen = fc
    .tuple(fc.constantFrom(...chains), fc.boolean())
    .map(([one, old]) => (old ? stripped(one) : one));
  const job = fc.constantFrom<Job | null>(
    ...often(6, null),
    { kind: 'pull', done: 1, total: 2 },
    { kind: 'commit', done: 9, total: 10 },
    { kind: 'copy', done: 0, total: 0 },
  );
  const one = fc.constantFrom(...often(10, 'qemu-1'), 'qemu-2', null);
  const guest = fc.oneof(
    {
      weight: 15,
      arbitrary: fc.record({ seen, job, one }).map((it): GuestView => {
        return disk(it.seen, { process: it.one, job: it.job });
      }),
    },
    { weight: 1, arbitrary: fc.constantFrom(GONE, AMBIGUOUS) },
  );
  const cinder = fc.constantFrom(...often(12, status), 'error', 'available', null);
  const lie = fc.constantFrom(
    ...often(30, {}),
    ...Object.keys(extraHeaders).map((name) => ({ [name]: header()('s1', 'raw') })),
    ...chains.map(({ file: name }) => ({ [name]: header()('/etc/passwd', 'raw') })),
    ...chains.map(({ file: name }) => ({
      [name]: err({ kind: 'missing', says: 'it is not there' } as const),
    })),
  );
  return fc
    .record({ guest, cinder, lie, late: fc.constantFrom(...often(6, false), true) })
    .map((it) => {
      const known = new Map(
        chains.flatMap((one) =>
          layersOf(one).flatMap(({ file: name, format: said }) => (said ? [[name, said]] : [])),
        ),
      );
      const whole = it.guest.kind === 'disk' ? headersFor(it.guest.chain, chains) : {};
      const headers = { ...extraHeaders, ...whole, ...it.lie };
      return sight(it.guest, it.cinder, { late: it.late, known, headers });
    });
}

/** Also of a chain whose formats are not shown: the headers have them all the same. */
const headersFor = (seen: SeenLayer, chains: readonly SeenLayer[]) => {
  const named = (one: SeenLayer) =>
    layersOf(one)
      .map((layer) => layer.file)
      .join();
  return headersOf(chains.find((one) => named(one) === named(seen)) ?? seen);
};

/** What may happen at one moment; which of it, is up to what was asked for. */
export interface Moment {
  /** The process dies before it hears the answer, and is started again. */
  readonly crash: boolean;
  readonly look: Event;
  readonly act: Event;
  readonly watch: Event;
}

export const moments = (scenes: Scenes): fc.Arbitrary<Moment> =>
  fc.record({
    crash: fc.constantFrom(...often(9, false), true),
    look: fc.oneof(
      { weight: 9, arbitrary: sights(scenes).map(saw) },
      { weight: 1, arbitrary: fault.map((it): Event => ({ kind: 'blind', fault: it })) },
    ),
    act: fc.oneof(
      { weight: 3, arbitrary: fc.constant(DID) },
      { weight: 2, arbitrary: fault.map(failed) },
    ),
    watch: fc.oneof(
      fc.constant(WOKE),
      fc.constantFrom('completed', 'failed', 'canceled').map(ended),
    ),
  });

/** Anything at all, sense or no sense. */
export const events = (scenes: Scenes): fc.Arbitrary<Event> =>
  moments(scenes).chain(({ look, act, watch }) => fc.constantFrom(look, look, act, watch, WOKE));

function often<T>(times: number, it: T): readonly T[] {
  return Array.from({ length: times }, () => it);
}
