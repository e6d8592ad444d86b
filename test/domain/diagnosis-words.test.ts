import { describe, expect, test } from 'vitest';
import { diagnose, type VolumeSight } from '#domain/diagnosis.ts';
import type { OperationId, SnapshotId } from '#domain/ids.ts';
import type { Saga } from '#domain/saga.ts';
import { chain, file, format, stripped } from '../support/chains.ts';
import { CREATE } from '../support/scenes.ts';
import { header, headersOf, SERVER, SUBJECT, VOLUME } from '../support/sights.ts';
import { past, rows, sight, TWO } from '../support/volume-sights.ts';

/** A finding as a person reads it: its class and weight, what was seen, and what to do. */
const read = (it: VolumeSight) =>
  diagnose(it).map(({ code, severity, saw, todo }) => `${severity} ${code}: ${saw}. ${todo}`);
const WHOLE = chain('s2', 's1', 'v');
const lying = (backing: string | null, of: string | null) => ({
  ...headersOf(WHOLE),
  s2: header()(backing, of),
});
const knows = (active: string | null, snapshots: VolumeSight['cinder']['snapshots'] = TWO) => ({
  active: active === null ? null : file(active),
  attachments: 1,
  snapshots,
});
const id = (text: string) => text as SnapshotId;
const UNKNOWN = { at: 'end', outcome: 'unknown', reason: 'it is silent', formats: [] } as const;
const FAILED = { ...UNKNOWN, outcome: 'failed' } as const;
const deleted = (says: object): Saga =>
  ({
    kind: 'delete',
    request: { ...SUBJECT, fileToMerge: file('s0'), mergeTarget: file('v') },
    ...FAILED,
    gone: file('s0'),
    ...says,
  }) as Saga;

test.each<[string, VolumeSight, string[]]>([
  [
    'two attachments',
    sight({ cinder: { ...knows('s2'), attachments: 2 } }),
    [
      'warning attachments: Cinder has 2 attachments of it, and a guest here has it open. ' +
        `openstack volume attachment list --volume-id ${VOLUME}: every request is refused`,
    ],
  ],
  [
    'a stranger',
    sight({ cinder: knows('x') }),
    [
      'error active-stranger: Cinder names x as in use, and the guest writes to s2; x is not in ' +
        'its chain at all. do not restart the guest; correct "active" in ' +
        "Cinder's .info file to s2",
    ],
  ],
  [
    'behind a snapshot',
    sight({ seen: chain('v.a', 's1', 'v'), cinder: knows('s1') }),
    [
      'error active-behind: Cinder names s1 as in use, and the guest writes to v.a, which stands ' +
        "above it. do not restart the guest; Cinder's attachment is stale: correct it to v.a, " +
        'and with Nova run nova-manage volume_attachment refresh before the next start',
    ],
  ],
  [
    'behind in the XML of a guest that is off',
    sight({ cinder: knows('s1', rows({}, {})), is: { process: null } }),
    [
      'error active-behind: Cinder names s1 as in use, and the guest writes to s2, which stands ' +
        'above it. do not start the guest; compare with .info of Cinder first',
    ],
  ],
  [
    'a snapshot that nobody makes',
    sight({ cinder: knows('s2', [...TWO, ...rows({ id: id('c'), status: 'creating' })]) }),
    [
      'warning snapshot-stuck: snapshot c is creating (100%) in Cinder, and nobody has asked for ' +
        'it here. if it stays so for 15 minutes: openstack volume snapshot set --state error c, ' +
        'then delete it',
    ],
  ],
  [
    'a snapshot that nobody deletes any more',
    sight({
      cinder: knows('s2', rows({}, { id: SUBJECT.snapshot, status: 'deleting', progress: null })),
      past: [past(deleted({ gone: null }))],
    }),
    [
      'warning snapshot-stuck: snapshot snapshot-1 is deleting (no progress) in Cinder, and its ' +
        'operation is over. if it stays so for 15 minutes: openstack volume snapshot set --state ' +
        'error snapshot-1, then delete it',
    ],
  ],
  [
    'a snapshot too many',
    sight({ cinder: knows('s2', rows({}, {}, {})) }),
    [
      'error snapshot-without-layer: Cinder has 3 snapshots, and the chain only 2 overlays for ' +
        'them. do not delete a snapshot of it: what one of them froze is not in the chain; find ' +
        "its file by Cinder's .info, and keep a copy of every file of the volume",
    ],
  ],
  [
    'an overlay too many',
    sight({ cinder: knows('s2', rows({})) }),
    [
      'warning layer-without-snapshot: the chain has 2 overlays, and Cinder only 1 snapshots. ' +
        "compare the chain with Cinder's .info; see active-behind where it is the active file",
    ],
  ],
  [
    'a header that is not there',
    sight({
      headers: {
        ...headersOf(WHOLE),
        s1: { ok: false, error: { kind: 'missing', says: 'it is not there' } },
      },
    }),
    [
      'error header-unreadable: the header of s1 cannot be used: it is not there. chainkeeper ' +
        'header /mnt/s1; do not stop the guest before it is mended',
    ],
  ],
  [
    'a header that names nothing',
    sight({ headers: lying(null, null) }),
    [
      'error header-lies: the header of s2 names nothing below it, and the guest has s1: its ' +
        `next start would read another disk. virsh shutdown ${SERVER}; once it is off, and ` +
        'before it starts again: qemu-img rebase -u -f qcow2 -F qcow2 -b s1 /mnt/s2',
    ],
  ],
  [
    'a header that names a file, and the guest has none below',
    sight({
      seen: chain('v:qcow2'),
      headers: { v: header()('x', 'raw') },
      cinder: knows('v', []),
    }),
    [
      'error header-lies: the header of v names x below it, and the guest has nothing: its next ' +
        `start would read another disk. virsh shutdown ${SERVER}; once it is off, and before it ` +
        "starts again: qemu-img rebase -u -f qcow2 -b '' /mnt/v",
    ],
  ],
  [
    'a header that the XML overrides',
    sight({ headers: lying('v', 'raw'), is: { process: null } }),
    [
      'error config-overrides: the header of s2 names v below it, and the XML of the guest, ' +
        'which is off, has s1: the XML wins. before the guest is started: ' +
        'qemu-img rebase -u -f qcow2 -F qcow2 -b s1 /mnt/s2',
    ],
  ],
  ...(['raw', null] as const).map((of): [string, VolumeSight, string[]] => [
    `a header that calls it ${of}`,
    sight({ headers: lying('s1', of) }),
    [
      `error header-format: the header of s2 calls s1 ${of ?? 'nothing'}, and it is qcow2: the ` +
        `next start would read it as something else. virsh shutdown ${SERVER}; once it is off, ` +
        'and before it starts again: qemu-img rebase -u -f qcow2 -F qcow2 -b s1 /mnt/s2',
    ],
  ]),
  [
    'a header over a file whose format nobody knows',
    sight({
      seen: stripped(WHOLE),
      headers: { ...headersOf(WHOLE), s1: header()('x', 'raw') },
    }),
    [
      'error header-lies: the header of s1 names x below it, and the guest has v: its next start ' +
        `would read another disk. virsh shutdown ${SERVER}; once it is off, and before it starts ` +
        'again: qemu-img rebase -u -f qcow2 -F FORMAT -b v /mnt/s1',
      'warning unknown-format: libvirt does not say what v is, and nothing is recorded. virsh ' +
        `edit ${SERVER}: name its format in the XML; it is never guessed`,
    ],
  ],
  [
    'no plain overlay',
    sight({ headers: { ...headersOf(WHOLE), s2: header({ snapshots: 2 })('s1', 'qcow2') } }),
    [
      'warning unsafe-overlay: s2 is no plain overlay: it holds 2 internal snapshots. ' +
        'chainkeeper header /mnt/s2 --size 1073741824',
    ],
  ],
  [
    'no local file',
    sight({ is: { source: { kind: 'other', type: 'block device' } } }),
    [
      'warning unsupported-source: the source of vda is a block device, which is not looked ' +
        'into. if it is a folder of volumes, add it to [libvirt] volume_directories',
    ],
  ],
  [
    'a layer elsewhere',
    sight({ is: { stray: { file: file('v'), directory: '/else' } } }),
    [
      'error stray-layer: v lies in /else, not beside the active file. virsh dumpxml ' +
        `${SERVER}: find out who started it so; its files must lie together`,
    ],
  ],
  [
    'another format',
    sight({ known: new Map([[file('v'), format('qcow2')]]) }),
    [
      'error format-differs: the guest has v as raw, and it was made as qcow2. virsh shutdown ' +
        `${SERVER}, then virsh edit ${SERVER}: its format is qcow2`,
    ],
  ],
  [
    'no room',
    sight({ limits: { maxChainDepth: 3 } }),
    [
      'warning chain-deep: the chain has 3 layers, and the limit is 3. delete snapshots of the ' +
        'volume, or raise [libvirt] max_chain_depth',
    ],
  ],
  [
    "somebody's job, and an operation of ours that is over",
    sight({
      is: { job: { kind: 'copy', done: 1, total: 2 } },
      past: [past(deleted({ gone: null }))],
    }),
    [
      'warning foreign-job: vda has a copy job that chainkeeper did not start. virsh blockjob ' +
        `${SERVER} vda --info: wait until it has ended`,
    ],
  ],
  [
    'a word that Cinder has not heard',
    sight({ past: [past(deleted({ gone: null }), 1)] }),
    [
      'warning unsent: Cinder has not heard yet how operation op-1 on snapshot-1 ended. nothing, ' +
        'it is said until Cinder takes it; see the checks of Cinder in doctor',
    ],
  ],
  [
    'an outcome that nobody knows',
    sight({ past: [past({ kind: 'create', request: CREATE, ...UNKNOWN })] }),
    [
      'error operation-unknown: nobody knows how operation op-1 (create) ended: it is silent. ' +
        'chainkeeper ops settle op-1 --as failed',
    ],
  ],
  [
    'a merge that was never proven',
    sight({ past: [past(deleted({}))] }),
    [
      'error merge-unproven: s0 is out of the chain, and operation op-1 never proved that it was ' +
        'merged. keep a copy of /mnt/s0: what is missing in the volume is in it',
    ],
  ],
])('%s', (_, it, findings) => {
  expect(read(it)).toEqual(findings);
});

const codes = (it: VolumeSight) => diagnose(it).map(({ code }) => code);

describe('which snapshot stands above the file that Cinder names', () => {
  const todo = (snapshots: VolumeSight['cinder']['snapshots'], ops: VolumeSight['past'] = []) => {
    const seen = chain('v.b', 'v.a', 'v');
    const found = diagnose(sight({ seen, cinder: knows('v', snapshots), past: ops }));
    return found.find(({ code }) => code === 'active-behind');
  };
  const [a, b] = [id('a'), id('b')];

  test('one of several is enough, wherever it is', () => {
    for (const one of [a, b]) expect(todo(rows({ id: one }, {}))?.todo).toMatch(/^do not restart/);
    expect(todo(rows({}, {}))?.todo).toMatch(/^virsh blockcommit/);
  });

  test('one that failed keeps nothing', () => {
    expect(todo(rows({ id: a, status: 'error' }, {}))?.todo).toMatch(/^virsh blockcommit/);
  });

  test('one below is none above', () => {
    const seen = chain('v.c', 'v.a', 'v');
    const found = diagnose(sight({ seen, cinder: knows('v.a', rows({ id: a }, {})) }));
    expect(found[0]?.todo).toMatch(/^virsh blockcommit .* --base \/mnt\/v\.a /);
  });

  test('one that is being taken is the one on top', () => {
    const taking = { status: 'creating' };
    expect(todo(rows({ id: b, ...taking }, {}))?.severity).toBe('warning');
    expect(todo(rows({}, { id: b, ...taking }))?.severity).toBe('warning');
    expect(todo(rows({ id: a, ...taking }, {}))?.severity).toBe('error');
    expect(todo(rows({ id: b }, {}))?.severity).toBe('error');
  });

  test('an operation of another kind, or with another end, decides nothing', () => {
    const create = { kind: 'create', request: { ...CREATE, newFile: file('v.b') } } as const;
    const settled = todo(rows({}, {}), [past({ ...create, ...UNKNOWN })]);
    expect(settled?.todo).toMatch(/^chainkeeper ops settle op-1 --as done, unless Cinder calls it/);
    for (const other of [{ ...create, ...FAILED }, deleted({ ...UNKNOWN, gone: null })] as const) {
      expect(todo(rows({}, {}), [past(other)])?.todo).toMatch(/^virsh blockcommit/);
    }
  });
});

describe('a snapshot that Cinder waits for', () => {
  const stuck = (status: string, ...saga: readonly Saga[]) => {
    const listed = rows({}, {}, { id: SUBJECT.snapshot, status });
    const ops = saga.map((one) => past(one));
    return codes(sight({ cinder: knows('s2', listed), past: ops })).includes('snapshot-stuck');
  };
  const create: Saga = { kind: 'create', request: CREATE, at: 'confirming' };
  const removal = deleted({ at: 'waiting' });

  test('has an operation of its own kind under way', () => {
    expect(stuck('creating', create)).toBe(false);
    expect(stuck('deleting', removal)).toBe(false);
    expect(stuck('creating', removal)).toBe(true);
    expect(stuck('deleting', create)).toBe(true);
  });

  test('of its own', () => {
    const other = { ...create, request: { ...CREATE, snapshot: id('other') } } as const;
    expect(stuck('creating', other)).toBe(true);
    expect(stuck('creating', other, create)).toBe(false);
    expect(stuck('creating', { kind: 'create', request: CREATE, ...FAILED }, create)).toBe(true);
  });

  test('or one whose outcome is a finding of its own', () => {
    expect(stuck('creating', { kind: 'create', request: CREATE, ...UNKNOWN })).toBe(false);
  });
});

test.each(['creating', 'deleting', 'error', 'error_deleting'])(
  'a snapshot that is %s need not have an overlay',
  (status) => {
    const listed = rows({}, {}, { id: id('c'), status });
    expect(codes(sight({ cinder: knows('s2', listed) }))).not.toContain('snapshot-without-layer');
  },
);

test('a layer between others is qcow2, whether libvirt says so or not', () => {
  const known = new Map([[file('v'), format('raw')]]);
  const old = sight({ seen: stripped(WHOLE), headers: lying('s1', 'raw'), known });
  expect(codes(old)).toEqual(['header-format']);
});

describe('a header that names a file which is in no chain', () => {
  const behind = (...saga: readonly Saga[]) => {
    const headers = { ...headersOf(WHOLE), s1: header()('s0', 'qcow2') };
    return codes(sight({ headers, past: saga.map((one) => past(one)) }))[0];
  };

  test('is behind when that was merged away, and lies when it was not', () => {
    expect(behind(deleted({ outcome: 'merged' }))).toBe('header-behind');
    expect(behind()).toBe('header-lies');
    expect(behind(deleted({ outcome: 'merged', gone: file('other') }))).toBe('header-lies');
    expect(behind({ kind: 'create', request: CREATE, ...FAILED })).toBe('header-lies');
  });
});

describe('a merge that was never proven', () => {
  const later = (...saga: readonly Saga[]) =>
    codes(sight({ past: [...saga, deleted({})].map((one) => past(one)) }));

  test('was made by a later one of the same file, and by nothing else', () => {
    expect(later(deleted({ outcome: 'merged' }))).toEqual([]);
    expect(later()).toEqual(['merge-unproven']);
    expect(later(deleted({ outcome: 'merged', gone: file('other') }))).toEqual(['merge-unproven']);
    expect(later(deleted({ gone: null }))).toEqual(['merge-unproven']);
    expect(later({ kind: 'create', request: CREATE, ...FAILED })).toEqual(['merge-unproven']);
  });

  test('is none while it is under way, or where nothing was merged', () => {
    expect(codes(sight({ past: [past(deleted({ gone: null }))] }))).toEqual([]);
    expect(codes(sight({ past: [past(deleted({ at: 'accepted' }))] }))).toEqual([]);
  });
});

describe('commands as a shell takes them', () => {
  const lies = (is: object, name = 's2') => {
    const seen = chain(name, 's1', 'v');
    const headers = { [name]: header({ encryption: 'luks' })('v', 'raw') };
    const keys = [name, 's1', 'v'].map((one) => ({
      file: file(one),
      format: 'luks',
      engine: 'qemu',
      secret: 'uuid-1',
    }));
    return diagnose(sight({ seen, headers, is: { keys, ...is } }))[0]?.todo;
  };

  test('a comma in a name is doubled for --image-opts', () => {
    expect(lies({}, 'a,b')).toContain('file.filename=/mnt/a,,b,encrypt');
  });

  test('a source that is no folder: the name alone', () => {
    const source = { kind: 'other', type: 'network (gluster)' } as const;
    expect(lies({ source })).toContain('file.filename=./s2,encrypt');
  });
});

test('no size is compared while nobody asks for it', () => {
  const job = { kind: 'pull', done: 1, total: 2 } as const;
  const open = past({ kind: 'create', request: CREATE, at: 'confirming' });
  expect(codes(sight({ is: { job, size: null }, past: [open] }))).toEqual([]);
});

test('an operation is named by its own id', () => {
  const unsent = { ...past(deleted({ gone: null }), 1), id: 'op-2' as OperationId };
  expect(read(sight({ past: [unsent] }))[0]).toContain('operation op-2 on');
});
