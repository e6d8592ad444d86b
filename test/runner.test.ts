import { describe, expect, test, vi } from 'vitest';
import type { Fault } from '#domain/failure.ts';
import type { FileName, OperationId, ServerId, VolumeId } from '#domain/ids.ts';
import { err, ok } from '#domain/result.ts';
import type { Saga } from '#domain/saga.ts';
import type { Entry, Operation } from '#ports/journal.ts';
import type { Attachment } from '#ports/volumes.ts';
import { CALLER, Desk, NEVER } from './support/desk.ts';

vi.setConfig({ testTimeout: 30_000 });

const AWAY = err({ kind: 'unreachable', who: 'libvirt', detail: 'connection refused' } as const);

const volumeOf = (args: readonly unknown[]) =>
  (args[0] as { volume?: VolumeId } | undefined)?.volume;

/** An operation as an earlier process left it. */
async function left(desk: Desk, name: string, saga: Saga): Promise<OperationId> {
  const id = name as OperationId;
  const now = desk.clock.now();
  const operation: Operation = {
    id,
    saga,
    accepted: false,
    ...CALLER,
    askedAt: now,
    updatedAt: now,
  };
  await desk.journal.ask(operation);
  await desk.journal.accept(id);
  return id;
}

const LIMITS = { maxChainDepth: 64 };

function createAt(desk: Desk, at: 'waiting' | 'accepted', disk = desk.cloud.disk): Saga {
  const { server } = desk.cloud;
  const request = { ...desk.prepared(disk), server };
  return { kind: 'create', request, at, limits: LIMITS };
}

/** A delete by commit, as Cinder would ask for it. */
async function deleteAt(desk: Desk, at: 'waiting' | 'accepted'): Promise<Saga> {
  const asked = desk.deletion(await desk.taken(2), 0);
  return { kind: 'delete', request: { ...asked, server: desk.cloud.server }, at };
}

const outcome = async (desk: Desk, id: OperationId): Promise<string> => {
  const saga = (await desk.journal.operation(id))?.saga;
  return saga === undefined ? 'gone' : saga.at === 'end' ? saga.outcome : saga.at;
};

test('a create of a guest that is off lets no chain go that is held', async () => {
  const desk = new Desk();
  const { volume, server, hypervisor, share } = desk.cloud;
  const asked = createAt(desk, 'accepted');
  hypervisor.end(server, 'stopped');
  const { directory } = share;
  const files = [`volume-${volume}` as FileName];
  const chain = { directory, files, held: 'all', process: 'a QEMU that was killed' } as const;
  const before = await left(desk, 'before', await createAt(desk, 'waiting'));
  const saga = { ...asked, at: 'end', outcome: 'withdrawn', reason: 'over', formats: [] } as Saga;
  await desk.journal.commit(before, { saga, evidence: [], tell: null, formats: [], chain });
  await left(desk, 'create', asked);
  await desk.boot();
  await desk.idle();
  expect(await outcome(desk, 'create' as OperationId)).toBe('created');
  const { newFile } = asked.request as { newFile?: FileName };
  expect(await desk.journal.chain(volume)).toMatchObject({
    files: [newFile, ...files],
    held: 'all',
  });
});

describe('order', () => {
  test('operations of one volume run one after the other, as they were accepted', async () => {
    const desk = new Desk({ tickMs: 1_000 });
    const ids = await desk.taken(4);
    const heard: string[] = [];
    desk.between = async (port, method, call, args) => {
      const answer = await call();
      if (port === 'libvirt' && method !== 'look') heard.push(method);
      const saga = (args[1] as { saga?: Saga } | undefined)?.saga;
      if (method === 'commit' && saga?.at === 'end') heard.push(`end ${saga.request.snapshot}`);
      return answer;
    };
    const asked = [desk.deletion(ids, 1), desk.deletion(ids, 2)];
    for (const one of asked) {
      expect(await desk.answered(desk.service.delete(one, CALLER))).toMatchObject({ ok: true });
    }
    const last = desk.prepared();
    await desk.answered(desk.service.create(last, CALLER));
    await desk.idle();
    expect(heard.slice(0, 3)).toEqual(['merge', 'flush', `end ${ids[1]}`]);
    // Cinder reckoned the second from what the first has changed: refused, when its turn came.
    expect(heard[3]).toBe(`end ${ids[2]}`);
    expect(heard.slice(4)).toEqual(['snapshot', `end ${last.snapshot}`]);
  });

  test('what waits does not look before its turn', async () => {
    const desk = new Desk({ tickMs: 1_000 });
    const asked = desk.deletion(await desk.taken(2), 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    let read = 0;
    const second = desk.prepared();
    desk.between = (port, _method, call, args) => {
      if (port === 'images' && args[1] === second.newFile) read++;
      return call();
    };
    await desk.answered(desk.service.create(second, CALLER));
    await desk.clock.advance(2_000);
    expect(desk.cloud.disk.job).not.toBeNull();
    expect(read).toBe(0);
    await desk.idle();
    expect(read).toBeGreaterThan(0);
  });

  test('volumes do not wait for each other', async () => {
    const desk = new Desk({ tickMs: 60_000 });
    const slow = desk.deletion(await desk.taken(2), 0);
    await desk.answered(desk.service.delete(slow, CALLER));
    await desk.clock.advance(1_000);
    const fast = desk.prepared(desk.cloud.root);
    await desk.answered(desk.service.create(fast, CALLER));
    await desk.clock.advance(1_000);
    expect(await desk.standing(fast.snapshot)).toEqual(['created']);
    expect(await desk.standing(slow.snapshot)).toEqual(['merging']);
    expect(desk.runner.busy(desk.cloud.volume)).toBe(true);
    expect(desk.runner.busy(desk.cloud.root.volume)).toBe(false);
  });
});

describe('another process', () => {
  test('takes up everything: what had begun comes before what waits', async () => {
    const desk = new Desk();
    const waiting = createAt(desk, 'waiting');
    const begun = createAt(desk, 'accepted');
    await left(desk, 'older, waits', waiting);
    await left(desk, 'younger, had begun', begun);
    const elsewhere = await left(desk, 'root', createAt(desk, 'accepted', desk.cloud.root));
    const order: string[] = [];
    desk.between = (_port, method, call, args) => {
      if (method === 'snapshot' && volumeOf(args) === desk.cloud.volume) {
        order.push((args[0] as { file: string }).file);
      }
      return call();
    };
    await desk.boot();
    await desk.idle();
    expect(order[0]).toBe((begun.request as { newFile?: string }).newFile);
    expect(await outcome(desk, 'younger, had begun' as OperationId)).toBe('created');
    // Its overlay stood on the base, and the base is no longer in use.
    expect(await outcome(desk, 'older, waits' as OperationId)).toBe('failed');
    expect(await outcome(desk, elsewhere)).toBe('created');
    expect(await desk.journal.unfinished()).toEqual([]);
    expect(desk.runner.busy(desk.cloud.volume)).toBe(false);
  });

  test('says what the one before had left unsaid, once', async () => {
    const desk = new Desk();
    const asked = desk.prepared();
    desk.between = (_port, method, call) => (method === 'update' ? AWAY : call());
    await desk.answered(desk.service.create(asked, CALLER));
    await desk.clock.advance(10_000);
    expect(await desk.standing(asked.snapshot)).toEqual(['created']);
    desk.between = (_port, _method, call) => call();
    await desk.boot();
    await desk.clock.advance(5_000);
    expect(desk.told(asked.snapshot)).toEqual(['creating 90%']);
    expect(await desk.journal.notices({ state: 'pending' })).toEqual([]);
  });

  test('hears how a job ended that the one before had begun', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const asked = desk.deletion(await desk.taken(2), 0);
    let merges = 0;
    desk.between = (_port, method, call) => {
      if (method === 'merge') merges++;
      return call();
    };
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(1_000);
    await desk.boot();
    await desk.clock.advance(2_000);
    // Somebody ends it on purpose: `virsh blockjob --abort`.
    desk.cloud.hypervisor.cancel(desk.cloud);
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['failed']);
    expect(merges).toBe(1);
  });
});

describe('a defect', () => {
  test('is journalled and kills; the next process goes on', async () => {
    const desk = new Desk();
    let broken = true;
    desk.between = (port, method, call) => {
      if (port === 'libvirt' && method === 'snapshot' && broken) {
        broken = false;
        throw new Error('planted');
      }
      return call();
    };
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    await desk.boot();
    await desk.clock.advance(5_000);
    expect(desk.defects).toMatchObject([{ message: 'planted' }]);
    expect(desk.log.some((line) => line.includes('defect: Error: planted'))).toBe(true);
    expect(await outcome(desk, id)).not.toBe('unknown');
    expect(await outcome(desk, id)).not.toBe('created');
    await desk.boot();
    await desk.idle();
    expect(desk.defects).toHaveLength(1);
    expect(await outcome(desk, id)).toBe('created');
  });

  test('twice at one step sets that operation aside, and the rest goes on', async () => {
    const desk = new Desk();
    const poisoned = await left(desk, 'poisoned', createAt(desk, 'accepted'));
    const behind = createAt(desk, 'waiting');
    await left(desk, 'behind', behind);
    const beside = await left(desk, 'beside', createAt(desk, 'accepted', desk.cloud.root));
    const file = (await desk.journal.operation(poisoned))!.saga.request as { newFile?: string };
    desk.between = (_port, method, call, args) => {
      if (method === 'header' && args[1] === file.newFile) throw new Error('planted');
      return call();
    };
    for (const times of [1, 2]) {
      await desk.boot();
      await desk.clock.advance(5_000);
      expect(desk.defects).toHaveLength(times);
    }
    expect(await outcome(desk, poisoned)).toBe('unknown');
    // Nothing is said to Cinder of what nobody knows.
    expect(await desk.journal.notices({ operation: poisoned })).toEqual([]);
    await desk.boot();
    await desk.idle();
    expect(desk.defects).toHaveLength(2);
    expect(await outcome(desk, 'behind' as OperationId)).toBe('created');
    expect(await outcome(desk, beside)).toBe('created');
  });

  test.each<[string, (desk: Desk) => Saga | Promise<Saga>]>([
    ['create', (desk) => createAt(desk, 'accepted')],
    ['delete', (desk) => deleteAt(desk, 'accepted')],
  ])('that comes twice ends a %s as unknown, and does nothing else', async (_, asked) => {
    const desk = new Desk();
    const saga = await asked(desk);
    const id = await left(desk, 'poisoned', saga);
    const known = await desk.journal.formats(desk.cloud.volume);
    desk.between = (port, method, call) => {
      if (port === 'libvirt' && method === 'look') throw new Error('planted\nhere');
      return call();
    };
    for (const _ of [1, 2]) {
      await desk.boot();
      await desk.clock.advance(5_000);
    }
    const { kind, request } = saga;
    const reason = 'chainkeeper met a defect of its own here twice: Error: planted';
    expect((await desk.journal.operation(id))?.saga).toEqual({
      ...{ kind, request, at: 'end', outcome: 'unknown', reason, formats: [] },
      ...(kind === 'delete' && { gone: null }),
    });
    expect(await desk.journal.evidence(id)).toEqual([]);
    expect(await desk.journal.notices({ operation: id })).toEqual([]);
    expect(await desk.journal.formats(desk.cloud.volume)).toEqual(known);
    const defects = desk.lines.filter(([, text]) => text.startsWith('defect: Error: planted'));
    expect(defects.map(([level, , about]) => [level, about?.operation])).toEqual([
      ['error', id],
      ['error', id],
    ]);
  });

  test('in a merge keeps the chain held, until a person has settled it', async () => {
    const desk = new Desk();
    const id = await left(desk, 'poisoned', await deleteAt(desk, 'accepted'));
    let merging = false;
    desk.between = (port, method, call) => {
      if (port === 'libvirt' && method === 'merge') merging = true;
      if (merging && method === 'look') throw new Error('planted');
      return call();
    };
    for (const _ of [1, 2]) {
      await desk.boot();
      await desk.clock.advance(5_000);
    }
    expect(await desk.journal.operation(id)).toMatchObject({
      saga: { at: 'end', outcome: 'unknown', plan: expect.anything() },
    });
    const { server, volume } = desk.cloud;
    expect(await desk.journal.chain(volume)).toMatchObject({ held: 'all' });
    merging = false;
    desk.between = (_port, _method, call) => call();
    await desk.boot();
    await desk.clock.advance(60_000);
    desk.cloud.hypervisor.end(server, 'stopped');
    const settled = await desk.clock.until(desk.operator.settle(id, 'failed'));
    expect(settled).toMatchObject({ ok: true });
    expect(await desk.journal.chain(volume)).toMatchObject({ held: 'nothing' });
  });

  test('is not what a disk throws that is full: no operation is set aside for it', async () => {
    const desk = new Desk();
    const full = new Error('database or disk is full');
    desk.isDefect = (thrown) => thrown !== full;
    let room = false;
    desk.between = (port, method, call, args) => {
      const written = (args[1] as { saga?: Saga } | undefined)?.saga?.at;
      if (port === 'journal' && method === 'commit' && written !== 'end' && !room) throw full;
      return call();
    };
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    for (const times of [1, 2, 3]) {
      await desk.boot();
      await desk.clock.advance(5_000);
      expect(desk.defects).toHaveLength(times);
    }
    expect(await outcome(desk, id)).toBe('accepted');
    expect(desk.log.some((line) => line.startsWith('defect'))).toBe(false);
    room = true;
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, id)).toBe('created');
  });

  test('in two different steps is no second one', async () => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    const thrown = new Set<string>();
    desk.between = (port, method, call) => {
      const step = port === 'cinder' ? 'none' : method;
      if ((step === 'header' || step === 'snapshot') && !thrown.has(step)) {
        thrown.add(step);
        throw new Error(`planted in ${step}`);
      }
      return call();
    };
    for (let times = 0; times < 3; times++) {
      await desk.boot();
      await desk.clock.advance(5_000);
    }
    expect(desk.defects).toHaveLength(2);
    expect(await outcome(desk, id)).toBe('created');
  });
});

describe('written down', () => {
  /** What each entry remembers of formats, by the state that it is written in. */
  function remembered(desk: Desk): Map<string, readonly string[]> {
    const seen = new Map<string, readonly string[]>();
    desk.between = (_port, method, call, args) => {
      const { saga, formats } = (args[1] ?? {}) as Partial<Entry>;
      if (method === 'commit' && saga !== undefined && formats !== undefined) {
        const told = formats.map(({ file, format, provenance }) =>
          [file, format, provenance].join(' '),
        );
        seen.set(saga.at === 'end' ? saga.outcome : saga.at, told);
        for (const one of formats) {
          expect(Object.keys(one).sort()).toEqual(['file', 'format', 'provenance']);
        }
      }
      return call();
    };
    return seen;
  }

  test('the formats of all files of a chain, before a create changes it', async () => {
    const desk = new Desk();
    const seen = remembered(desk);
    const asked = desk.prepared();
    await desk.answered(desk.service.create(asked, CALLER));
    await desk.idle();
    expect(seen.get('switching')).toEqual([
      `${asked.newFile} qcow2 assumed`,
      `${desk.file(null)} raw reported`,
    ]);
    expect(seen.get('created')).toEqual([`${asked.newFile} qcow2 reported`]);
  });

  test('and before a delete changes it', async () => {
    const desk = new Desk();
    const ids = await desk.taken(2);
    const seen = remembered(desk);
    await desk.answered(desk.service.delete(desk.deletion(ids, 0), CALLER));
    await desk.idle();
    expect(seen.get('accepted') ?? []).toEqual([]);
    expect(seen.get('merging')).toEqual([
      `${desk.file(ids[1]!)} qcow2 reported`,
      `${desk.file(ids[0]!)} qcow2 reported`,
      `${desk.file(null)} raw reported`,
    ]);
    expect(seen.get('merged')).toEqual([`${desk.file(null)} raw reported`]);
  });

  /** What the log says without what the sender says to itself. */
  const heard = (desk: Desk) => desk.lines.filter(([level]) => level !== 'debug');

  test('each step, once, and for the log with what it is about', async () => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    await desk.boot();
    await desk.idle();
    const { saga } = (await desk.journal.operation(id))!;
    const file = saga.kind === 'create' ? saga.request.newFile : '';
    const about = { operation: id, ...CALLER };
    expect(heard(desk)).toEqual([
      ['info', `decided: switch vdb from ${desk.file(null)} to ${file}`, about],
      ['info', `switched: vdb is on ${file}`, about],
      ['info', `created: ${file} is the active layer`, about],
    ]);
    const evidence = await desk.journal.evidence(id);
    expect(evidence.map(({ kind }) => kind)).toEqual(['decided', 'switched']);
  });

  test('an end that somebody should read is a warning', async () => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    await desk.clock.advance(541_000);
    await desk.boot();
    await desk.idle();
    const reason = 'Cinder stopped waiting before the overlay was switched to';
    expect(heard(desk)).toEqual([['warning', `failed: ${reason}`, { operation: id, ...CALLER }]]);
  });

  test('a merge that is done is no warning', async () => {
    const desk = new Desk();
    const ids = await desk.taken(2);
    desk.lines.length = 0;
    await desk.answered(desk.service.delete(desk.deletion(ids, 0), CALLER));
    await desk.idle();
    expect(new Set(heard(desk).map(([level]) => level))).toEqual(new Set(['info']));
    expect(desk.log.some((line) => line.startsWith('merged: '))).toBe(true);
  });

  test('what repeats itself is written down when it changes', async () => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    let fault: Fault = { kind: 'unreachable', who: 'libvirt', detail: 'no socket' };
    const seen = remembered(desk);
    const recording = desk.between;
    desk.between = (port, method, call, args) =>
      port === 'libvirt' ? err(fault) : recording(port, method, call, args);
    await desk.boot();
    await desk.clock.advance(10_000);
    expect(seen.get('accepted')).toEqual([]);
    fault = { ...fault, detail: 'no route' };
    await desk.clock.advance(10_000);
    const said = (await desk.journal.evidence(id)).map(({ detail }) => detail);
    expect(said).toEqual([
      expect.stringContaining('no socket'),
      expect.stringContaining('no route'),
    ]);
  });
});

test('that an attempt of the process before may still come is written down at once', async () => {
  const desk = new Desk();
  const id = await left(desk, 'a', createAt(desk, 'accepted'));
  desk.between = (port, method, call) =>
    port === 'libvirt' && method === 'snapshot' ? NEVER : call();
  await desk.boot();
  await desk.clock.advance(1_000);
  const pendingNow = async () => {
    const saga = (await desk.journal.operation(id))?.saga;
    return saga?.kind === 'create' && saga.at === 'switching' ? saga.pending : saga?.at;
  };
  expect(await pendingNow()).toBe(false);
  desk.between = (port, _method, call) => (port === 'libvirt' ? NEVER : call());
  await desk.boot();
  await desk.clock.advance(1_000);
  expect(await pendingNow()).toBe(true);
});

describe('asked for again', () => {
  /** A create that Cinder gives up before it is looked at; `seen` is called at each look. */
  async function givenUp(seen: (nth: number, give: (status: string) => void) => void) {
    const desk = new Desk();
    const saga = createAt(desk, 'accepted');
    const row = desk.cloud.cinder.snapshots.get(saga.request.snapshot)!;
    row.status = 'error';
    const id = await left(desk, 'a', saga);
    let looks = 0;
    desk.between = async (port, method, call) => {
      const answer = await call();
      if (port !== 'libvirt' || method !== 'look') return answer;
      looks++;
      seen(looks, (status) => Object.assign(row, { status }));
      void desk.runner.join(id);
      return answer;
    };
    return { desk, id, looks: () => looks };
  }

  test('what it saw before that is no reason to withdraw', async () => {
    const { desk, id, looks } = await givenUp((nth, give) => {
      if (nth === 2) give('creating');
    });
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, id)).toBe('created');
    expect(looks()).toBeGreaterThan(2);
  });

  test('once: what it sees after that counts', async () => {
    const desk = new Desk();
    const saga = createAt(desk, 'accepted');
    desk.cloud.cinder.snapshots.get(saga.request.snapshot)!.status = 'error';
    const id = await left(desk, 'a', saga);
    let looks = 0;
    desk.between = async (port, method, call) => {
      const answer = await call();
      if (port === 'libvirt' && method === 'look' && ++looks === 1) void desk.runner.join(id);
      return answer;
    };
    await desk.boot();
    await desk.clock.advance(60_000);
    expect(await outcome(desk, id)).toBe('withdrawn');
    expect(looks).toBe(2);
  });

  test('nor is each end one that is put off', async () => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    let switched = 0;
    desk.between = async (port, method, call) => {
      if (port === 'libvirt' && method === 'snapshot') switched++;
      const answer = await call();
      void desk.runner.join(id);
      return answer;
    };
    desk.build();
    const heard: string[] = [];
    desk.runner.whenEnded(({ saga }) => heard.push(saga.at === 'end' ? saga.outcome : saga.at));
    await desk.clock.until(desk.runner.resume());
    await desk.clock.advance(20_000);
    expect(await outcome(desk, id)).toBe('created');
    expect(switched).toBe(1);
    expect(heard).toEqual(['created']);
  });

  test('nobody has: one look is enough', async () => {
    const desk = new Desk();
    const saga = createAt(desk, 'accepted');
    desk.cloud.cinder.snapshots.get(saga.request.snapshot)!.status = 'error';
    const id = await left(desk, 'a', saga);
    let looks = 0;
    desk.between = (port, method, call) => {
      if (port === 'libvirt' && method === 'look') looks++;
      return call();
    };
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, id)).toBe('withdrawn');
    expect(looks).toBe(1);
  });
});

test('a header with another format is mended on the share before it is used', async () => {
  const desk = new Desk();
  const asked = desk.prepared(desk.cloud.disk, { backingFormat: null });
  await desk.answered(desk.service.create(asked, CALLER));
  await desk.idle();
  expect(await desk.standing(asked.snapshot)).toEqual(['created']);
  const { share } = desk.cloud;
  const mended = await desk.images.header(share.directory, asked.newFile);
  expect(mended).toMatchObject({ ok: true, value: { ok: true, value: { backingFormat: 'raw' } } });
});

test('a job that somebody ends is not begun again', async () => {
  const desk = new Desk({ tickMs: 2_000 });
  const asked = desk.deletion(await desk.taken(2), 0);
  let merges = 0;
  desk.between = (_port, method, call) => {
    if (method === 'merge') merges++;
    return call();
  };
  await desk.answered(desk.service.delete(asked, CALLER));
  await desk.clock.advance(1_000);
  desk.cloud.hypervisor.cancel(desk.cloud);
  await desk.idle();
  expect(await desk.standing(asked.snapshot)).toEqual(['failed']);
  expect(merges).toBe(1);
});

test('Cinder hears how far a merge is', async () => {
  const desk = new Desk({ tickMs: 12_000 });
  const asked = desk.deletion(await desk.taken(2), 0);
  await desk.answered(desk.service.delete(asked, CALLER));
  await desk.idle();
  const heard = new Set(desk.told(asked.snapshot));
  expect([...heard].slice(-4)).toEqual([25, 50, 75, 90].map((percent) => `deleting ${percent}%`));
});

test('of an operation that is over the sender remembers nothing', async () => {
  const desk = new Desk();
  const forget = vi.spyOn(desk.sender, 'forget');
  const asked = desk.prepared();
  await desk.answered(desk.service.create(asked, CALLER));
  await desk.idle();
  expect(forget.mock.calls).toEqual([[asked.snapshot]]);
});

describe('what waited its turn', () => {
  test('is compared with the file that Cinder now believes is in use', async () => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'waiting'));
    desk.cloud.cinder.attachments.get(desk.cloud.attachment)!.name = 'volume-x' as FileName;
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, id)).toBe('failed');
    expect(desk.log.join('\n')).toContain('Cinder believes that volume-x is in use');
  });

  test('waits on while Cinder does not say who has the volume', async () => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'waiting'));
    desk.between = (_port, method, call) => (method === 'attachments' ? AWAY : call());
    await desk.boot();
    await desk.clock.advance(10_000);
    expect(await outcome(desk, id)).toBe('waiting');
    const evidence = await desk.journal.evidence(id);
    expect(evidence).toMatchObject([{ detail: expect.stringContaining('connection refused') }]);
    desk.between = (_port, _method, call) => call();
    await desk.idle();
    expect(await outcome(desk, id)).toBe('created');
  });

  test.each<[string, readonly Attachment[] | null]>([
    ['nobody has', []],
    ['another server has', [{ id: 'other', server: 'other' as ServerId }]],
    ['Cinder does not know', null],
  ])('is not compared when it is a volume that %s by now', async (_, attached) => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'waiting'));
    const asked: string[] = [];
    desk.between = (_port, method, call) => {
      asked.push(method);
      return method === 'attachments' ? ok(attached) : call();
    };
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, id)).toBe('created');
    expect(asked).not.toContain('activeFile');
  });

  test('is compared by the attachment of its own server', async () => {
    const desk = new Desk();
    await left(desk, 'a', createAt(desk, 'waiting'));
    const { attachment, server } = desk.cloud;
    const both: readonly Attachment[] = [
      { id: 'other', server: 'other' as ServerId },
      { id: attachment, server },
    ];
    const compared: unknown[] = [];
    desk.between = (_port, method, call, args) => {
      if (method === 'activeFile') compared.push(args[0]);
      return method === 'attachments' ? ok(both) : call();
    };
    await desk.boot();
    await desk.idle();
    expect(compared).toEqual([attachment]);
  });

  test('and what did not wait is not compared again', async () => {
    const desk = new Desk();
    await left(desk, 'a', createAt(desk, 'accepted'));
    const asked: string[] = [];
    desk.between = (port, method, call) => {
      if (port === 'cinder') asked.push(method);
      return call();
    };
    await desk.boot();
    await desk.idle();
    expect(asked).not.toContain('attachments');
    expect(asked).not.toContain('activeFile');
  });
});

describe('stopping', () => {
  test('lets the call in flight come back and leaves the rest to the next process', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const ids = await desk.taken(2);
    const first = desk.deletion(ids, 0);
    await desk.answered(desk.service.delete(first, CALLER));
    const second = desk.prepared();
    await desk.answered(desk.service.create(second, CALLER));
    await desk.clock.advance(1_000);
    const before = desk.clock.now();
    await desk.clock.until(desk.runner.stop());
    await desk.clock.until(desk.sender.stop());
    // Nothing was in flight, and a wait for the next poll is over at once.
    expect(desk.clock.now() - before).toBeLessThan(200);
    const calls: string[] = [];
    desk.between = (port, method, call) => {
      calls.push(`${port} ${method}`);
      return call();
    };
    await desk.clock.advance(60_000);
    expect(calls).toEqual([]);
    expect(await desk.standing(first.snapshot)).toEqual(['merging']);
    expect(await desk.standing(second.snapshot)).toEqual(['waiting']);
    await desk.boot();
    await desk.idle();
    expect(await desk.standing(first.snapshot)).toEqual(['merged']);
    expect(await desk.standing(second.snapshot)).toEqual(['created']);
  });

  test('waits for a call that changes something', async () => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    const { promise, resolve } = Promise.withResolvers<void>();
    desk.between = async (port, method, call) => {
      if (port === 'libvirt' && method === 'snapshot') await promise;
      return call();
    };
    await desk.boot();
    await desk.clock.advance(10);
    let stopped = false;
    const stopping = desk.runner.stop().then(() => {
      stopped = true;
    });
    await desk.clock.advance(5_000);
    expect(stopped).toBe(false);
    resolve();
    await desk.clock.until(stopping);
    expect(await outcome(desk, id)).toBe('switching');
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, id)).toBe('created');
  });
});

describe('time', () => {
  test('a create that is late is failed, not switched', async () => {
    const desk = new Desk();
    const asked = desk.prepared();
    let away = false;
    desk.between = (port, _method, call) => (port === 'libvirt' && away ? AWAY : call());
    const answer = await desk.answered(
      desk.service.create(asked, CALLER).then((it) => {
        away = true;
        return it;
      }),
    );
    expect(answer).toMatchObject({ ok: true });
    const chain = desk.cloud.chainLines();
    await desk.clock.advance(541_000);
    away = false;
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['failed']);
    expect(desk.told(asked.snapshot)).toEqual(['error 0%']);
    expect(desk.cloud.chainLines()).toEqual(chain);
  });

  test.each([
    [540_000, 'created'],
    [540_001, 'failed'],
  ])('it counts from when it was asked: after %d ms it is %s', async (ms, expected) => {
    const desk = new Desk();
    await desk.clock.advance(3_600_000);
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    await desk.clock.advance(ms);
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, id)).toBe(expected);
  });

  test('the time counts on while the process is down', async () => {
    const desk = new Desk();
    const id = await left(desk, 'a', createAt(desk, 'accepted'));
    await desk.clock.advance(541_000);
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, id)).toBe('failed');
  });

  test('libvirt away for a while is waited out', async () => {
    const desk = new Desk({ tickMs: 1_000 });
    const asked = desk.deletion(await desk.taken(2), 1);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(1_500);
    desk.cloud.hypervisor.deaf = true;
    desk.between = (port, _method, call) => (port === 'libvirt' ? AWAY : call());
    await desk.clock.advance(120_000);
    expect(await desk.standing(asked.snapshot)).toEqual(['merging']);
    const commits = desk.journal.commits;
    await desk.clock.advance(120_000);
    expect(desk.journal.commits, 'the same fault is not written down again').toBe(commits);
    desk.between = (_port, _method, call) => call();
    desk.cloud.hypervisor.deaf = false;
    await desk.idle();
    expect(await desk.standing(asked.snapshot)).toEqual(['merged']);
  });

  test('what happens while nobody listens is looked at before the next poll', async () => {
    const desk = new Desk({ tickMs: 60_000 });
    const asked = desk.deletion(await desk.taken(2), 1);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(10);
    // The answer is underway when the guest dies: it shows the guest as it was.
    let looked = false;
    desk.between = async (_port, method, call) => {
      const answer = await call();
      if (method === 'look' && !looked) {
        looked = true;
        desk.cloud.hypervisor.end(desk.cloud.server, 'killed');
      }
      return answer;
    };
    desk.cloud.hypervisor.tell({ kind: 'guest', server: desk.cloud.server });
    await desk.clock.advance(10);
    expect(looked).toBe(true);
    expect(await desk.standing(asked.snapshot)).toEqual(['failed']);
  });
});

describe('what a create costs', () => {
  /** The calls that take time, in order, of a create whose acceptance takes `slowMs`. */
  async function calls(slowMs: number): Promise<readonly string[]> {
    const desk = new Desk();
    const heard: string[] = [];
    desk.between = async (port, method, call) => {
      if (port === 'libvirt' || (port === 'journal' && method === 'commit')) heard.push(method);
      if (method === 'ask') await desk.clock.sleep(slowMs);
      return call();
    };
    const answer = desk.answered(desk.service.create(desk.prepared(), CALLER));
    expect(await answer).toMatchObject({ ok: true });
    await desk.idle();
    return heard;
  }

  test('a look when it is accepted and one after the switch, and two entries', async () => {
    expect(await calls(0)).toEqual(['look', 'commit', 'snapshot', 'look', 'commit']);
  });

  test('where the acceptance took its time, it is looked at anew', async () => {
    expect((await calls(300)).slice(0, 3)).toEqual(['look', 'look', 'commit']);
  });
});

test('a yes that was heard before it is stopped is written down', async () => {
  const desk = new Desk();
  const id = await left(desk, 'a', createAt(desk, 'accepted'));
  let looks = 0;
  desk.between = (port, method, call) => {
    const second = port === 'libvirt' && method === 'look' && ++looks === 2;
    if (second) void desk.runner.stop();
    return call();
  };
  await desk.boot();
  await desk.clock.advance(1_000);
  const saga = (await desk.journal.operation(id))?.saga;
  expect(saga).toMatchObject({ at: 'switching', asking: false, idle: true });
});

test('a name in another folder is never read in this one', async () => {
  const desk = new Desk();
  const [first] = await desk.taken(1);
  const asked = desk.deletion([first!], 0);
  const stray = { file: desk.file(first!), directory: '/elsewhere' };
  desk.between = async (_port, method, call) => {
    const answer = await call();
    if (method !== 'look') return answer;
    const { value } = answer as { value: object };
    return ok({ ...value, stray });
  };
  const opened = desk.images.opened.length;
  expect(await desk.answered(desk.service.delete(asked, CALLER))).toMatchObject({ ok: false });
  expect(desk.images.opened.slice(opened)).toEqual([]);
});

test('a runner that is idle holds nothing', async () => {
  const desk = new Desk();
  const asked = desk.prepared();
  desk.between = (_port, method, call) => (method === 'attachments' ? NEVER : call());
  expect(await desk.answered(desk.service.create(asked, CALLER))).toMatchObject({ ok: false });
  expect(desk.runner.busy(desk.cloud.volume)).toBe(false);
  await desk.clock.until(desk.runner.idle());
});

test('of an operation that is over nothing is heard any more', async () => {
  const desk = new Desk();
  const { hypervisor } = desk.cloud;
  const listening = new Set<unknown>();
  let most = 0;
  const listen = hypervisor.listen.bind(hypervisor);
  vi.spyOn(hypervisor, 'listen').mockImplementation((listener) => {
    const stop = listen(listener);
    listening.add(listener);
    most = Math.max(most, listening.size);
    return () => {
      listening.delete(listener);
      stop();
    };
  });
  await left(desk, 'a', createAt(desk, 'accepted'));
  await desk.boot();
  await desk.idle();
  expect([most, listening.size]).toEqual([1, 0]);
});
