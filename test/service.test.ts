import { describe, expect, test, vi } from 'vitest';
import { explain, type Refusal } from '#domain/failure.ts';
import { type FileName, QCOW2, RAW, type ServerId, type VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import type { DiskView, GuestView } from '#domain/sight.ts';
import type {
  Answer,
  AssistedCreate,
  AssistedDelete,
  AssistedRequest,
} from '#ports/assisted-snapshots.ts';
import { SimDisk } from '#sim/disk.ts';
import { CALLER, Desk, type DeskOptions, NEVER } from './support/desk.ts';

vi.setConfig({ testTimeout: 60_000 });

const ask = (desk: Desk, asked: AssistedRequest): Promise<Answer> =>
  asked.kind === 'create' ? desk.service.create(asked, CALLER) : desk.service.delete(asked, CALLER);

const create = (it: AssistedCreate): AssistedRequest => ({ kind: 'create', ...it });
const remove = (it: AssistedDelete): AssistedRequest => ({ kind: 'delete', ...it });

/** What no simulated guest is: the view is changed on its way. */
function seen(desk: Desk, change: Partial<DiskView>): void {
  desk.between = async (_port, method, call) => {
    const answer = await call();
    if (method !== 'look') return answer;
    const { value } = answer as { value: GuestView };
    return ok({ ...value, ...change });
  };
}

interface Bad {
  readonly why: string;
  readonly kind: Refusal['kind'];
  readonly desk?: DeskOptions;
  readonly ask: (desk: Desk) => AssistedRequest | Promise<AssistedRequest>;
}

const STRANGER = '00000000-0000-4000-8000-000000000000';

const BAD: readonly Bad[] = [
  {
    why: 'a volume that Cinder does not know',
    kind: 'unknown-volume',
    ask: (desk) => {
      const volume = STRANGER as VolumeId;
      const snapshot = desk.row('creating', volume);
      return create({ volume, snapshot, newFile: desk.file(snapshot, volume) });
    },
  },
  {
    why: 'a snapshot of another volume',
    kind: 'other-volume',
    ask: (desk) => create({ ...desk.prepared(desk.cloud.root), volume: desk.cloud.volume }),
  },
  ...['available', 'deleting', 'error', 'backing-up'].map(
    (status): Bad => ({
      why: `a create of a snapshot that is ${status}`,
      kind: 'wrong-status',
      ask: (desk) => {
        const asked = desk.prepared();
        desk.cloud.cinder.resetState(asked.snapshot, status);
        return create(asked);
      },
    }),
  ),
  ...['available', 'creating', 'error_deleting'].map(
    (status): Bad => ({
      why: `a delete of a snapshot that is ${status}`,
      kind: 'wrong-status',
      ask: async (desk) => {
        const asked = desk.deletion(await desk.taken(2), 0);
        desk.cloud.cinder.resetState(asked.snapshot, status);
        return remove(asked);
      },
    }),
  ),
  {
    why: 'a volume that is not attached',
    kind: 'not-attached',
    ask: (desk) => {
      Object.assign(desk.cloud.cinder.attachmentsOf(desk.cloud.volume)[0]!, { status: 'detached' });
      return create(desk.prepared());
    },
  },
  {
    why: 'a volume that is attached twice',
    kind: 'attached-twice',
    ask: (desk) => {
      const { cinder, volume } = desk.cloud;
      cinder.attach(cinder.volumes.get(volume)!, STRANGER as ServerId);
      return create(desk.prepared());
    },
  },
  {
    why: 'a guest that is not on this host',
    kind: 'guest-not-found',
    ask: (desk) => {
      const [row] = desk.cloud.cinder.attachmentsOf(desk.cloud.volume);
      Object.assign(row!, { server: STRANGER });
      return create(desk.prepared());
    },
  },
  {
    why: 'a guest without that disk',
    kind: 'disk-not-found',
    ask: (desk) => {
      const { cinder, share, server } = desk.cloud;
      const volume = STRANGER as VolumeId;
      const name = desk.file(null, volume);
      cinder.attach({ id: volume, name, clusters: 4, format: RAW }, server);
      return create(desk.prepared(new SimDisk(share, volume, 'vdz', name, RAW)));
    },
  },
  {
    why: 'two disks with one serial',
    kind: 'ambiguous-disk',
    ask: (desk) => {
      const { share, volume, guest } = desk.cloud;
      const twin = new SimDisk(share, volume, 'vdc', desk.file(null), RAW);
      (guest.disks as SimDisk[]).push(twin);
      return create(desk.prepared());
    },
  },
  {
    why: 'a disk whose source is no file',
    kind: 'unsupported-source',
    ask: (desk) => {
      seen(desk, { source: { kind: 'other', type: 'network (nbd)' } });
      return create(desk.prepared());
    },
  },
  {
    why: 'a layer in another folder',
    kind: 'other-directory',
    ask: (desk) => {
      seen(desk, { stray: { file: 'a' as FileName, directory: '/elsewhere' } });
      return create(desk.prepared());
    },
  },
  {
    why: 'an encrypted disk',
    kind: 'encrypted',
    ask: (desk) => {
      const key = { format: 'qcow', engine: 'qemu', secret: 'uuid-1' };
      seen(desk, { keys: [{ file: 'volume' as FileName, ...key }] });
      return create(desk.prepared());
    },
  },
  {
    why: "somebody else's block job",
    kind: 'foreign-job',
    ask: (desk) => {
      desk.cloud.hypervisor.startForeignJob(desk.cloud);
      return create(desk.prepared());
    },
  },
  {
    why: 'another file in use than Cinder believes',
    kind: 'active-differs',
    ask: (desk) => {
      const [row] = desk.cloud.cinder.attachmentsOf(desk.cloud.volume);
      Object.assign(row!, { name: 'another' });
      return create(desk.prepared());
    },
  },
  {
    why: 'a chain that would be too deep',
    kind: 'chain-too-deep',
    desk: { maxChainDepth: 2 },
    ask: async (desk) => {
      await desk.taken(1);
      return create(desk.prepared());
    },
  },
  {
    why: 'the overlay of another snapshot',
    kind: 'other-name',
    ask: async (desk) => {
      const [first] = await desk.taken(1);
      return create({ ...desk.prepared(), newFile: desk.file(first!) });
    },
  },
  {
    why: 'a new file that is in use already',
    kind: 'already-in-chain',
    ask: (desk) => {
      const asked = desk.prepared();
      const below = { file: asked.newFile, format: QCOW2, on: null };
      seen(desk, { chain: { file: desk.file(null), format: QCOW2, on: below } });
      return create(asked);
    },
  },
  {
    why: 'an overlay that is not there',
    kind: 'overlay-refused',
    ask: (desk) => {
      const asked = desk.prepared();
      desk.cloud.share.files.delete(asked.newFile);
      return create(asked);
    },
  },
  ...(
    [
      ['on another file', { backing: 'another' }],
      ['on a file of the host', { backing: '/etc/shadow', backingFormat: 'raw' }],
      ['on nothing', { backing: null }],
      ['of another size', { clusters: 5 }],
      ['with a data file', { features: 4 }],
      ['that is corrupt', { features: 2 }],
      ['that something has open', { features: 1 }],
      ['that is raw', { format: RAW }],
    ] as const
  ).map(
    ([what, says]): Bad => ({
      why: `an overlay ${what}`,
      kind: 'overlay-refused',
      ask: (desk) => create(desk.prepared(desk.cloud.disk, says)),
    }),
  ),
  {
    why: 'a base of which nobody recorded the format, on an old libvirt',
    kind: 'unknown-format',
    desk: { oldLibvirt: true },
    ask: async (desk) => {
      await desk.taken(1);
      // Another machine's journal: what this one knew is not there.
      desk.journal.restore({ ...(desk.journal.snapshot() as object), formats: new Map() });
      return create(desk.prepared());
    },
  },
  {
    why: 'a file to merge that is not in the chain',
    kind: 'not-in-chain',
    ask: async (desk) => {
      const asked = desk.deletion(await desk.taken(3), 1);
      return remove({ ...asked, fileToMerge: 'another' as FileName });
    },
  },
  {
    why: 'a merge target that is not in the chain',
    kind: 'not-in-chain',
    ask: async (desk) => {
      const asked = desk.deletion(await desk.taken(3), 1);
      return remove({ ...asked, mergeTarget: 'another' as FileName });
    },
  },
  {
    why: 'a merge target that is not next',
    kind: 'not-adjacent',
    ask: async (desk) => {
      const asked = desk.deletion(await desk.taken(3), 1);
      return remove({ ...asked, mergeTarget: desk.file(null) });
    },
  },
  {
    why: 'a pull over two layers',
    kind: 'not-one-layer',
    ask: async (desk) => remove({ ...desk.deletion(await desk.taken(3), 2), fileToMerge: null }),
  },
  {
    why: 'a commit of the file that the guest writes to',
    kind: 'top-is-active',
    ask: async (desk) => {
      const ids = await desk.taken(2);
      const asked = desk.deletion(ids, 1);
      const fileToMerge = desk.file(ids[1]!);
      return remove({ ...asked, fileToMerge, mergeTarget: desk.file(ids[0]!) });
    },
  },
  {
    why: 'a target and no file',
    kind: 'bad-request',
    ask: async (desk) => remove({ ...desk.deletion(await desk.taken(2), 0), fileToMerge: null }),
  },
  {
    why: 'a delete while the guest is shut off, and a header names no format',
    kind: 'broken-chain',
    ask: async (desk) => {
      const ids = await desk.taken(2);
      const file = desk.cloud.share.file(desk.file(ids[0]!))!;
      file.header = { ...file.header!, format: null };
      seen(desk, { process: null });
      return remove(desk.deletion(ids, 1));
    },
  },
  {
    why: 'a header that names another file than the guest has',
    kind: 'header-disagrees',
    ask: async (desk) => {
      const ids = await desk.taken(2);
      const file = desk.cloud.share.file(desk.file(ids[1]!))!;
      file.header = { ...file.header!, backing: 'another' };
      return remove(desk.deletion(ids, 0));
    },
  },
  {
    why: 'a layer of another size',
    kind: 'size-differs',
    ask: async (desk) => {
      const ids = await desk.taken(2);
      const file = desk.cloud.share.file(desk.file(ids[0]!))!;
      file.header = { ...file.header!, clusters: 3 };
      return remove(desk.deletion(ids, 0));
    },
  },
];

describe('a request that does not fit is refused, and nothing has changed', () => {
  test.each(BAD)('$why: $kind', async (bad) => {
    const desk = new Desk(bad.desk);
    const asked = await bad.ask(desk);
    const before = desk.everything();
    const answer = await desk.answered(ask(desk, asked));
    expect(answer).toMatchObject({ ok: false, error: { refusal: { kind: bad.kind } } });
    await desk.clock.advance(20_000);
    expect(desk.everything()).toEqual(before);
    expect(desk.defects).toEqual([]);
  });
});

test('of a guest that is not here it is said where Cinder has it', async () => {
  const desk = new Desk();
  const [row] = desk.cloud.cinder.attachmentsOf(desk.cloud.volume);
  Object.assign(row!, { server: STRANGER });
  const answer = await desk.answered(desk.service.create(desk.prepared(), CALLER));
  const refusal = { kind: 'guest-not-found', server: STRANGER, host: 'host' } as const;
  expect(answer).toMatchObject({ ok: false, error: { refusal } });
  expect(explain(refusal as never)).toContain('send the request to host.');
});

describe('no file that may be raw is opened', () => {
  test('for a delete: one outside the chain', async () => {
    const desk = new Desk();
    const asked = desk.deletion(await desk.taken(2), 0);
    const raw = 'a-base-that-was-merged-away' as FileName;
    desk.cloud.share.create(raw, { format: RAW });
    const answer = await desk.answered(desk.service.delete({ ...asked, fileToMerge: raw }, CALLER));
    expect(answer).toMatchObject({ ok: false, error: { refusal: { kind: 'not-in-chain' } } });
    expect(desk.images.opened).not.toContain(raw);
  });

  test('for a create: one that Cinder did not make for the snapshot', async () => {
    const desk = new Desk();
    const raw = 'volume-of-another' as FileName;
    desk.cloud.share.create(raw, { format: RAW });
    const asked = { ...desk.prepared(), newFile: raw };
    const answer = await desk.answered(desk.service.create(asked, CALLER));
    expect(answer).toMatchObject({ ok: false, error: { refusal: { kind: 'other-name' } } });
    expect(desk.images.opened).not.toContain(raw);
  });

  test('for a create: one that was recorded as raw', async () => {
    const desk = new Desk();
    const asked = desk.prepared();
    const known = new Map([[asked.newFile, RAW]]);
    desk.journal.formats = async () => known;
    const answer = await desk.answered(desk.service.create(asked, CALLER));
    expect(answer).toMatchObject({ ok: false, error: { refusal: { kind: 'overlay-refused' } } });
    expect(desk.images.opened).not.toContain(asked.newFile);
  });
});

describe('accepting', () => {
  test('a create is checked, accepted in one entry, answered, in this order', async () => {
    const desk = new Desk();
    const heard: string[] = [];
    desk.between = (port, method, call) => {
      if (port === 'journal' && /^(ask|accept|drop|commit)$/.test(method)) heard.push(method);
      if (port === 'libvirt') heard.push(method);
      return call();
    };
    const asked = desk.prepared();
    const answer = desk.service.create(asked, CALLER).then((it) => {
      heard.push('answer');
      return it;
    });
    expect(await desk.answered(answer)).toMatchObject({ ok: true });
    await desk.idle();
    const upTo = heard.indexOf('snapshot');
    expect(heard.slice(0, 4)).toEqual(['look', 'ask', 'answer', 'commit']);
    expect(heard.slice(0, upTo)).toContain('answer');
    expect(heard.slice(0, upTo).at(-1)).toBe('commit');
    expect(await desk.standing(asked.snapshot)).toEqual(['created']);
  });

  test('a delete is answered only after Cinder has accepted 0%', async () => {
    const desk = new Desk();
    const asked = desk.deletion(await desk.taken(2), 0);
    Object.assign(desk.cloud.cinder.snapshots.get(asked.snapshot)!, { progress: '90%' });
    const heard: string[] = [];
    desk.between = async (port, method, call) => {
      const answer = await call();
      if (method === 'update' || (port === 'journal' && method === 'accept')) heard.push(method);
      return answer;
    };
    const answer = desk.service.delete(asked, CALLER).then((it) => {
      heard.push('answer');
      return it;
    });
    expect(await desk.answered(answer)).toMatchObject({ ok: true });
    expect(desk.cloud.cinder.snapshots.get(asked.snapshot)).toMatchObject({ progress: '0%' });
    expect(heard.slice(0, 3)).toEqual(['update', 'accept', 'answer']);
  });

  test.each([
    ['Cinder is not there', { kind: 'unreachable', who: 'Cinder', detail: 'x' }],
    ['Cinder gives no clear answer', { kind: 'unknown', who: 'Cinder', detail: 'x' }],
    ['Cinder forbids it', { kind: 'rejected', who: 'Cinder', code: 403, detail: 'x' }],
  ] as const)('%s for the 0%%: nothing is accepted, nothing is left', async (_, fault) => {
    const desk = new Desk();
    const asked = desk.deletion(await desk.taken(2), 0);
    const before = desk.everything();
    desk.between = (_port, method, call) =>
      method === 'update' ? Promise.resolve({ ok: false, error: fault }) : call();
    const answer = await desk.answered(desk.service.delete(asked, CALLER));
    expect(answer).toEqual({ ok: false, error: { kind: 'fault', fault } });
    await desk.clock.advance(60_000);
    expect(desk.everything()).toEqual(before);
  });

  test('Cinder has no use for the 0%: nothing is accepted', async () => {
    const desk = new Desk();
    const asked = desk.deletion(await desk.taken(2), 0);
    desk.between = (_port, method, call) => {
      if (method === 'update') desk.cloud.cinder.resetState(asked.snapshot, 'error_deleting');
      return call();
    };
    const answer = await desk.answered(desk.service.delete(asked, CALLER));
    expect(answer).toMatchObject({ ok: false, error: { refusal: { kind: 'wrong-status' } } });
    const { snapshot } = asked;
    expect(await desk.journal.operations({ snapshot, kind: 'delete', limit: 9 })).toEqual([]);
  });

  test('a snapshot that Cinder does not know is accepted, and nothing is done', async () => {
    const desk = new Desk();
    const ids = await desk.taken(2);
    const created = { ...desk.prepared(), snapshot: STRANGER as never };
    const deleted = { ...desk.deletion(ids, 0), snapshot: STRANGER as never };
    const before = desk.everything();
    const nothing = { ok: true, value: { operation: null } };
    expect(await desk.answered(desk.service.create(created, CALLER))).toEqual(nothing);
    expect(await desk.answered(desk.service.delete(deleted, CALLER))).toEqual(nothing);
    await desk.clock.advance(20_000);
    expect(desk.everything()).toEqual(before);
  });
});

type Wrong = (call: () => unknown, desk: Desk) => Promise<unknown>;
type Prepare = (desk: Desk) => Promise<AssistedRequest>;

/** What can go wrong with one call. */
const WRONG = {
  unreachable: () => Promise.resolve(fault('unreachable')),
  'unknown, not done': () => Promise.resolve(fault('unknown')),
  'unknown, but done': async (call) => {
    await call();
    return fault('unknown');
  },
  'no answer, not done': () => NEVER,
  'no answer, but done': async (call) => {
    await call();
    return NEVER;
  },
  'late, done late': async (call, desk) => {
    await desk.clock.sleep(9_000);
    return call();
  },
  'late, done at once': async (call, desk) => {
    const answer = await call();
    await desk.clock.sleep(9_000);
    return answer;
  },
} as const satisfies Record<string, Wrong>;

const fault = (kind: 'unreachable' | 'unknown') => ({
  ok: false,
  error: { kind, who: 'libvirt', detail: 'planted' },
});

const REQUESTS: Readonly<Record<string, Prepare>> = {
  create: async (desk) => create(desk.prepared()),
  delete: async (desk) => remove(desk.deletion(await desk.taken(2), 0)),
  'delete again, while it runs': async (desk) => {
    const asked = desk.deletion(await desk.taken(2), 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    return remove(asked);
  },
  'delete again, once it is done': async (desk) => {
    const asked = desk.deletion(await desk.taken(2), 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.idle();
    return remove(asked);
  },
};

/** The calls of ports that a request makes before it is answered. */
async function callsOf(prepare: Prepare): Promise<readonly string[]> {
  const desk = new Desk({ tickMs: 20_000 });
  const asked = await prepare(desk);
  const calls: string[] = [];
  desk.between = (port, method, call) => {
    calls.push(`${port} ${method}`);
    return call();
  };
  const answer = ask(desk, asked).then((it) => {
    desk.between = (_port, _method, call) => call();
    return it;
  });
  expect(await desk.answered(answer)).toMatchObject({ ok: true });
  return calls;
}

/** Lets call `at` of the request go wrong; whatever is answered, the journal must agree. */
async function agreed(prepare: Prepare, wrong: Wrong, at: number, where: string): Promise<void> {
  const desk = new Desk({ tickMs: 20_000 });
  const asked = await prepare(desk);
  const before = await operationsOf(desk, asked);
  let nth = 0;
  desk.between = (_port, _method, pass) => (nth++ === at ? wrong(pass, desk) : pass());
  const asking = desk.clock.now();
  const answer = await desk.answered(ask(desk, asked));
  const took = desk.clock.now() - asking;
  await desk.clock.advance(300_000);
  const after = await operationsOf(desk, asked);
  // It was past the point of no return, and only the journal knows.
  if (answer === 'none') return expect(where).toContain('once it is accepted');
  if (answer.ok) return expect(after, where).toContain(answer.value.operation);
  expect(after, where).toEqual(before);
  expect(took, where).toBeLessThanOrEqual(8_000);
}

/** The journal answers no faults: it works, or the process has met a defect. */
const possible = (call: string, what: string) => !/^journal/.test(call) || !/^un/.test(what);
const lastOf = (what: string) => (/^create/.test(what) ? 'journal ask' : 'journal accept');

describe.each(Object.entries(REQUESTS))('%s: whatever hangs or fails', (name, prepare) => {
  test.each(Object.entries(WRONG))('%s: the answer and the journal agree', async (what, wrong) => {
    const calls = await callsOf(prepare);
    expect(calls.length).toBeGreaterThan(3);
    for (const [at, call] of calls.entries()) {
      if (at >= calls.indexOf(lastOf(name)) || !possible(call, what)) continue;
      await agreed(prepare, wrong, at, `${name}, call ${at + 1} (${call}): ${what}`);
    }
  });
});

describe('when the journal is slow to write the acceptance down', () => {
  const SLOW = ['no answer, but done', 'late, done late', 'late, done at once'] as const;
  const OPENS = Object.entries(REQUESTS).filter(([name]) => !name.includes('while it runs'));
  const cases = SLOW.flatMap((what) => OPENS.map(([name]) => ({ what, name })));

  test.each(cases)('$what, $name: the answer waits for it', async ({ what, name }) => {
    const calls = await callsOf(REQUESTS[name]!);
    for (const [at, call] of calls.entries()) {
      if (at < calls.indexOf(lastOf(name))) continue;
      await agreed(
        REQUESTS[name]!,
        WRONG[what],
        at,
        `${name}, once it is accepted: ${call}: ${what}`,
      );
    }
  });
});

async function operationsOf(desk: Desk, { snapshot }: AssistedRequest): Promise<readonly string[]> {
  const found = await desk.journal.operations({ snapshot, limit: 100 });
  return found.map((one) => one.id).reverse();
}

describe('the same request again', () => {
  test('while it runs, it joins: one operation, one job, one result', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const asked = desk.deletion(await desk.taken(2), 0);
    let merges = 0;
    desk.between = (_port, method, call) => {
      if (method === 'merge') merges++;
      return call();
    };
    const first = await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(3_000);
    const second = await desk.answered(desk.service.delete(asked, CALLER));
    expect(first).toMatchObject({ ok: true });
    expect(second).toEqual(first);
    await desk.idle();
    expect(merges).toBe(1);
    expect(await desk.standing(asked.snapshot)).toEqual(['merged']);
    expect(desk.told(asked.snapshot).at(-1)).toBe('deleting 90%');
  });

  test('at the same moment, it joins', async () => {
    const desk = new Desk();
    const asked = desk.prepared();
    const both = Promise.all([
      desk.service.create(asked, CALLER),
      desk.service.create(asked, CALLER),
    ]);
    const [first, second] = await desk.clock.until(both);
    expect(first).toMatchObject({ ok: true });
    expect(second).toEqual(first);
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['created']);
  });

  test('when it ends just while its progress is set back, its last word is said anew', async () => {
    const desk = new Desk({ tickMs: 500 });
    const asked = desk.deletion(await desk.taken(2), 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    let first = true;
    desk.between = async (_port, method, call) => {
      const answer = await call();
      if (method !== 'operations' || !first) return answer;
      first = false;
      // What the journal said is old by the time that it is heard.
      await desk.clock.sleep(6_000);
      expect(desk.told(asked.snapshot).at(-1)).toBe('deleting 90%');
      return answer;
    };
    const again = await desk.answered(desk.service.delete(asked, CALLER));
    expect(again).toMatchObject({ ok: true });
    await desk.idle();
    const words = ['deleting 90%', 'deleting 0%', 'deleting 90%'];
    const told = desk.told(asked.snapshot).filter((it) => words.includes(it));
    expect(told.at(-1)).toBe('deleting 90%');
    expect(told.slice(1)).toContain('deleting 0%');
    expect(await desk.standing(asked.snapshot)).toEqual(['merged', 'merged']);
  });

  test('with other arguments while it runs, it is refused', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const ids = await desk.taken(3);
    const asked = desk.deletion(ids, 1);
    await desk.answered(desk.service.delete(asked, CALLER));
    const before = desk.everything();
    const other = { ...asked, mergeTarget: desk.file(null) };
    const answer = await desk.answered(desk.service.delete(other, CALLER));
    expect(answer).toMatchObject({ ok: false, error: { refusal: { kind: 'other-arguments' } } });
    expect(desk.everything()).toEqual(before);
  });

  test('a create that is done is answered by the journal', async () => {
    const desk = new Desk();
    const asked = desk.prepared();
    await desk.answered(desk.service.create(asked, CALLER));
    await desk.idle();
    const chain = desk.cloud.chainLines();
    const again = await desk.answered(desk.service.create(asked, CALLER));
    expect(again).toMatchObject({ ok: true });
    await desk.idle();
    expect(desk.cloud.chainLines()).toEqual(chain);
    expect(await desk.standing(asked.snapshot)).toEqual(['created', 'created']);
    expect(desk.told(asked.snapshot)).toEqual(['creating 90%', 'creating 90%']);
  });

  test('H13: a commit that is done is answered by the journal', async () => {
    const desk = new Desk();
    const ids = await desk.taken(2);
    const asked = desk.deletion(ids, 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.idle();
    const chain = desk.cloud.chainLines();
    const again = await desk.answered(desk.service.delete(asked, CALLER));
    expect(again).toMatchObject({ ok: true });
    await desk.idle();
    expect(desk.cloud.chainLines()).toEqual(chain);
    expect(desk.told(asked.snapshot).slice(-3)).toEqual([
      'deleting 90%',
      'deleting 0%',
      'deleting 90%',
    ]);
    expect(await desk.standing(asked.snapshot)).toEqual(['merged', 'merged']);
  });

  test('H12: a pull that is done, reckoned anew from its own result, is refused', async () => {
    const desk = new Desk();
    const ids = await desk.taken(3);
    const asked = desk.deletion(ids, 2);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.idle();
    const before = desk.everything();
    // Cinder's .info is unchanged: it reads what the active file stands on now, and goes on.
    const anew = { ...asked, fileToMerge: desk.file(null) };
    const answer = await desk.answered(desk.service.delete(anew, CALLER));
    expect(answer).toMatchObject({ ok: false, error: { refusal: { kind: 'other-arguments' } } });
    await desk.clock.advance(20_000);
    expect(desk.everything()).toEqual(before);
  });

  test('one that has just seen that Cinder gave up looks again when it is joined', async () => {
    const desk = new Desk();
    const ids = await desk.taken(2);
    const asked = desk.deletion(ids, 1);
    const { cinder } = desk.cloud;
    let looks = 0;
    desk.between = async (_port, method, call) => {
      const answer = await call();
      // The second look at the snapshot is the operation's own, the last one before it begins.
      if (method !== 'snapshot' || ++looks !== 2) return answer;
      desk.between = (_, __, other) => other();
      const again = desk.service.delete(asked, CALLER);
      await desk.clock.sleep(10);
      expect(await again).toMatchObject({ ok: true });
      return ok({ volume: asked.volume, status: 'error_deleting', progress: '0%' });
    };
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['merged']);
    expect(cinder.snapshots.get(asked.snapshot)).toMatchObject({ progress: '90%' });
  });

  test('H12 after a crash of QEMU: what may be done is not reckoned anew', async () => {
    const desk = new Desk();
    const ids = await desk.taken(3);
    const asked = desk.deletion(ids, 2);
    // The header is rewritten, the tables are not yet on disk: QEMU dies at the flush, and the
    // guest is there again before anyone has looked.
    desk.between = (_port, method, call) => {
      if (method === 'flush') {
        desk.cloud.hypervisor.end(desk.cloud.server, 'killed');
        desk.cloud.hypervisor.start(desk.cloud.server);
      }
      return call();
    };
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['failed']);
    expect(desk.cloud.disk.chain().on?.file).toBe(desk.file(ids[0]!));
    desk.cloud.cinder.resetState(asked.snapshot, 'deleting');
    const before = desk.everything();
    const anew = { ...asked, fileToMerge: desk.file(null) };
    const answer = await desk.answered(desk.service.delete(anew, CALLER));
    expect(answer).toMatchObject({ ok: false, error: { refusal: { kind: 'other-arguments' } } });
    await desk.clock.advance(20_000);
    expect(desk.everything()).toEqual(before);
  });

  test('after a crash of QEMU whose header was set back, it is reckoned anew', async () => {
    const desk = new Desk();
    const ids = await desk.taken(3);
    desk.cloud.disk.flush();
    const before = desk.cloud.disk.view();
    desk.between = (_port, method, call) => {
      if (method === 'flush') desk.cloud.hypervisor.end(desk.cloud.server, 'killed');
      return call();
    };
    await desk.answered(desk.service.delete(desk.deletion(ids, 2), CALLER));
    await desk.idle();
    expect(await desk.standing(ids[2]!)).toEqual(['failed']);
    desk.between = (_port, _method, call) => call();
    desk.cloud.hypervisor.start(desk.cloud.server);
    expect(desk.cloud.disk.chain().on?.file).toBe(desk.file(ids[1]!));
    expect(desk.cloud.disk.view()).toEqual(before);
    const ended = await desk.clock.until(desk.cloud.cinder.deleteSnapshot(ids[1]!));
    expect(ended.status).toBe('deleted');
  });

  test('after a crash of QEMU that left the chain as it was, it is reckoned anew', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const ids = await desk.taken(3);
    const asked = desk.deletion(ids, 1);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(3_000);
    desk.cloud.hypervisor.end(desk.cloud.server, 'killed');
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['failed']);
    desk.cloud.hypervisor.start(desk.cloud.server);
    const ended = await desk.clock.until(desk.cloud.cinder.deleteSnapshot(ids[0]!));
    expect(ended.status).toBe('deleted');
    desk.cloud.cinder.resetState(asked.snapshot, 'deleting');
    const anew = { ...asked, mergeTarget: desk.file(null) };
    expect(await desk.answered(desk.service.delete(anew, CALLER))).toMatchObject({ ok: true });
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['merged', 'failed']);
  });

  test('after a crash of QEMU it is reckoned anew once a neighbour merged the file', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const ids = await desk.taken(3);
    // Newest first: its pull would merge the file of the one before it.
    const asked = desk.deletion(ids, 2);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(3_000);
    desk.cloud.hypervisor.end(desk.cloud.server, 'killed');
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['failed']);
    desk.cloud.hypervisor.start(desk.cloud.server);
    const ended = await desk.clock.until(desk.cloud.cinder.deleteSnapshot(ids[1]!));
    expect(ended.status).toBe('deleted');
    desk.cloud.cinder.resetState(asked.snapshot, 'deleting');
    const anew = { ...asked, fileToMerge: desk.file(null) };
    expect(await desk.answered(desk.service.delete(anew, CALLER))).toMatchObject({ ok: true });
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['merged', 'failed']);
  });

  test('after a failure it is a new attempt', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const asked = desk.deletion(await desk.taken(2), 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(3_000);
    desk.cloud.hypervisor.cancel(desk.cloud);
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['failed']);
    expect(desk.told(asked.snapshot).at(-1)).toBe('error_deleting 0%');
    desk.cloud.cinder.resetState(asked.snapshot, 'deleting');
    expect(await desk.answered(desk.service.delete(asked, CALLER))).toMatchObject({ ok: true });
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['merged', 'failed']);
  });

  test('a failure between two layers that changed meanwhile is reckoned anew', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const ids = await desk.taken(3);
    const asked = desk.deletion(ids, 1);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(3_000);
    desk.cloud.hypervisor.cancel(desk.cloud);
    await desk.idle();
    const ended = await desk.clock.until(desk.cloud.cinder.deleteSnapshot(ids[0]!));
    expect(ended.status).toBe('deleted');
    desk.cloud.cinder.resetState(asked.snapshot, 'deleting');
    const anew = { ...asked, mergeTarget: desk.file(null) };
    expect(await desk.answered(desk.service.delete(anew, CALLER))).toMatchObject({ ok: true });
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['merged', 'failed']);
  });

  test('after an unknown outcome it is refused', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const asked = desk.deletion(await desk.taken(2), 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    const [open] = await desk.journal.operations({ snapshot: asked.snapshot, limit: 1 });
    const { kind, request } = open!.saga as Extract<typeof open, object>['saga'];
    const end = { at: 'end', outcome: 'unknown', reason: 'planted', formats: [], gone: null };
    const saga = { kind, request, ...end } as never;
    desk.build();
    const nothing = { evidence: [], tell: null, formats: [], chain: null };
    await desk.journal.commit(open!.id, { saga, ...nothing });
    const before = desk.everything();
    const answer = await desk.answered(desk.service.delete(asked, CALLER));
    expect(answer).toMatchObject({ ok: false, error: { refusal: { kind: 'unsettled' } } });
    expect(desk.everything()).toEqual(before);
  });

  test('what an ended attempt still had to say is not said after the new one', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const asked = desk.deletion(await desk.taken(2), 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(3_000);
    desk.cloud.volumes.away = true;
    desk.cloud.hypervisor.cancel(desk.cloud);
    await desk.clock.advance(5_000);
    expect(await desk.standing(asked.snapshot)).toEqual(['failed']);
    desk.cloud.volumes.away = false;
    expect(await desk.answered(desk.service.delete(asked, CALLER))).toMatchObject({ ok: true });
    await desk.idle();
    expect(desk.told(asked.snapshot)).not.toContain('error_deleting 0%');
    expect(desk.told(asked.snapshot).at(-1)).toBe('deleting 90%');
  });

  test('an answer that came too late is not followed by a 0% of its own', async () => {
    const desk = new Desk({ tickMs: 5_000 });
    const asked = desk.deletion(await desk.taken(2), 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    let slow = true;
    desk.between = async (_port, method, call) => {
      if (method === 'snapshot' && slow) {
        slow = false;
        await desk.clock.sleep(9_000);
      }
      return call();
    };
    const zeros = () => desk.told(asked.snapshot).filter((it) => it === 'deleting 0%').length;
    const before = zeros();
    const again = await desk.answered(desk.service.delete(asked, CALLER));
    expect(again).toMatchObject({ ok: false });
    await desk.idle();
    expect(zeros()).toBe(before);
  });
});

describe('beside other requests', () => {
  test('behind an operation of ours it is accepted unseen, and decided later', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const ids = await desk.taken(3);
    const first = desk.deletion(ids, 1);
    const second = desk.prepared();
    await desk.answered(desk.service.delete(first, CALLER));
    await desk.clock.advance(3_000);
    const answer = await desk.answered(desk.service.create(second, CALLER));
    expect(answer).toMatchObject({ ok: true });
    expect(await desk.standing(second.snapshot)).toEqual(['waiting']);
    expect(desk.cloud.disk.job).not.toBeNull();
    await desk.idle();
    expect(await desk.standing(first.snapshot)).toEqual(['merged']);
    expect(await desk.standing(second.snapshot)).toEqual(['created']);
    expect(desk.cloud.disk.chain().file).toBe(second.newFile);
  });

  test('a refusal that comes with its turn becomes a status', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const ids = await desk.taken(3);
    const first = desk.deletion(ids, 1);
    const bad = desk.prepared(desk.cloud.disk, { backing: '/etc/shadow' });
    await desk.answered(desk.service.delete(first, CALLER));
    expect(await desk.answered(desk.service.create(bad, CALLER))).toMatchObject({ ok: true });
    await desk.idle();
    expect(await desk.standing(bad.snapshot)).toEqual(['failed']);
    expect(desk.told(bad.snapshot)).toEqual(['error 0%']);
    expect(await desk.standing(first.snapshot)).toEqual(['merged']);
  });

  test('other volumes are not held up', async () => {
    const desk = new Desk();
    const { volume, root } = desk.cloud;
    const stuck = desk.prepared();
    const free = desk.prepared(root);
    desk.between = (_port, method, call, [disk]) =>
      method === 'look' && (disk as { volume: VolumeId }).volume === volume ? NEVER : call();
    const hung = desk.service.create(stuck, CALLER);
    const answer = await desk.answered(desk.service.create(free, CALLER));
    expect(answer).toMatchObject({ ok: true });
    await desk.clock.advance(1_000);
    expect(await desk.standing(free.snapshot)).toEqual(['created']);
    expect(await desk.answered(hung)).toMatchObject({ ok: false });
  });
});
