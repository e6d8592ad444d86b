import { describe, expect, test } from 'vitest';
import { diagnose, type ListedSnapshot, type VolumeSight } from '#domain/diagnosis.ts';
import type { SnapshotId } from '#domain/ids.ts';
import type { KnownChain } from '#domain/known-chain.ts';
import type { Saga } from '#domain/saga.ts';
import { chain, file, format, stripped } from '../support/chains.ts';
import { CREATE, LIMITS } from '../support/scenes.ts';
import { header, headersOf, SERVER, SIZE, SUBJECT } from '../support/sights.ts';
import { past, ROW, rows, sight, TWO } from '../support/volume-sights.ts';

const codes = (it: VolumeSight) => diagnose(it).map(({ code }) => code);
const only = (it: VolumeSight) => {
  const found = diagnose(it);
  expect(found.map(({ code }) => code)).toHaveLength(1);
  return found[0]!;
};
const lying = (says: ReturnType<typeof header> | null, backing: string | null, of: string | null) =>
  ({ ...headersOf(chain('s2', 's1', 'v')), s2: (says ?? header())(backing, of) }) as const;

const KEY = { format: 'luks', engine: 'qemu', secret: 'uuid-1' };

test('where all agree there is nothing to find', () => {
  expect(diagnose(sight())).toEqual([]);
  expect(
    diagnose(
      sight({
        seen: stripped(chain('s2', 's1', 'v')),
        headers: headersOf(chain('s2', 's1', 'v')),
        known: new Map([[file('v'), format('raw')]]),
      }),
    ),
  ).toEqual([]);
  const silent = { active: null, attachments: null, snapshots: null };
  expect(diagnose(sight({ cinder: silent }))).toEqual([]);
});

describe('headers', () => {
  const MEND = `virsh shutdown ${SERVER}; once it is off, and before it starts again: `;

  test('that names a lower layer of the chain: the layer between would be lost', () => {
    expect(only(sight({ headers: lying(null, 'v', 'raw') }))).toEqual({
      code: 'header-behind',
      severity: 'error',
      saw: expect.stringMatching(/^the header of s2 names v below it, and the guest has s1: its/),
      todo: `${MEND}qemu-img rebase -u -f qcow2 -F qcow2 -b s1 /mnt/s2`,
    });
  });

  test('that names a file which was merged away is behind too', () => {
    const merged: Saga = {
      kind: 'delete',
      request: { ...SUBJECT, fileToMerge: file('s0'), mergeTarget: file('v') },
      at: 'end',
      outcome: 'merged',
      reason: '',
      formats: [],
      gone: file('s0'),
    };
    const headers = { ...headersOf(chain('s2', 's1', 'v')), s1: header()('s0', 'qcow2') };
    const it = only(sight({ headers, past: [past(merged)] }));
    expect(it.code).toBe('header-behind');
    expect(it.todo).toBe(`${MEND}qemu-img rebase -u -f qcow2 -F raw -b v /mnt/s1`);
  });

  test.each([
    ['/etc/passwd', 'raw'],
    [null, null],
  ])('that names %s lies', (backing, of) => {
    expect(codes(sight({ headers: lying(null, backing, of) }))).toEqual(['header-lies']);
  });

  test.each(['raw', null])('that calls a qcow2 file %s would be probed, or misread', (of) => {
    const it = only(sight({ headers: lying(null, 's1', of) }));
    expect(it).toMatchObject({ code: 'header-format', severity: 'error' });
    expect(it.todo).toContain('-F qcow2 -b s1 /mnt/s2');
  });

  test('that calls a raw file by the name of its protocol is no lie', () => {
    const headers = { ...headersOf(chain('s2', 's1', 'v')), s1: header()('v', 'file') };
    expect(codes(sight({ headers }))).toEqual([]);
  });

  test('of a guest that is off the XML wins, unless it ends early', () => {
    const off = { process: null };
    const it = only(sight({ is: off, headers: lying(null, 'v', 'raw') }));
    expect(it).toMatchObject({ code: 'config-overrides', severity: 'error' });
    expect(it.todo).toMatch(/^before the guest is started: qemu-img rebase -u/);
    const early = { file: file('s2'), format: format('qcow2'), on: null };
    const headers = { s2: header()('s1', 'qcow2') };
    expect(codes(sight({ seen: early, is: off, headers }))).toEqual([]);
  });

  test('whose merge we are at is waited for', () => {
    const open: Saga = { kind: 'create', request: CREATE, at: 'accepted', limits: LIMITS };
    const it = only(sight({ headers: lying(null, 'v', 'raw'), past: [past(open)] }));
    expect(it.todo).toBe('wait for operation op-1: chainkeeper ops show op-1');
  });

  test.each<[string, ReturnType<typeof header>, string]>([
    ['keeps its data elsewhere', header({ dataFile: true }), 'error'],
    ['is marked corrupt', header({ corrupt: true }), 'error'],
    ['is encrypted', header({ encryption: 'luks' }), 'error'],
    ['holds snapshots of its own', header({ snapshots: 2 }), 'warning'],
    ['holds bitmaps', header({ bitmaps: true }), 'warning'],
    ['has another size', header({ size: 512 }), 'warning'],
  ])('of an overlay that %s', (_, says, severity) => {
    const it = only(sight({ headers: lying(says, 's1', 'qcow2') }));
    expect(it).toMatchObject({ code: 'unsafe-overlay', severity });
    expect(it.todo).toBe(`chainkeeper header /mnt/s2 --size ${SIZE}`);
  });

  test('of an encrypted volume, where each layer has LUKS and qemu-img no key', () => {
    const keys = ['s2', 's1', 'v'].map((name) => ({ ...KEY, file: file(name) }));
    const luks = header({ encryption: 'luks' });
    const whole = { s2: luks('s1', 'qcow2'), s1: luks('v', 'luks') };
    expect(codes(sight({ is: { keys }, headers: whole }))).toEqual([]);
    const plain = only(sight({ is: { keys }, headers: { ...whole, s2: header()('s1', 'qcow2') } }));
    expect(plain).toMatchObject({ code: 'unsafe-overlay', severity: 'error' });
    expect(plain.todo).toBe(`chainkeeper header /mnt/s2 --size ${SIZE} --encrypted`);
    const lies = only(sight({ is: { keys }, headers: { ...whole, s2: luks('v', 'raw') } }));
    expect(lies.todo).toBe(
      `${MEND}qemu-img rebase -u -F qcow2 -b s1 --object secret,id=key,file=PASSPHRASE_FILE ` +
        '--image-opts driver=qcow2,file.filename=/mnt/s2,encrypt.key-secret=key',
    );
  });

  test('QEMU may mark what it has open as dirty', () => {
    const headers = lying(header({ dirty: true }), 's1', 'qcow2');
    expect(codes(sight({ headers }))).toEqual([]);
    expect(codes(sight({ headers, is: { process: null } }))).toEqual(['unsafe-overlay']);
  });

  test('that cannot be read', () => {
    const missing = { ok: false, error: { kind: 'missing', says: 'it is not there' } } as const;
    const headers = { ...headersOf(chain('s2', 's1', 'v')), s1: missing };
    expect(only(sight({ headers }))).toMatchObject({
      code: 'header-unreadable',
      severity: 'error',
    });
  });

  test('a name that a shell would read otherwise is quoted', () => {
    const seen = chain("o'dd one", 'v');
    const headers = { "o'dd one": header()('w', 'raw') };
    const cinder = { active: file("o'dd one"), attachments: 1, snapshots: rows(ROW) };
    expect(only(sight({ seen, headers, cinder })).todo).toContain("'/mnt/o'\\''dd one'");
  });
});

describe('what Cinder believes', () => {
  const cinder = (active: string, snapshots: readonly ListedSnapshot[] | null = TWO) => ({
    active: file(active),
    attachments: 1,
    snapshots,
  });

  test('a file below the active one, above which nothing is a snapshot: go back to it', () => {
    const failed = rows({ id: 'a' as SnapshotId }, { status: 'error' });
    expect(only(sight({ cinder: cinder('s1', failed) }))).toEqual({
      code: 'active-behind',
      severity: 'error',
      saw: 'Cinder names s1 as in use, and the guest writes to s2, which stands above it',
      todo: `virsh blockcommit ${SERVER} vda --base /mnt/s1 --active --pivot --wait --verbose`,
    });
  });

  test('a file below, while Cinder is taking the one on top: wait first', () => {
    const seen = chain('v.a', 's1', 'v');
    const taking = rows({ id: 'a' as SnapshotId, status: 'creating' });
    const found = diagnose(sight({ seen, cinder: cinder('s1', taking) }));
    const behind = found.find(({ code }) => code === 'active-behind');
    expect(behind).toMatchObject({ severity: 'warning' });
    expect(behind?.todo).toMatch(/^Cinder is still taking it; if it stays so for 15 minutes: /);
  });

  test('a file below, above which there is a snapshot, or may be: nothing is merged', () => {
    const seen = chain('v.a', 's1', 'v');
    for (const listed of [TWO, null]) {
      const it = only(sight({ seen, cinder: cinder('s1', listed) }));
      expect(it.todo).toMatch(/^do not restart the guest/);
    }
  });

  test('a file that is in no chain', () => {
    const it = only(sight({ cinder: cinder('x') }));
    expect(it).toMatchObject({ code: 'active-stranger', severity: 'error' });
  });

  test('is behind while an operation of ours is at it', () => {
    const open: Saga = { kind: 'create', request: CREATE, at: 'accepted', limits: LIMITS };
    expect(codes(sight({ cinder: cinder('s1', []), past: [past(open)] }))).toEqual([]);
  });

  test('more snapshots than overlays: what one froze is not there', () => {
    const three = [...TWO, ...rows({ id: 'c' as SnapshotId })];
    const it = only(sight({ cinder: cinder('s2', three) }));
    expect(it).toMatchObject({ code: 'snapshot-without-layer', severity: 'error' });
    // A failed one may have had none.
    const failed = [...TWO, ...rows({ id: 'c' as SnapshotId, status: 'error' })];
    expect(codes(sight({ cinder: cinder('s2', failed) }))).toEqual([]);
    // What a guest that is off has of the chain may be a part of it.
    expect(codes(sight({ cinder: cinder('s2', three), is: { process: null } }))).toEqual([]);
  });

  test('fewer snapshots than overlays', () => {
    const it = only(sight({ cinder: cinder('s2', rows(ROW)) }));
    expect(it).toMatchObject({ code: 'layer-without-snapshot', severity: 'warning' });
  });

  test.each(['creating', 'deleting'])('a snapshot that is %s and nobody is at it', (status) => {
    const listed = [...TWO, ...rows({ id: 'c' as SnapshotId, status, progress: null })];
    const it = only(sight({ cinder: cinder('s2', listed) }));
    expect(it).toMatchObject({ code: 'snapshot-stuck', severity: 'warning' });
    expect(it.todo).toContain('openstack volume snapshot set --state error c');
  });

  test('a snapshot that is creating and has an operation, or an unsent word, is not stuck', () => {
    const id = SUBJECT.snapshot;
    const listed = [...TWO, ...rows({ id, status: 'creating' })];
    const open: Saga = { kind: 'create', request: CREATE, at: 'accepted', limits: LIMITS };
    expect(codes(sight({ cinder: cinder('s2', listed), past: [past(open)] }))).toEqual([]);
    const end = { at: 'end', outcome: 'failed', reason: '', formats: [] } as const;
    const failed: Saga = { kind: 'create', request: CREATE, ...end };
    expect(codes(sight({ cinder: cinder('s2', listed), past: [past(failed, 1)] }))).toEqual([
      'unsent',
    ]);
    expect(codes(sight({ cinder: cinder('s2', listed), past: [past(failed)] }))).toEqual([
      'snapshot-stuck',
    ]);
  });

  test.each([0, 2])('%i attachments', (attachments) => {
    const it = only(sight({ cinder: { ...cinder('s2'), attachments } }));
    expect(it).toMatchObject({ code: 'attachments', severity: 'warning' });
  });
});

describe('the chain that our last operation left', () => {
  const created: Saga = {
    ...{ kind: 'create', request: CREATE, at: 'end', outcome: 'created', reason: '', formats: [] },
  } as never;
  const { process } = sight().guest;
  const left = (...files: string[]): KnownChain => ({
    ...{ directory: '/mnt', files: files.map(file), held: 'nothing', process },
  });

  test('was changed by somebody else while the same QEMU ran', () => {
    const it = only(sight({ chain: left('s1', 'v'), past: [past(created)] }));
    expect(it).toMatchObject({ code: 'changed-by-another', severity: 'warning' });
    expect(it.saw).toBe('the guest has s2,s1,v; operation op-1 had left it s1,v');
    expect(it.todo).toContain('compute_driver in nova.conf');
  });

  test('is as it was left', () => {
    const same = { chain: left('s2', 's1', 'v'), past: [past(created)] };
    expect(codes(sight(same))).toEqual([]);
  });

  test('is of another QEMU, and Cinder may have had the volume in between', () => {
    const chain = { ...left('s1', 'v'), process: 'another' };
    expect(codes(sight({ chain, past: [past(created)] }))).toEqual([]);
    const off = { is: { process: null }, chain: { ...left('s1', 'v'), process: null } };
    expect(codes(sight({ ...off, past: [past(created)] }))).toEqual([]);
  });

  test("is nobody's to judge while something is at work, or nothing is known", () => {
    const open: Saga = { kind: 'create', request: CREATE, at: 'accepted', limits: LIMITS };
    expect(codes(sight({ chain: left('s1', 'v'), past: [past(open)] }))).toEqual([]);
    expect(codes(sight({ chain: left('s1', 'v') }))).toEqual([]);
    expect(codes(sight({ chain: null, past: [past(created)] }))).toEqual([]);
    const job = { kind: 'pull', done: 1, total: 2 } as const;
    const busy = sight({ chain: left('s1', 'v'), past: [past(created)], is: { job } });
    expect(codes(busy)).toEqual(['foreign-job']);
    const unknown: Saga = { ...(created as object), outcome: 'unknown' } as never;
    const doubtful = sight({ chain: left('s1', 'v'), past: [past(unknown)] });
    expect(codes(doubtful)).toEqual(['operation-unknown']);
  });
});

describe('the chain itself', () => {
  test('a job that nobody here began', () => {
    const job = { kind: 'copy', done: 1, total: 2 } as const;
    const it = only(sight({ is: { job } }));
    expect(it).toMatchObject({ code: 'foreign-job', severity: 'warning' });
    const confirming: Saga = { kind: 'create', request: CREATE, at: 'confirming' };
    expect(codes(sight({ is: { job }, past: [past(confirming)] }))).toEqual([]);
    const waiting: Saga = { kind: 'create', request: CREATE, at: 'waiting', limits: LIMITS };
    expect(codes(sight({ is: { job }, past: [past(waiting)] }))).toEqual(['foreign-job']);
  });

  test('one that leaves no room for another snapshot', () => {
    const limits = { maxChainDepth: 3 };
    expect(only(sight({ limits }))).toMatchObject({ code: 'chain-deep', severity: 'warning' });
    expect(codes(sight({ limits: { maxChainDepth: 4 } }))).toEqual([]);
  });

  test('a layer elsewhere, and a source that is no local file', () => {
    const stray = { file: file('v'), directory: '/elsewhere' };
    expect(only(sight({ is: { stray } }))).toMatchObject({
      code: 'stray-layer',
      severity: 'error',
    });
    const source = { kind: 'other', type: 'network (rbd)' } as const;
    expect(only(sight({ is: { source } }))).toMatchObject({ code: 'unsupported-source' });
  });

  test('a format that is not the recorded one, or none at all', () => {
    const known = new Map([[file('v'), format('qcow2')]]);
    expect(only(sight({ known }))).toMatchObject({ code: 'format-differs', severity: 'error' });
    const raw = chain('s2', 's1:raw', 'v');
    expect(codes(sight({ seen: raw }))).toContain('format-differs');
    const old = stripped(chain('s2', 's1', 'v'));
    const headers = headersOf(chain('s2', 's1', 'v'));
    expect(only(sight({ seen: old, headers }))).toMatchObject({ code: 'unknown-format' });
  });
});

describe('what our own journal says', () => {
  const end = { at: 'end', outcome: 'unknown', reason: 'it never answered', formats: [] } as const;

  test('an operation waits for a verdict, and the one that can be proven is named', () => {
    const saga: Saga = { kind: 'create', request: { ...CREATE, newFile: file('s2') }, ...end };
    expect(only(sight({ past: [past(saga)] }))).toMatchObject({
      code: 'operation-unknown',
      severity: 'error',
      todo: 'chainkeeper ops settle op-1 --as done',
    });
    const unused: Saga = { kind: 'create', request: CREATE, ...end };
    expect(only(sight({ past: [past(unused)] })).todo).toBe(
      'chainkeeper ops settle op-1 --as failed',
    );
    const lies = lying(null, 'v', 'raw');
    const both = diagnose(sight({ past: [past(saga)], headers: lies }));
    expect(both.map(({ code }) => code)).toEqual(['operation-unknown', 'header-behind']);
    expect(both[0]?.todo).toMatch(/^chainkeeper ops show op-1/);
  });

  test('and Cinder, which does not know the file, is told by that verdict', () => {
    const saga: Saga = { kind: 'create', request: { ...CREATE, newFile: file('s2') }, ...end };
    const cinder = { active: file('s1'), attachments: 1, snapshots: null };
    const found = diagnose(sight({ past: [past(saga)], cinder }));
    expect(found.map(({ code }) => code)).toEqual(['operation-unknown', 'active-behind']);
    expect(found[1]?.todo).toMatch(/^chainkeeper ops settle op-1 --as done/);
  });

  test('a merge was never proven, and what it emptied is out of the chain', () => {
    const request = { ...SUBJECT, fileToMerge: file('s0'), mergeTarget: file('v') };
    const failed = { at: 'end', outcome: 'failed', reason: '', formats: [] } as const;
    const saga: Saga = { kind: 'delete', request, ...failed, gone: file('s0') };
    expect(only(sight({ past: [past(saga)] }))).toMatchObject({
      code: 'merge-unproven',
      severity: 'error',
      todo: expect.stringContaining('/mnt/s0'),
    });
    const merged: Saga = { ...saga, outcome: 'merged' };
    expect(codes(sight({ past: [past(merged), past(saga)] }))).toEqual([]);
    expect(codes(sight({ past: [past({ ...saga, gone: file('s1') })] }))).toEqual([]);
    expect(codes(sight({ past: [past(saga)], is: { process: null } }))).toEqual([]);
  });

  test('the worst comes first', () => {
    const known = new Map([[file('v'), format('qcow2')]]);
    const found = diagnose(
      sight({ known, cinder: { active: null, attachments: 2, snapshots: [] } }),
    );
    expect(found.map(({ severity }) => severity)).toEqual(['error', 'warning', 'warning']);
  });
});
