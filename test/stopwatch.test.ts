import { describe, expect, test } from 'vitest';
import { Stopwatch } from '#app/stopwatch.ts';
import type { SnapshotId } from '#domain/ids.ts';
import { PHASES } from '#ports/journal.ts';
import { CALLER, Desk, type PortName } from './support/desk.ts';

describe('a stopwatch', () => {
  test('gives every moment to one phase, and adds to what was counted before', () => {
    let now = 1000;
    const watch = new Stopwatch({ monotonic: () => now }, { journal: 2, libvirt: 1 });
    now += 3.0004;
    watch.lap('journal');
    now += 5;
    watch.lap('event');
    watch.lap('barrier');
    now += 7;
    watch.lap('event');
    expect(watch.trace).toEqual({ journal: 5, libvirt: 1, event: 12, barrier: 0 });
  });

  test('tells looks before the change from those after it', () => {
    let now = 0;
    const watch = new Stopwatch({ monotonic: () => now });
    const look = { do: 'look', headers: [], cinder: false } as const;
    for (const effect of [look, { do: 'thaw', process: null } as const, look]) {
      now += 10;
      watch.did(effect);
    }
    expect(watch.trace).toEqual({ preflight: 10, libvirt: 10, verify: 10 });
  });
});

/** How long each port takes for a call, in ms. */
const TAKES: Record<PortName, number> = { libvirt: 1000, cinder: 100, images: 10, journal: 1 };
/** Of the journal only what is written: its reads are part of what they are for. */
const WRITES: readonly string[] = ['ask', 'accept', 'commit', 'settle'];

function slowDesk(): Desk {
  const desk = new Desk({ tickMs: 20_000 });
  desk.between = async (port, method, call) => {
    const read = port === 'journal' && !WRITES.includes(method);
    if (!read) await desk.clock.sleep(TAKES[port]);
    return call();
  };
  return desk;
}

async function story(desk: Desk, snapshot: SnapshotId) {
  const [operation] = await desk.journal.operations({ snapshot, limit: 1 });
  const [notice] = await desk.journal.notices({ operation: operation!.id });
  return { operation: operation!, notice: notice! };
}

describe('an operation writes down what it has waited for', () => {
  test('a create', async () => {
    const desk = slowDesk();
    const request = desk.prepared();
    const began = desk.clock.monotonic();
    await desk.answered(desk.service.create(request, CALLER));
    await desk.idle();
    const { operation, notice } = await story(desk, request.snapshot);
    // Cinder, a look and a header; and, as that took its time, the same look again.
    const preflight = 100 + 1010 + 1010;
    const trace = { preflight, waiting: 0, journal: 2, libvirt: 1000, verify: 1010 };
    expect(operation.trace).toEqual(trace);
    expect(notice.tookMs).toBe(101);
    // Nothing is left out: only Cinder's answer is settled after that.
    const all = Object.values(operation.trace ?? {}).reduce((sum, ms) => sum + ms, 0);
    expect(operation.updatedAt - operation.askedAt).toBeLessThanOrEqual(all);
    expect(desk.clock.monotonic() - began).toBeGreaterThanOrEqual(all + 101);
  });

  test('a merge, and what waits for it', async () => {
    const desk = slowDesk();
    const ids = await desk.taken(3);
    const asked = [desk.deletion(ids, 1), desk.prepared()] as const;
    await desk.answered(desk.service.delete(asked[0], CALLER));
    await desk.answered(desk.service.create(asked[1], CALLER));
    await desk.idle();
    const { trace = {} } = (await story(desk, asked[0].snapshot)).operation;
    expect(trace).toMatchObject({ libvirt: 1000, barrier: 1000 });
    expect(trace.event).toBeGreaterThan(10_000);
    expect(trace.verify).toBeGreaterThan(1000);
    const second = (await story(desk, asked[1].snapshot)).operation.trace;
    expect(second?.waiting).toBeGreaterThan(10_000);
    expect(Object.keys(trace).filter((it) => !PHASES.some((phase) => phase === it))).toEqual([]);
  });

  test('and the next process adds to it', async () => {
    const desk = slowDesk();
    const ids = await desk.taken(2);
    const asked = desk.deletion(ids, 0);
    await desk.answered(desk.service.delete(asked, CALLER));
    await desk.clock.advance(8_000);
    const before = (await story(desk, asked.snapshot)).operation;
    expect(before.saga.at).toBe('merging');
    expect(before.trace?.preflight).toBeGreaterThan(2000);
    await desk.boot();
    await desk.idle();
    const { trace = {} } = (await story(desk, asked.snapshot)).operation;
    expect(trace.preflight).toBe(before.trace?.preflight);
    expect(trace.verify).toBeGreaterThan(0);
    expect(trace.journal).toBeGreaterThan(before.trace?.journal ?? 0);
  });
});
