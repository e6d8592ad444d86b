import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { FAMILIES, type Family, Metrics } from '#adapters/operator/prometheus.ts';
import { Meter } from '#app/measures.ts';
import { ProgressBook } from '#app/progress.ts';
import type { FileName, OperationId } from '#domain/ids.ts';
import { err, ok } from '#domain/result.ts';
import type { Clock } from '#ports/clock.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { CopyOrder, Images } from '#ports/images.ts';
import { SimClock } from '#sim/clock.ts';
import { SimJournal } from '#sim/journal.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';
import { END, operation } from './contract/journal.ts';

const FAILED = { kind: 'create-failed' } as const;

/** A whole service, which has taken two snapshots and deleted one. */
let host: SimulatedHost;
let text = '';
beforeAll(async () => {
  host = await SimulatedHost.open({ port: 0, clusters: 64, tickMs: 60, clustersPerTick: 1 });
  const { cinder, volume, disk } = host.cloud;
  const { snapshot } = await cinder.createSnapshot(volume);
  for (let at = 0; at < 40; at++) disk.write(at, at + 1);
  await cinder.createSnapshot(volume);
  await cinder.deleteSnapshot(snapshot);
  await host.hexagon.runner.idle();
  while ((await pending()) > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  text = await scrape();
});
afterAll(() => host[Symbol.asyncDispose]());

const pending = async () => reading(await scrape(), 'chainkeeper_outbox_pending');

function scrape(): Promise<string> {
  const { socket } = host.config.operator;
  return new Promise((resolve, reject) => {
    const call = request({ socketPath: socket, path: '/metrics', agent: false }, (answer) => {
      expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
      let said = '';
      answer.on('data', (piece) => {
        said += piece;
      });
      answer.once('end', () => resolve(said));
    });
    call.once('error', reject);
    call.end();
  });
}

function reading(from: string, series: string): number {
  const line = from.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? Number.NaN : Number(line.slice(series.length + 1));
}

test('how long an operation took is known without reading the journal, and forgotten', async () => {
  const clock = new SimClock({ start: 1_000 });
  const sim = new SimJournal(clock);
  const reads: string[] = [];
  const read = sim.operation.bind(sim);
  sim.operation = (id) => {
    reads.push(id);
    return read(id);
  };
  const metrics = new Metrics();
  const progress = new ProgressBook(() => clock.monotonic());
  const meter = new Meter({ metrics, progress, clock, version: '1' });
  const took = () => {
    const text = metrics.text();
    return ['count', 'sum'].map((what) =>
      reading(text, `chainkeeper_operation_seconds_${what}{kind="create"}`),
    );
  };
  const journal = meter.journal(sim);
  const entry = { saga: END, evidence: [], tell: null, formats: [], chain: null };
  const one = { ...operation('one'), askedAt: clock.now() };
  await journal.ask(one);
  await journal.accept(one.id);
  await clock.advance(3_000);
  await journal.commit(one.id, entry);
  expect([took(), reads]).toEqual([[1, 3], []]);
  // What an earlier process was asked is heard of when it is taken up.
  await sim.ask({ ...operation('two'), askedAt: clock.now() });
  await sim.accept('two' as OperationId);
  await journal.unfinished();
  await clock.advance(4_000);
  await journal.commit('two' as OperationId, entry);
  expect([took(), reads]).toEqual([[2, 7], []]);
  // A person settles it, long after its end.
  await journal.commit('two' as OperationId, entry);
  expect([took(), reads]).toEqual([[3, 11], ['two']]);
  meter.stop();
});

test('what was done is counted, by kind and outcome', () => {
  const ended = (kind: string, outcome: string) =>
    reading(text, `chainkeeper_operations_total{kind="${kind}",outcome="${outcome}"}`);
  expect([ended('create', 'created'), ended('delete', 'merged')]).toEqual([2, 1]);
  expect(reading(text, 'chainkeeper_operation_seconds_count{kind="create"}')).toBe(2);
  expect(text).not.toMatch(/^chainkeeper_operations_open[ {]/m);
  expect(reading(text, 'chainkeeper_verdict_mismatches_total{kind="delete"}')).toBe(0);
  expect([ended('undo', 'undone'), ended('delete', 'unknown')]).toEqual([0, 0]);
});

test('the merge, its barrier, and how long Cinder took to say yes', () => {
  expect(reading(text, 'chainkeeper_merge_bytes_total')).toBeGreaterThan(0);
  expect(reading(text, 'chainkeeper_barrier_seconds_count{result="ok"}')).toBe(1);
  expect(reading(text, 'chainkeeper_acknowledge_seconds_count{update="created"}')).toBe(2);
  expect(reading(text, 'chainkeeper_acknowledge_seconds_count{update="deleted"}')).toBe(1);
  expect(reading(text, 'chainkeeper_outbox_oldest_seconds')).toBe(0);
});

test('the depth of each chain counts once, as it is now', () => {
  expect(reading(text, 'chainkeeper_chain_depth_count')).toBe(1);
  expect(reading(text, 'chainkeeper_chain_depth_sum')).toBe(2);
});

test('libvirt, the event loop, the process', () => {
  expect(reading(text, 'chainkeeper_libvirt_call_seconds_count{call="snapshot"}')).toBe(2);
  expect(reading(text, 'chainkeeper_libvirt_call_seconds_count{call="merge"}')).toBe(1);
  expect(reading(text, 'chainkeeper_libvirt_calls')).toBe(0);
  expect(reading(text, 'chainkeeper_libvirt_queue')).toBe(0);
  expect(reading(text, 'chainkeeper_event_loop_lag_seconds{quantile="0.99"}')).toBeLessThan(5);
  expect(reading(text, 'process_resident_memory_bytes')).toBeGreaterThan(1e7);
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
  expect(reading(text, `chainkeeper_build_info{version="${version}"}`)).toBe(1);
});

test('what is under way, and what Cinder has not heard', async () => {
  const { cinder, volume } = host.cloud;
  host.http.instead = ({ path, method }) =>
    method === 'POST' && path.endsWith('/action') ? { status: 503, body: {} } : null;
  void cinder.createSnapshot(volume).catch(() => {});
  await expect.poll(() => pending(), { timeout: 10_000 }).toBe(1);
  await expect
    .poll(async () => reading(await scrape(), 'chainkeeper_outbox_oldest_seconds'))
    .toBeGreaterThan(0.2);
  host.http.instead = () => null;
  await expect.poll(() => pending(), { timeout: 10_000 }).toBe(0);
});

test('Ctrl-C at ops watch ends the watching, and the merge goes on', async () => {
  const { cinder, volume, disk } = host.cloud;
  const { runner, inspect } = host.hexagon;
  const { snapshot } = await cinder.createSnapshot(volume);
  for (let at = 0; at < 40; at++) disk.write(at, at + 100);
  await cinder.createSnapshot(volume);
  const deleting = cinder.deleteSnapshot(snapshot);
  const open = async () =>
    (await inspect.operations('open', 9)).find(({ saga }) => saga.at === 'merging');
  await expect.poll(open, { timeout: 10_000 }).toBeDefined();
  const { id } = (await open())!;
  // It gets nowhere until the watch has seen it, however long that takes to start.
  await expect.poll(() => disk.job, { timeout: 10_000 }).not.toBe(null);
  const stopped = vi.spyOn(disk.job!, 'step').mockImplementation(() => {});
  const { socket } = host.config.operator;
  const args = ['bin/chainkeeper.js', 'ops', 'watch', id, '--socket', socket];
  const watch = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  watch.stdout.on('data', (piece) => {
    said += piece;
  });
  watch.stderr.on('data', (piece) => {
    said += piece;
  });
  await expect.poll(() => said, { timeout: 30_000 }).toMatch(/delete .* merging\n/);
  watch.kill('SIGINT');
  // Nobody has waited for its end: the outcome is not known.
  expect(await once(watch, 'exit')).toEqual([4, null]);
  expect(said).toContain('what goes on goes on');
  stopped.mockRestore();
  await deleting;
  await runner.idle();
  const ended = await inspect.operation(id);
  expect(ended?.operation.saga).toMatchObject({ at: 'end', outcome: 'merged' });
});

/** The text form, by its grammar: every line is of a family that was announced, and of its type. */
test('Prometheus can read it', () => {
  const families = new Map<string, string>();
  for (const line of text.trimEnd().split('\n')) {
    const [, name = '', type = ''] = /^# TYPE (\w+) (counter|gauge|histogram)$/.exec(line) ?? [];
    if (name !== '') families.set(name, type);
    if (line.startsWith('#')) continue;
    const label = String.raw`[a-z_]+="(?:[^"\\\n]|\\["\\n])*"`;
    const form = new RegExp(
      String.raw`^([a-z_]+?)(_bucket|_sum|_count)?(?:\{${label}(?:,${label})*\})? (\S+)$`,
    );
    const [, family = '', part = '', value = 'x'] = form.exec(line) ?? [];
    expect(families.get(family) ?? families.get(family + part), line).toBeDefined();
    if (part !== '' && !families.has(family + part)) expect(families.get(family)).toBe('histogram');
    expect(Number(value), line).not.toBeNaN();
  }
  expect([...families.keys()]).toEqual(Object.keys(FAMILIES));
});

test('a histogram is cumulative, labels are quoted, and a counter never falls', () => {
  const metrics = new Metrics();
  for (const depth of [1, 3, 200]) metrics.observe('chainkeeper_chain_depth', depth);
  metrics.add('chainkeeper_merge_bytes_total', {}, 5);
  metrics.add('chainkeeper_merge_bytes_total', {}, -3);
  metrics.set('chainkeeper_build_info', 1, { version: 'a"b\\c\nd' });
  const shown = metrics.text();
  const buckets = shown.match(/^chainkeeper_chain_depth_bucket.*$/gm) ?? [];
  expect(buckets.map((it) => Number(it.split(' ').at(-1)))).toEqual([1, 1, 2, 2, 2, 2, 2, 3]);
  expect(reading(shown, 'chainkeeper_merge_bytes_total')).toBe(5);
  expect(shown).toContain('{version="a\\"b\\\\c\\nd"} 1\n');
  metrics.clear('chainkeeper_chain_depth');
  expect(metrics.text()).not.toContain('chainkeeper_chain_depth_count');
});

test('names keep the conventions', () => {
  for (const [name, { type, help }] of Object.entries<Family>(FAMILIES)) {
    expect(name.endsWith('_total'), name).toBe(type === 'counter');
    expect(help.endsWith('.'), name).toBe(true);
    expect(type === 'histogram', name).toBe('buckets' in FAMILIES[name as keyof typeof FAMILIES]);
  }
});

describe('a meter', () => {
  function meter() {
    let now = 5000;
    const clock = { now: () => now, monotonic: () => now };
    const metrics = new Metrics();
    const it = new Meter({ metrics, clock, progress: new ProgressBook(() => now), version: '1' });
    const passed = (seconds: number) => {
      now += seconds * 1000;
    };
    return { it, passed, clock };
  }

  test('counts what contradicts the prediction, and times only what Cinder has taken', async () => {
    const { it, passed, clock } = meter();
    const journal = it.journal(new SimJournal(clock as Clock));
    const saga = { ...END, outcome: 'unknown' } as const;
    const notices = [];
    for (const id of ['a', 'b']) {
      await journal.ask(operation(id));
      await journal.accept(id as OperationId);
      const trace = { preflight: 2000, event: 500 };
      const entry = { saga, evidence: [], formats: [], tell: FAILED, chain: null, trace } as const;
      notices.push(await journal.commit(id as OperationId, entry));
    }
    passed(7);
    const waiting = await it.exposition();
    expect(reading(waiting, 'chainkeeper_outbox_pending')).toBe(2);
    expect(reading(waiting, 'chainkeeper_outbox_oldest_seconds')).toBe(7);
    await journal.settle(notices[0]?.seq ?? 0, 'accepted', 9);
    await journal.settle(notices[1]?.seq ?? 0, 'obsolete');
    const [told] = await journal.notices({ operation: 'a' as OperationId });
    expect(told?.tookMs).toBe(9);
    const text = await it.exposition();
    it.stop();
    expect(reading(text, 'chainkeeper_verdict_mismatches_total{kind="create"}')).toBe(2);
    const heard = 'chainkeeper_acknowledge_seconds';
    expect(reading(text, `${heard}_count{update="create-failed"}`)).toBe(1);
    expect(reading(text, `${heard}_sum{update="create-failed"}`)).toBe(7);
    const phase = 'chainkeeper_phase_seconds';
    expect(reading(text, `${phase}_sum{kind="create",phase="preflight"}`)).toBe(4);
    expect(reading(text, `${phase}_count{kind="create",phase="event"}`)).toBe(2);
    expect(text).not.toContain('phase="barrier"');
    expect(reading(text, 'chainkeeper_outbox_pending')).toBe(0);
  });

  test('knows who waits for libvirt, and what took how long', async () => {
    const { it, passed } = meter();
    const asked = Promise.withResolvers<Awaited<ReturnType<Hypervisor['thaw']>>>();
    const thaw = () => asked.promise;
    const hypervisor = it.hypervisor({ thaw, waiting: 3 } as unknown as Hypervisor);
    const answer = hypervisor.thaw({} as Parameters<Hypervisor['thaw']>[0]);
    const text = await it.exposition();
    expect(reading(text, 'chainkeeper_libvirt_queue')).toBe(3);
    expect(reading(text, 'chainkeeper_libvirt_calls')).toBe(1);
    passed(2);
    asked.resolve(ok(null));
    expect(await answer).toEqual(ok(null));
    const after = await it.exposition();
    it.stop();
    expect(reading(after, 'chainkeeper_libvirt_call_seconds_sum{call="thaw"}')).toBe(2);
    expect(reading(after, 'chainkeeper_libvirt_calls')).toBe(0);
  });

  test('times what is done while a guest is off', async () => {
    const { it, passed } = meter();
    const images = it.images({
      copy: async () => {
        passed(4);
        return ok(null);
      },
      sync: async () => {
        passed(1);
        return err({ kind: 'unreachable', who: 'the share', detail: 'EIO' });
      },
    } as unknown as Images);
    const order = { merge: { kind: 'pull', onto: null } } as CopyOrder;
    expect(await images.copy(order)).toEqual(ok(null));
    expect((await images.sync('/mnt', 'v' as FileName)).ok).toBe(false);
    const text = await it.exposition();
    it.stop();
    const copied = 'chainkeeper_offline_merge_seconds_sum{merge="pull",result="ok"}';
    expect(reading(text, copied)).toBe(4);
    expect(reading(text, 'chainkeeper_barrier_seconds_sum{result="failed"}')).toBe(1);
  });
});
