import { describe, expect, test } from 'vitest';
import { Inspector } from '#app/inspect.ts';
import { look } from '#app/look.ts';
import type { ListedSnapshot } from '#domain/diagnosis.ts';
import { explain, type Fault } from '#domain/failure.ts';
import type { FileName, OperationId, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { GuestView, HeaderView } from '#domain/sight.ts';
import type { Hypervisor, ListedDisk } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';
import type { Journal, Operation } from '#ports/journal.ts';
import type { Attachment, Volumes } from '#ports/volumes.ts';
import { chain, file, format, stripped } from './support/chains.ts';
import { AWAY, disk, GONE, header, headersOf, SERVER, SNAPSHOT, VOLUME } from './support/sights.ts';

const CINDER_AWAY: Fault = { kind: 'unreachable', who: 'Cinder', detail: 'connection refused' };
const GUEST = '5d3c0e0a-6a2f-4a0e-9b55-0d0a1c5b7a11' as ServerId;

interface Seen {
  guest: GuestView;
  headers: Record<string, HeaderView>;
  attachments: Result<readonly Attachment[] | null, Fault>;
  active: Result<FileName | null, Fault>;
  disks: Result<readonly ListedDisk[], Fault>;
  snapshotOf: Result<VolumeId | null, Fault>;
  known: ReadonlyMap<FileName, ReturnType<typeof format>>;
  operations: Operation[];
  rows: readonly ListedSnapshot[];
}

/** An inspector of what `seen` says; only what an inspector may call is there. */
function inspector(says: Partial<Seen> = {}) {
  const before = chain('s2', 's1', 'v');
  const seen: Seen = {
    guest: disk(before),
    headers: headersOf(before),
    attachments: ok([{ id: 'attachment-1', server: SERVER }]),
    active: ok(file('s2')),
    disks: ok([{ server: SERVER, guest: 'instance-1', volume: VOLUME, target: 'vda' }]),
    snapshotOf: ok(VOLUME),
    known: new Map(),
    operations: [],
    rows: ['a', 'b'].map((id) => ({
      id: id as SnapshotId,
      volume: VOLUME,
      status: 'available',
      progress: null,
    })),
    ...says,
  };
  const read: string[] = [];
  const hypervisor: Pick<Hypervisor, 'look' | 'disks'> = {
    look: async () => ok(seen.guest),
    disks: async () => seen.disks,
  };
  const volumes: Omit<Volumes, 'update'> = {
    snapshot: async () => {
      const { snapshotOf: of } = seen;
      if (!of.ok) return of;
      return ok(of.value && { volume: of.value, status: 'available', progress: null });
    },
    snapshots: async () => ok(seen.rows),
    attachments: async () => seen.attachments,
    activeFile: async () => seen.active,
  };
  const images: Pick<Images, 'header'> = {
    header: async (_, name) => {
      read.push(name);
      return ok(seen.headers[name] ?? err({ kind: 'missing', says: 'it is not there' }));
    },
  };
  /** How many operations each question to the whole journal was for. */
  const listed: number[] = [];
  const journal: Partial<Journal> = {
    formats: async () => seen.known,
    chain: async () => null,
    unfinished: async () => seen.operations.filter(({ saga }) => saga.at !== 'end').toReversed(),
    operations: async ({ limit }) => {
      listed.push(limit);
      return seen.operations.slice(0, limit);
    },
    operation: async (id) => seen.operations.find((it) => it.id === id) ?? null,
    evidence: async () => [{ seq: 1, at: 0, kind: 'decided', detail: 'x' }],
    notices: async () => [],
  };
  const world = { hypervisor, volumes, images, journal } as unknown as Parameters<typeof look>[0];
  return { read, listed, it: new Inspector({ ...world, look, limits: { maxChainDepth: 4 } }) };
}

describe('chain', () => {
  test('by a volume id: three witnesses, and the base is never read', async () => {
    const { it, read } = inspector();
    expect(await it.chain(VOLUME)).toEqual(
      ok({
        volume: VOLUME,
        guest: disk(chain('s2', 's1', 'v')),
        headers: { s2: header()('s1', 'qcow2'), s1: header()('v', 'raw') },
        cinder: 's2',
        snapshots: expect.arrayContaining([expect.objectContaining({ id: 'a' })]),
        findings: [],
      }),
    );
    expect(read.toSorted()).toEqual(['s1', 's2']);
  });

  test('by the guest and its disk, with or without Cinder', async () => {
    const disks = ok([{ server: GUEST, guest: 'instance-7', volume: VOLUME, target: 'vdb' }]);
    const attachments = ok([{ id: 'attachment-1', server: GUEST }]);
    const whole = inspector({ disks, attachments });
    expect(await whole.it.chain(`${GUEST.toUpperCase()}:vdb`)).toMatchObject({
      value: { volume: VOLUME, cinder: 's2' },
    });
    expect(await whole.it.chain('instance-7:vdb')).toMatchObject({ value: { volume: VOLUME } });
    const alone = inspector({ disks, attachments: err(CINDER_AWAY) });
    expect(await alone.it.chain(`${GUEST}:vdb`)).toMatchObject({
      value: { volume: VOLUME, cinder: null },
    });
    expect(await whole.it.chain(`${GUEST}:vdc`)).toMatchObject({
      error: {
        refusal: {
          problem: 'Guest 5d3c0e0a-6a2f-4a0e-9b55-0d0a1c5b7a11 has no volume as vdc: it has vdb.',
        },
      },
    });
  });

  test('without Cinder a volume is found by its serial', async () => {
    const { it } = inspector({ attachments: err(CINDER_AWAY), active: err(CINDER_AWAY) });
    expect(await it.chain(VOLUME)).toMatchObject({ value: { volume: VOLUME, cinder: null } });
  });

  test.each<[string, string, Partial<Seen>, object]>([
    ['no such volume', VOLUME, { attachments: ok(null) }, { refusal: { kind: 'unknown-volume' } }],
    ['not attached', VOLUME, { attachments: ok([]) }, { refusal: { kind: 'not-attached' } }],
    [
      'attached twice',
      VOLUME,
      { attachments: ok(['a', 'b'].map((id) => ({ id, server: SERVER }))) },
      { refusal: { kind: 'attached-twice', times: 2 } },
    ],
    ['guest elsewhere', VOLUME, { guest: GONE }, { refusal: { kind: 'guest-not-found' } }],
    [
      'nobody knows',
      VOLUME,
      { attachments: err(CINDER_AWAY), disks: ok([]) },
      { fault: CINDER_AWAY },
    ],
    [
      'libvirt away too',
      VOLUME,
      { attachments: err(CINDER_AWAY), disks: err(AWAY) },
      { fault: AWAY },
    ],
    [
      'another name',
      'instance-2:vda',
      {},
      { refusal: { problem: expect.stringMatching(/^There is no guest instance-2 .*virsh list/) } },
    ],
    ['a path', '../etc', {}, { refusal: { kind: 'bad-request' } }],
  ])('%s', async (_, ref, says, error) => {
    expect(await inspector(says).it.chain(ref)).toMatchObject({ ok: false, error });
  });
});

describe('diagnoses', () => {
  const found = async (says: Partial<Seen>) => {
    const all = await inspector(says).it.diagnoses();
    if (!all.ok) return all.error.kind;
    return all.value.map(({ report }) =>
      report.ok ? report.value.findings.map(({ code }) => code) : report.error.kind,
    );
  };

  test('each volume of each guest, by all the witnesses', async () => {
    expect(await found({})).toEqual([[]]);
    const all = await inspector().it.diagnoses();
    expect(all).toMatchObject({ value: [{ guest: 'instance-1', target: 'vda' }] });
    expect(await found({ active: ok(file('s1')) })).toEqual([['active-behind']]);
    expect(await found({ rows: [] })).toEqual([['layer-without-snapshot']]);
    const lies = { ...headersOf(chain('s2', 's1', 'v')), s2: header()('v', 'raw') };
    expect(await found({ headers: lies })).toEqual([['header-behind']]);
  });

  test('what Cinder does not know is no volume; what cannot be seen says why', async () => {
    expect(await found({ attachments: ok(null) })).toEqual([]);
    expect(await found({ guest: GONE })).toEqual(['refused']);
    expect(await found({ disks: err(AWAY) })).toBe('fault');
    expect(await found({ attachments: err(CINDER_AWAY) })).toEqual([[]]);
  });

  test('an operation that waits for a person', async () => {
    const one = operation('op-1', 'end');
    const parked = { ...one, saga: { ...one.saga, outcome: 'unknown' } } as Operation;
    expect(await found({ operations: [parked] })).toEqual([['operation-unknown']]);
  });
});

describe('formats', () => {
  const known = new Map([[file('v'), format('vpc')]]);

  test('the live chain speaks first, and the record for what libvirt leaves out', async () => {
    const { it } = inspector({ known, guest: disk(stripped(chain('s1', 'v'))) });
    expect(await it.formats(VOLUME)).toEqual([
      { file: 's1', format: 'qcow2', provenance: 'assumed' },
      { file: 'v', format: 'vpc', provenance: 'assumed' },
    ]);
    expect(await inspector({ known }).it.formats(VOLUME)).toMatchObject([
      { file: 's2', provenance: 'reported' },
      { file: 's1', provenance: 'reported' },
      { file: 'v', format: 'raw', provenance: 'reported' },
    ]);
  });

  test('without a guest only the record is left', async () => {
    const { it } = inspector({ known, disks: ok([]) });
    expect(await it.formats(VOLUME)).toEqual([{ file: 'v', format: 'vpc', provenance: 'assumed' }]);
  });
});

describe('plans', () => {
  const NEW = `new.${SNAPSHOT}`;
  const CREATE = { volume: VOLUME, snapshot: SNAPSHOT, newFile: file(NEW) };
  const remove = (top: string | null, into: string | null) => ({
    volume: VOLUME,
    snapshot: SNAPSHOT,
    fileToMerge: top === null ? null : file(top),
    mergeTarget: into === null ? null : file(into),
  });
  const overlay = (backing: string, of: string | null) => ({
    headers: { ...headersOf(chain('s2', 's1', 'v')), [NEW]: header()(backing, of) },
  });

  test('a create', async () => {
    expect(await inspector(overlay('s2', 'qcow2')).it.planCreate(CREATE)).toEqual(
      ok({
        action: `make ${NEW} the file that the guest writes to, on s2`,
        before: chain('s2', 's1', 'v'),
        after: { ...chain(NEW, 's2', 's1', 'v'), provenance: 'assumed' },
        fileFormat: [{ file: NEW, format: 'qcow2', provenance: 'assumed' }],
        mend: null,
        by: {
          server: SERVER,
          target: 'vda',
          directory: '/mnt',
          size: 2 ** 30,
          running: true,
          encrypted: false,
        },
        merge: null,
        mends: null,
      }),
    );
    expect(await inspector(overlay('s2', null)).it.planCreate(CREATE)).toMatchObject({
      value: { mend: `first write into ${NEW} that s2 is qcow2` },
    });
    expect(await inspector(overlay('/etc/passwd', 'raw')).it.planCreate(CREATE)).toMatchObject({
      error: { refusal: { kind: 'overlay-refused' } },
    });
  });

  test('a create of a file that is mistyped, or is not for this snapshot', async () => {
    const missing = await inspector().it.planCreate(CREATE);
    const why = missing.ok || missing.error.kind !== 'refused' ? null : missing.error.refusal;
    expect(why && explain(why)).toMatch(/is not there: check its name/);
    const other = { ...CREATE, newFile: file('new.snapshot-2') };
    expect(await inspector().it.planCreate(other)).toMatchObject({
      error: { refusal: { kind: 'other-name', snapshot: SNAPSHOT } },
    });
  });

  test.each([
    ['s1', 'v', 'commit s1 into v', 'v', { v: 'raw' }],
    ['v', null, 'pull what lies between it and v into s2', 'v', { s2: 'qcow2', v: 'raw' }],
  ])('a delete of %s into %s', async (top, into, action, base, formats) => {
    const plan = await inspector().it.planDelete(remove(top, into));
    expect(plan).toMatchObject({ value: { action, after: { file: 's2', on: { file: base } } } });
    const told = plan.ok ? plan.value.fileFormat.map((it) => [it.file, it.format]) : [];
    expect(Object.fromEntries(told)).toEqual(formats);
  });

  test('a pull of everything', async () => {
    const guest = disk(chain('s1', 'v'));
    const { it } = inspector({ guest, headers: headersOf(guest.chain), active: ok(file('s1')) });
    expect(await it.planDelete(remove(null, null))).toMatchObject({
      value: { action: 'pull everything below it into s1', after: { file: 's1', on: null } },
    });
  });

  test('what would be refused is refused', async () => {
    const cases: [Partial<Seen>, object][] = [
      [{ snapshotOf: ok('other' as VolumeId) }, { refusal: { kind: 'other-volume' } }],
      [{ snapshotOf: err(CINDER_AWAY) }, { fault: CINDER_AWAY }],
      [{ active: ok(file('s1')) }, { refusal: { kind: 'active-differs' } }],
      [{ attachments: ok([]) }, { refusal: { kind: 'not-attached' } }],
    ];
    for (const [says, error] of cases) {
      expect(await inspector(says).it.planDelete(remove('s1', 'v'))).toMatchObject({ error });
    }
    for (const plan of ['planCreate', 'planDelete'] as const) {
      const unknown = inspector({ snapshotOf: ok(null) }).it;
      const asked = { ...CREATE, ...remove('s1', 'v') };
      expect(await unknown[plan](asked)).toMatchObject({
        error: { refusal: { kind: 'unknown-snapshot', snapshot: SNAPSHOT } },
      });
    }
  });

  test('a job of our own is not called a stranger', async () => {
    const guest = disk(chain('s2', 's1', 'v'), { job: { kind: 'commit', done: 0, total: 1 } });
    const busy = { guest, operations: [operation('op-1', 'accepted')] };
    expect(await inspector(busy).it.planDelete(remove('s1', 'v'))).toMatchObject({
      error: {
        refusal: { kind: 'waits', operation: 'op-1', what: 'delete' },
      },
    });
    expect(await inspector({ guest }).it.planDelete(remove('s1', 'v'))).toMatchObject({
      error: { refusal: { kind: 'foreign-job' } },
    });
  });
});

describe('operations', () => {
  const ended = Array.from({ length: 150 }, (_, at) => operation(`e${at}`, 'end'));
  const operations = [...ended, operation('o1', 'accepted'), operation('o2', 'waiting')];
  const { it, listed } = inspector({ operations });
  const ids = async (state: 'open' | 'ended' | 'all', limit: number) =>
    (await it.operations(state, limit)).map(({ id }) => id);

  test('by state, newest first, as many as asked for', async () => {
    expect(await ids('all', 2)).toEqual(['e0', 'e1']);
    expect(await ids('ended', 2)).toEqual(['e0', 'e1']);
    expect(await ids('open', 2)).toEqual(['o1', 'o2']);
    const before = [...listed];
    expect(await ids('open', 1)).toEqual(['o1']);
    expect(listed).toEqual(before);
    expect(await ids('ended', 1000)).toHaveLength(150);
  });

  test('one, with what it rests on', async () => {
    expect(await it.operation('o1' as OperationId)).toMatchObject({
      operation: { id: 'o1' },
      evidence: [{ kind: 'decided' }],
      notices: [],
    });
    expect(await it.operation('x' as OperationId)).toBe(null);
  });
});

function operation(id: string, at: 'accepted' | 'waiting' | 'end'): Operation {
  const request = {
    volume: VOLUME,
    snapshot: SNAPSHOT as SnapshotId,
    server: SERVER,
    fileToMerge: null,
    mergeTarget: null,
  };
  const end = { at: 'end', outcome: 'merged', reason: '', formats: [], gone: null } as const;
  return {
    id: id as OperationId,
    saga: { kind: 'delete', request, ...(at === 'end' ? end : { at }) },
    accepted: true,
    requestId: 'req-1',
    globalRequestId: null,
    askedAt: 0,
    updatedAt: 0,
  };
}
