import { describe, expect, test, vi } from 'vitest';
import type { OperationId } from '#domain/ids.ts';
import { err } from '#domain/result.ts';
import type { Saga } from '#domain/saga.ts';
import { CALLER, Desk, NEVER } from './support/desk.ts';

vi.setConfig({ testTimeout: 30_000 });

const UNKNOWN = err({ kind: 'unknown', who: 'libvirt', detail: 'end of file' } as const);
const AWAY = err({ kind: 'unreachable', who: 'libvirt', detail: 'connection refused' } as const);

async function asked(desk: Desk, answer: ReturnType<Desk['service']['create']>) {
  const said = await desk.answered(answer);
  if (said === 'none' || !said.ok || said.value.operation === null) throw new Error('not accepted');
  return said.value.operation;
}

/**
 * From the moment that a request is accepted, each question to Cinder about its snapshot goes
 * through `then`: the first look asks nobody else, since the hypervisor was asked a moment ago.
 */
function onceAccepted(desk: Desk, then: (look: () => unknown) => unknown): void {
  let accepted = false;
  desk.between = async (port, method, call) => {
    if (port === 'cinder' && method === 'snapshot' && accepted) return then(call);
    const answer = await call();
    if (method === 'accept' || method === 'ask') accepted = true;
    return answer;
  };
}

const outcomeOf = (saga: Saga) => (saga.at === 'end' ? saga.outcome : saga.at);
const outcome = async (desk: Desk, id: OperationId) => {
  const operation = await desk.journal.operation(id);
  return operation && outcomeOf(operation.saga);
};

describe('abort', () => {
  test('what waits for its turn is taken out of the queue, and has failed', async () => {
    const desk = new Desk({ tickMs: 60_000 });
    const running = await asked(
      desk,
      desk.service.delete(desk.deletion(await desk.taken(2), 0), CALLER),
    );
    await desk.clock.advance(2_000);
    const [second, third] = [desk.prepared(), desk.prepared()];
    const waiting = await asked(desk, desk.service.create(second, CALLER));
    const last = await asked(desk, desk.service.create(third, CALLER));
    const said = await desk.clock.until(desk.operator.abort(waiting));
    expect(said).toMatchObject({ ok: true, value: { saga: { at: 'end', outcome: 'failed' } } });
    await desk.clock.advance(1_000);
    expect(desk.told(second.snapshot)).toEqual(['error 0%']);
    expect(await outcome(desk, running)).toBe('merging');
    expect(await outcome(desk, last)).toBe('waiting');
    const [aborted] = await desk.journal.evidence(waiting);
    expect(aborted).toMatchObject({ kind: 'aborted' });
    // The one that runs has begun: it stays as it is.
    const late = await desk.clock.until(desk.operator.abort(running));
    expect(late).toMatchObject({ ok: false, error: { refusal: { kind: 'has-begun' } } });
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, running)).toBe('merged');
    expect(await outcome(desk, waiting)).toBe('failed');
  });

  test('what waits is found in the queue of its own volume, and its end is heard', async () => {
    const desk = new Desk({ tickMs: 60_000 });
    const { root } = desk.cloud;
    const slow = desk.deletion(await desk.taken(2), 0);
    await asked(desk, desk.service.delete(slow, CALLER));
    desk.between = (port, method, call) =>
      port === 'libvirt' && method === 'snapshot' ? NEVER : call();
    await asked(desk, desk.service.create(desk.prepared(root), CALLER));
    await desk.clock.advance(2_000);
    const here = await asked(desk, desk.service.create(desk.prepared(), CALLER));
    const there = await asked(desk, desk.service.create(desk.prepared(root), CALLER));
    const heard: string[] = [];
    desk.runner.whenEnded(({ id, saga }) => heard.push(`${id} ${outcomeOf(saga)}`));
    for (const id of [there, here]) {
      const from = desk.log.length;
      expect(await desk.clock.until(desk.operator.abort(id))).toMatchObject({ ok: true });
      expect(heard.splice(0)).toEqual([`${id} failed`]);
      expect(desk.log.slice(from, from + 2)).toEqual([
        'aborted: by an operator, while it was waiting',
        'failed: an operator aborted it before anything was changed',
      ]);
      expect(await desk.clock.until(desk.operator.abort(id))).toMatchObject({ ok: false });
    }
  });

  test('an undo that waits is aborted without a word to Cinder', async () => {
    const desk = new Desk({ tickMs: 60_000, aftercare: false });
    await asked(desk, desk.service.delete(desk.deletion(await desk.taken(2), 0), CALLER));
    await desk.clock.advance(2_000);
    const { snapshot, newFile } = desk.prepared();
    const { server, volume } = desk.cloud;
    const request = { server, volume, snapshot, newFile };
    const before = { file: 'a', format: 'raw', provenance: 'reported', on: null } as never;
    const made = { before, after: { ...(before as object), file: newFile, on: before } as never };
    const at = desk.clock.now();
    const operation = {
      id: 'undo' as OperationId,
      saga: { kind: 'undo', request, made, at: 'waiting' },
      accepted: true,
      ...CALLER,
      ...{ askedAt: at, updatedAt: at },
    } as const;
    await desk.journal.ask(operation);
    desk.runner.start(operation);
    expect(await desk.runner.abort(operation.id)).toEqual({ ok: true, value: null });
    expect(await outcome(desk, operation.id)).toBe('failed');
    await desk.clock.advance(5_000);
    expect(desk.told(snapshot)).toEqual([]);
  });

  test('what has begun and waits for another that has is not taken out', async () => {
    const desk = new Desk();
    const { server } = desk.cloud;
    const [first, second] = [desk.prepared(), desk.prepared()];
    const at = desk.clock.now();
    const times = { accepted: true, askedAt: at, updatedAt: at, ...CALLER };
    const limits = { maxChainDepth: 8 };
    const saga = { kind: 'create', request: { ...first, server }, at: 'accepted', limits } as const;
    const said = { kind: 'create', request: { ...second, server }, at: 'confirming' } as const;
    const [one, two] = [
      { id: 'one' as OperationId, saga, ...times },
      { id: 'two' as OperationId, saga: said, ...times },
    ];
    for (const it of [one, two]) await desk.journal.ask(it);
    for (const it of [one, two]) desk.runner.start(it);
    expect(await desk.runner.abort(two.id)).toMatchObject({ error: { kind: 'has-begun' } });
    await desk.idle();
    expect(await outcome(desk, two.id)).toBe('failed');
    expect(desk.log.join()).not.toContain('aborted');
  });

  test('the step that is in flight ends first, and no other one begins', async () => {
    const desk = new Desk();
    const request = desk.prepared();
    const looking = Promise.withResolvers<void>();
    onceAccepted(desk, (look) => looking.promise.then(look));
    const id = await asked(desk, desk.service.create(request, CALLER));
    const abort = desk.operator.abort(id);
    await desk.clock.advance(5_000);
    expect(await outcome(desk, id)).toBe('accepted');
    looking.resolve();
    expect(await desk.clock.until(abort)).toMatchObject({ ok: true });
    await desk.idle();
    expect(desk.cloud.disk.xml.file).toBe(desk.file(null));
    expect(await outcome(desk, id)).toBe('failed');
    expect(desk.told(request.snapshot)).toEqual(['error 0%']);
  });

  test('a wait is cut short', async () => {
    const desk = new Desk();
    onceAccepted(desk, () => AWAY);
    const id = await asked(desk, desk.service.create(desk.prepared(), CALLER));
    await desk.clock.advance(300);
    const before = desk.clock.now();
    expect(await desk.clock.until(desk.operator.abort(id))).toMatchObject({ ok: true });
    expect(desk.clock.now() - before).toBeLessThan(500);
  });

  test('what was switched meanwhile is refused, by what it ended as', async () => {
    const desk = new Desk();
    const id = await asked(desk, desk.service.create(desk.prepared(), CALLER));
    await desk.idle();
    expect(await desk.clock.until(desk.operator.abort(id))).toMatchObject({
      error: { refusal: { kind: 'has-ended', outcome: 'created' } },
    });
    expect(await desk.operator.abort('nobody' as OperationId)).toBeNull();
  });

  test('what comes while the last step is written down is too late', async () => {
    const desk = new Desk();
    const request = desk.prepared();
    const written = Promise.withResolvers<void>();
    desk.between = async (port, method, call, args) => {
      const answer = await call();
      const at = (args[1] as { saga?: { at: string } } | undefined)?.saga?.at;
      if (port === 'journal' && method === 'commit' && at === 'end') await written.promise;
      return answer;
    };
    const id = await asked(desk, desk.service.create(request, CALLER));
    await desk.clock.advance(5_000);
    const abort = desk.operator.abort(id);
    await desk.clock.advance(100);
    written.resolve();
    expect(await desk.clock.until(abort)).toMatchObject({
      error: { refusal: { kind: 'has-ended', outcome: 'created' } },
    });
  });
});

describe('the end of an operation', () => {
  const waited = async (desk: Desk, id: OperationId, withinMs: number) => {
    const from = desk.clock.now();
    await desk.clock.until(desk.operator.ended(id, withinMs));
    return desk.clock.now() - from;
  };

  test('is waited for until it comes, and no longer', async () => {
    const desk = new Desk({ tickMs: 2_000 });
    const request = desk.deletion(await desk.taken(2), 0);
    const id = await asked(desk, desk.service.delete(request, CALLER));
    expect(await waited(desk, id, 1_000)).toBe(1_000);
    expect(await outcome(desk, id)).toBe('merging');
    const took = await waited(desk, id, 600_000);
    expect(took).toBeGreaterThan(0);
    expect(took).toBeLessThan(60_000);
    expect(await outcome(desk, id)).toBe('merged');
    expect(await waited(desk, id, 600_000), 'it is over').toBe(0);
    expect(await waited(desk, 'nobody' as OperationId, 600_000)).toBe(0);
  });

  test('of another operation ends no wait', async () => {
    const desk = new Desk({ tickMs: 60_000 });
    const slow = desk.deletion(await desk.taken(2), 0);
    const id = await asked(desk, desk.service.delete(slow, CALLER));
    const { root } = desk.cloud;
    const waiting = waited(desk, id, 10_000);
    const other = await asked(desk, desk.service.create(desk.prepared(root), CALLER));
    expect(await waiting).toBe(10_000);
    expect(await outcome(desk, other)).toBe('created');
  });
});

describe('settle', () => {
  /** A create whose switch came through, or did not, and was never answered. */
  async function parkedCreate(desk: Desk, through: boolean) {
    const request = desk.prepared();
    const row = desk.cloud.cinder.snapshots.get(request.snapshot)!;
    let late = (): unknown => expect.unreachable();
    desk.between = async (port, method, call) => {
      if (method !== 'snapshot' || port !== 'libvirt') return call();
      late = call;
      // Cinder gives up before anybody can tell.
      row.status = 'error';
      return UNKNOWN;
    };
    const id = await asked(desk, desk.service.create(request, CALLER));
    await desk.idle();
    desk.between = (_port, _method, call) => call();
    if (through) await late();
    row.status = 'creating';
    expect(await outcome(desk, id)).toBe('unknown');
    return { id, request };
  }

  test('a create that is in use: done, and Cinder hears so', async () => {
    const desk = new Desk();
    const { id, request } = await parkedCreate(desk, true);
    const wrong = await desk.clock.until(desk.operator.settle(id, 'failed'));
    expect(wrong).toMatchObject({ error: { refusal: { kind: 'contradicted' } } });
    expect(desk.told(request.snapshot)).toEqual([]);
    const said = await desk.clock.until(desk.operator.settle(id, 'done'));
    expect(said).toMatchObject({ ok: true, value: { saga: { outcome: 'created' } } });
    await desk.clock.advance(1_000);
    expect(desk.told(request.snapshot)).toEqual(['creating 90%']);
    const kinds = (await desk.journal.evidence(id)).map(({ kind }) => kind);
    expect(kinds.slice(-2)).toEqual(['settled', 'switched']);
    // It is over: neither a second verdict nor a restart changes that.
    const again = await desk.clock.until(desk.operator.settle(id, 'done'));
    expect(again).toMatchObject({ error: { refusal: { kind: 'has-ended' } } });
  });

  test('a create that is not in use: failed', async () => {
    const desk = new Desk();
    const { id, request } = await parkedCreate(desk, false);
    const wrong = await desk.clock.until(desk.operator.settle(id, 'done'));
    expect(wrong).toMatchObject({ error: { refusal: { kind: 'contradicted' } } });
    expect(await desk.clock.until(desk.operator.settle(id, 'failed'))).toMatchObject({ ok: true });
    await desk.clock.advance(1_000);
    expect(desk.told(request.snapshot)).toEqual(['error 0%']);
    // The way is free: the same snapshot may be asked for again.
    desk.cloud.cinder.snapshots.get(request.snapshot)!.status = 'creating';
    expect(await desk.answered(desk.service.create(request, CALLER))).toMatchObject({ ok: true });
    await desk.idle();
    expect(desk.told(request.snapshot).at(-1)).toBe('creating 90%');
  });

  test('a pull that is done is flushed before Cinder hears of it', async () => {
    const desk = new Desk();
    const ids = await desk.taken(2);
    const request = desk.deletion(ids, 1);
    const row = desk.cloud.cinder.snapshots.get(request.snapshot)!;
    desk.between = async (port, method, call) => {
      if (port !== 'libvirt' || method !== 'merge') return call();
      row.status = 'error';
      return UNKNOWN;
    };
    const id = await asked(desk, desk.service.delete(request, CALLER));
    await desk.idle();
    expect(await outcome(desk, id)).toBe('unknown');
    row.status = 'deleting';
    // The attempt that nobody heard of comes through after all.
    desk.between = (_port, _method, call) => call();
    const saga = (await desk.journal.operation(id))?.saga;
    if (saga?.kind !== 'delete' || saga.at !== 'end' || !saga.plan) throw new Error('no plan');
    const { plan } = saga;
    const { volume, server } = desk.cloud;
    const order = { server, volume, target: plan.target, process: plan.process };
    const { merge } = plan;
    const chain = [desk.file(ids[1]!), desk.file(ids[0]!), desk.file(null)];
    await desk.cloud.hypervisor.merge({ ...order, merge, chain });
    expect(await desk.clock.until(desk.operator.settle(id, 'done'))).toMatchObject({ ok: false });
    await desk.clock.advance(10_000);
    expect(await desk.clock.until(desk.operator.settle(id, 'failed'))).toMatchObject({ ok: false });
    let flushed = 0;
    desk.between = (port, method, call) => {
      if (port === 'libvirt' && method === 'flush') return flushed++ === 0 ? NEVER : call();
      return call();
    };
    const said = await desk.clock.until(desk.operator.settle(id, 'done'));
    expect(said).toMatchObject({ ok: true, value: { saga: { at: 'flushing' } } });
    await desk.clock.advance(1_000);
    expect(desk.told(request.snapshot)).not.toContain('deleting 90%');
    await desk.boot();
    await desk.idle();
    expect(await outcome(desk, id)).toBe('merged');
    expect(flushed).toBe(2);
    expect(desk.told(request.snapshot).at(-1)).toBe('deleting 90%');
  });

  test('not while another operation is at work on the volume', async () => {
    const desk = new Desk({ tickMs: 60_000 });
    const ids = await desk.taken(2);
    const { id } = await parkedCreate(desk, false);
    await asked(desk, desk.service.delete(desk.deletion(ids, 0), CALLER));
    await desk.clock.advance(1_000);
    expect(await desk.clock.until(desk.operator.settle(id, 'failed'))).toMatchObject({
      error: { refusal: { kind: 'at-work' } },
    });
  });

  test('that one is over is said at once, whoever is at work, libvirt away or not', async () => {
    const desk = new Desk({ tickMs: 60_000 });
    const ids = await desk.taken(2);
    const [over] = (await desk.journal.operations({ limit: 9 })).map(({ id }) => id);
    await asked(desk, desk.service.delete(desk.deletion(ids, 0), CALLER));
    await desk.clock.advance(1_000);
    desk.between = (port, _method, call) => (port === 'libvirt' ? AWAY : call());
    expect(await desk.operator.settle(over!, 'done')).toMatchObject({
      error: { refusal: { kind: 'has-ended', outcome: 'created' } },
    });
  });

  test('neither an open operation nor one that is not there is settled', async () => {
    const desk = new Desk();
    const looking = Promise.withResolvers<void>();
    let held = true;
    onceAccepted(desk, (look) => (held ? looking.promise.then(look) : look()));
    const open = await asked(desk, desk.service.create(desk.prepared(), CALLER));
    held = false;
    expect(await desk.clock.until(desk.operator.settle(open, 'done'))).toMatchObject({
      error: { refusal: { kind: 'not-ended' } },
    });
    expect(await desk.operator.settle('nobody' as OperationId, 'done')).toBeNull();
    looking.resolve();
  });

  test('with libvirt away nobody can look, and nothing is settled', async () => {
    const desk = new Desk();
    const { id } = await parkedCreate(desk, true);
    desk.between = (port, _method, call) => (port === 'libvirt' ? AWAY : call());
    expect(await desk.clock.until(desk.operator.settle(id, 'done'))).toMatchObject({
      error: { kind: 'fault' },
    });
    expect(await outcome(desk, id)).toBe('unknown');
  });

  test('an answer that comes after 8 s is no, and nothing is settled', async () => {
    const desk = new Desk();
    const { id } = await parkedCreate(desk, true);
    desk.between = async (_port, method, call) => {
      if (method === 'look') await desk.clock.sleep(20_000);
      return call();
    };
    expect(await desk.clock.until(desk.operator.settle(id, 'done'))).toMatchObject({
      error: { fault: { kind: 'unreachable' } },
    });
    await desk.clock.advance(60_000);
    expect(await outcome(desk, id)).toBe('unknown');
  });
});
