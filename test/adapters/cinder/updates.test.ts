import { describe, expect, test } from 'vitest';
import { noauth } from '#adapters/cinder/auth.ts';
import { Rest } from '#adapters/cinder/rest.ts';
import { CinderVolumes } from '#adapters/cinder/volumes.ts';
import type { FileFormat } from '#domain/chain.ts';
import type { FileName, Format, SnapshotId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import type { Dialect, Update } from '#domain/status.ts';
import {
  fault,
  json,
  type Knows,
  Loopback,
  pretendCinder,
  type Row,
  STOCK,
} from './pretend-cinder.ts';

const SNAPSHOT = 'abcd' as SnapshotId;
const SPEC: Knows = { format: true, status: true };

const formatOf = (file: string, format: string): FileFormat => ({
  file: file as FileName,
  format: format as Format,
  provenance: 'reported',
});
const created: Update = {
  kind: 'created',
  formats: [formatOf('volume-1234.snapshot-abcd', 'qcow2')],
};
const deleted: Update = { kind: 'deleted', formats: [formatOf('volume-1234', 'raw')] };
const every: readonly Update[] = [
  created,
  deleted,
  { kind: 'deleting', percent: 42 },
  { kind: 'create-failed' },
  { kind: 'delete-failed' },
];
const named = every.map((update) => [update.kind, update] as const);

const row = (status: string): Row => ({ volume: '1234', status, progress: null });
const startOf = (update: Update) => (update.kind.startsWith('create') ? 'creating' : 'deleting');

function clientOf(cinder: Loopback, dialect: 'auto' | Dialect = 'auto') {
  const authorizer = noauth({ endpoint: `${cinder.url}/v3`, userId: 'u', projectId: 'p' });
  const rest = new Rest({ authorizer, headersTimeoutMs: 5_000 });
  const log: string[] = [];
  const telemetry = { log: (_level: string, message: string) => void log.push(message) };
  const volumes = new CinderVolumes({ rest, dialect, telemetry });
  return { volumes, log, [Symbol.asyncDispose]: () => rest[Symbol.asyncDispose]() };
}

describe('what Cinder is told', () => {
  const stock: Record<Update['kind'], unknown> = {
    created: { status: 'creating', progress: '90%' },
    deleted: { status: 'deleting', progress: '90%' },
    deleting: { status: 'deleting', progress: '42%' },
    'create-failed': { status: 'error', progress: '0%' },
    'delete-failed': { status: 'error_deleting', progress: '0%' },
  };
  const spec = {
    ...stock,
    created: {
      status: 'creating_compute_complete',
      progress: '90%',
      file_format: { 'volume-1234.snapshot-abcd': 'qcow2' },
    },
    deleted: {
      status: 'deleting_compute_complete',
      progress: '90%',
      file_format: { 'volume-1234': 'raw' },
    },
  };

  test.each(named)('%s, in stock words and in the words of the spec', async (kind, update) => {
    for (const [dialect, knows, words] of [
      ['stock', STOCK, stock],
      ['spec', SPEC, spec],
    ] as const) {
      await using cinder = await pretendCinder({ abcd: row(startOf(update)) }, knows);
      await using client = clientOf(cinder, dialect);
      expect(await client.volumes.update(SNAPSHOT, update)).toEqual(ok('accepted'));
      expect(cinder.heard).toHaveLength(1);
      expect(cinder.heard[0]).toMatchObject({
        method: 'POST',
        url: '/v3/p/snapshots/abcd/action',
        headers: { 'content-type': 'application/json', 'x-auth-token': 'u:p' },
        body: { 'os-update_snapshot_status': words[kind] },
      });
    }
  });

  test('before a delete is acknowledged, its progress is taken back', async () => {
    await using cinder = await pretendCinder({ abcd: row('deleting') }, STOCK);
    await using client = clientOf(cinder);
    await client.volumes.update(SNAPSHOT, { kind: 'deleting', percent: 0 });
    expect(cinder.updates).toEqual([{ status: 'deleting', progress: '0%' }]);
  });
});

describe('a Cinder whose dialect is not configured', () => {
  test.each<[Dialect, Knows]>([
    ['spec', SPEC],
    ['format', { format: true, status: false }],
    ['status', { format: false, status: true }],
    ['stock', STOCK],
  ])('is found to speak %s, and from then on spoken to so', async (dialect, knows) => {
    const rows = { abcd: row('creating'), ef: row('deleting') };
    await using cinder = await pretendCinder(rows, knows);
    await using client = clientOf(cinder);
    expect(await client.volumes.update(SNAPSHOT, created)).toEqual(ok('accepted'));
    await using fixed = clientOf(cinder, dialect);
    const tries = cinder.updates.length;
    expect(tries).toBe(1 + ['spec', 'format', 'status', 'stock'].indexOf(dialect));

    expect(await client.volumes.update('ef' as SnapshotId, deleted)).toEqual(ok('accepted'));
    expect(cinder.updates).toHaveLength(tries + 1);
    rows.ef = row('deleting');
    await fixed.volumes.update('ef' as SnapshotId, deleted);
    expect(cinder.updates.at(-1)).toEqual(cinder.updates.at(-2));
    const learnt = client.log.filter((line) => line.includes('dialect'));
    expect(learnt).toEqual(dialect === 'spec' ? [] : [expect.stringContaining(dialect)]);
    expect(client.log.length - learnt.length, 'what Cinder accepted is logged').toBe(2);
  });

  test('learns nothing from what sounds the same in every dialect', async () => {
    const rows = { abcd: row('deleting') };
    await using cinder = await pretendCinder(rows, STOCK);
    await using client = clientOf(cinder);
    await client.volumes.update(SNAPSHOT, { kind: 'deleting', percent: 7 });
    await client.volumes.update(SNAPSHOT, deleted);
    expect(cinder.updates[1]).toMatchObject({ status: 'deleting_compute_complete' });
  });

  test('keeps what it learned while progress of another snapshot was on its way', async () => {
    const held: (() => void)[] = [];
    const stock = { status: 'creating', progress: '90%' };
    await using cinder = await Loopback.open((request, response, body) => {
      if (body.includes('42%')) return void held.push(() => response.writeHead(202).end());
      if (request.method === 'GET') {
        return json(response, 200, { snapshot: { volume_id: '1234', status: 'creating' } });
      }
      if (!body.includes(JSON.stringify(stock))) return fault(response, 400, 'badRequest', 'no');
      response.writeHead(202).end();
    });
    await using client = clientOf(cinder);
    const slow = client.volumes.update('ef' as SnapshotId, { kind: 'deleting', percent: 42 });
    await client.volumes.update(SNAPSHOT, created);
    for (const answer of held) answer();
    expect(await slow).toEqual(ok('accepted'));
    const tries = cinder.updates.length;
    await client.volumes.update(SNAPSHOT, created);
    expect(cinder.updates.slice(tries)).toEqual([stock]);
  });

  /** Without the look after a 400, `stock` would be taken for what this Cinder speaks. */
  test.each(['error', 'available', 'deleting'])(
    'loses no dialect to a snapshot that has become %s',
    async (status) => {
      const rows = { abcd: row(status), ef: row('creating') };
      await using cinder = await pretendCinder(rows, SPEC);
      await using client = clientOf(cinder);
      expect(await client.volumes.update(SNAPSHOT, created)).toEqual(ok('obsolete'));
      expect(cinder.updates).toHaveLength(1);
      expect(rows.abcd.status).toBe(status);
      await client.volumes.update('ef' as SnapshotId, created);
      expect(cinder.updates.at(-1)).toMatchObject({ status: 'creating_compute_complete' });
      expect(cinder.updates).toHaveLength(2);
    },
  );

  test('is not told in other words when the snapshot goes between two tries', async () => {
    const rows: Record<string, Row> = { abcd: row('creating') };
    let posts = 0;
    await using cinder = await Loopback.open((request, response) => {
      if (request.method === 'POST') {
        posts += 1;
        if (posts === 2) delete rows.abcd;
        return fault(response, 400, 'badRequest', 'no');
      }
      const { volume, status } = rows.abcd ?? {};
      if (!volume) return fault(response, 404, 'itemNotFound', 'gone');
      json(response, 200, { snapshot: { volume_id: volume, status } });
    });
    await using client = clientOf(cinder);
    expect(await client.volumes.update(SNAPSHOT, created)).toEqual(ok('obsolete'));
    expect(posts).toBe(2);
  });

  test('that refuses every dialect is a fault, with the last refusal', async () => {
    await using cinder = await Loopback.open((request, response) => {
      if (request.method === 'POST') return fault(response, 400, 'badRequest', 'not today');
      json(response, 200, { snapshot: { volume_id: '1234', status: 'creating' } });
    });
    await using client = clientOf(cinder);
    expect(await client.volumes.update(SNAPSHOT, created)).toMatchObject({
      ok: false,
      error: { kind: 'rejected', who: 'Cinder', code: 400, detail: expect.stringMatching(/today/) },
    });
    expect(cinder.updates).toHaveLength(4);
  });

  test('is asked again after a failed look, from the same dialect on', async () => {
    let sick = true;
    await using cinder = await Loopback.open((request, response, body) => {
      if (request.method === 'GET') return fault(response, 500, 'computeFault', 'oops');
      if (sick || body.includes('file_format')) return fault(response, 400, 'badRequest', 'no');
      response.writeHead(202).end();
    });
    await using client = clientOf(cinder);
    const fails = { ok: false, error: { kind: 'rejected', code: 500 } };
    expect(await client.volumes.update(SNAPSHOT, created)).toMatchObject(fails);
    sick = false;
    expect(await client.volumes.update(SNAPSHOT, created)).toMatchObject(fails);
    expect(cinder.updates[1]).toEqual(cinder.updates[0]);
  });
});

test.each<Dialect>(['spec', 'format', 'status'])('a configured %s never steps down', async (it) => {
  await using cinder = await pretendCinder({ abcd: row('creating') }, STOCK);
  await using client = clientOf(cinder, it);
  expect(await client.volumes.update(SNAPSHOT, created)).toMatchObject({
    ok: false,
    error: { kind: 'rejected', code: 400 },
  });
  expect(cinder.updates).toHaveLength(1);
});

describe('saying it again', () => {
  test.each(named)('%s, to a stock Cinder and to one that knows the spec', async (_, update) => {
    for (const knows of [STOCK, SPEC]) {
      const rows = { abcd: row(startOf(update)) };
      await using cinder = await pretendCinder(rows, knows);
      await using client = clientOf(cinder);
      expect(await client.volumes.update(SNAPSHOT, update)).toEqual(ok('accepted'));
      const once = { ...rows.abcd };
      const failed = update.kind.endsWith('failed');
      const again = ok(failed ? 'obsolete' : 'accepted');
      expect(await client.volumes.update(SNAPSHOT, update)).toEqual(again);
      expect(rows.abcd).toEqual(once);
    }
  });

  test('a failure of what was told as done is obsolete, not heard', async () => {
    await using cinder = await pretendCinder({ abcd: row('creating_compute_complete') }, SPEC);
    await using client = clientOf(cinder);
    const failed = await client.volumes.update(SNAPSHOT, { kind: 'create-failed' });
    expect(failed).toEqual(ok('obsolete'));
  });
});

test.each(named)('%s about a snapshot that Cinder does not have is obsolete', async (_, update) => {
  for (const dialect of ['auto', 'stock'] as const) {
    await using cinder = await pretendCinder({}, STOCK);
    await using client = clientOf(cinder, dialect);
    expect(await client.volumes.update(SNAPSHOT, update)).toEqual(ok('obsolete'));
  }
});

test.each([401, 403, 409, 413, 429, 500])('HTTP %i to an update is a fault', async (status) => {
  await using cinder = await Loopback.open((_, response) => {
    fault(response, status, 'whatever', 'so it is');
  });
  await using client = clientOf(cinder);
  expect(await client.volumes.update(SNAPSHOT, created)).toEqual({
    ok: false,
    error: {
      kind: 'rejected',
      who: 'Cinder',
      code: status,
      detail: `POST snapshots/abcd/action: HTTP ${status}: so it is`,
    },
  });
  expect(cinder.heard).toHaveLength(1);
});

test('a 404 that is not from Cinder says nothing about the snapshot', async () => {
  await using cinder = await Loopback.open((_, response) => {
    response.writeHead(404, { 'Content-Type': 'text/html' }).end('<h1>nginx</h1>');
  });
  await using client = clientOf(cinder);
  const rejected = { ok: false, error: { kind: 'rejected', code: 404 } };
  expect(await client.volumes.update(SNAPSHOT, created)).toMatchObject(rejected);
  expect(await client.volumes.snapshot(SNAPSHOT)).toMatchObject(rejected);
});

test('a login page with status 200 has not heard the update', async () => {
  await using cinder = await Loopback.open((_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<form>');
  });
  await using client = clientOf(cinder);
  expect(await client.volumes.update(SNAPSHOT, created)).toMatchObject({
    ok: false,
    error: { kind: 'rejected', code: 200 },
  });
});
