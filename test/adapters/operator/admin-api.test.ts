import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Authenticator } from '#adapters/nova-api/auth.ts';
import { adminApp, listenAdmin } from '#adapters/operator/admin-api.ts';
import { ask } from '#adapters/operator/client.ts';
import { metricsApi } from '#adapters/operator/metrics-api.ts';
import { err, ok } from '#domain/result.ts';
import { file, format } from '../../support/chains.ts';
import { watchAnswers } from '../../support/documented.ts';
import { disk, header } from '../../support/sights.ts';
import {
  AWAY,
  CHAIN,
  DIAGNOSED,
  ENDED,
  LYING,
  OPEN,
  pretendAssisted,
  pretendClock,
  pretendInspect,
  pretendMeasures,
  pretendOperate,
  pretendTelemetry,
  ROTTEN,
  SAID_NO,
} from './pretend-inspect.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-admin-'));
afterAll(() => rmSync(folder, { recursive: true }));

let it = pretendInspect();
let telemetry = pretendTelemetry();
let orders = pretendOperate();
let cinder = pretendAssisted();
const world = () => ({
  inspect: it.inspect,
  operate: orders.operate,
  assisted: cinder.assisted,
  clock: pretendClock,
  host: 'cmp-04',
  telemetry,
  measures: pretendMeasures,
  document: () => ({ openapi: '3.1.0' }),
});
beforeEach(() => {
  cinder = pretendAssisted();
  orders = pretendOperate();
  it = pretendInspect();
  telemetry = pretendTelemetry();
});

const watched = { seen: new Set<string>(), wrong: [] as string[] };
afterEach(() => expect(watched.wrong.splice(0)).toEqual([]));

async function get(url: string, payload?: object, headers = {}) {
  const app = adminApp(world());
  watchAnswers(app, watched);
  const method = payload === undefined ? 'GET' : 'POST';
  const answer = await app.inject({ url, method, headers, ...(payload && { payload }) });
  return { status: answer.statusCode, body: answer.json() };
}

describe('answers', () => {
  test('a chain, base first', async () => {
    const { status, body } = await get('/v1/chains/volume-1%3Avda');
    expect(it.asked).toEqual([{ ref: 'volume-1:vda' }]);
    expect(status).toBe(200);
    expect(body).toEqual({
      volume: 'volume-1',
      server: 'server-1',
      target: 'vda',
      running: true,
      size: 2 ** 30,
      source: '/mnt',
      encrypted: false,
      job: null,
      active: 's2',
      cinder_active: 's2',
      problems: [],
      findings: [],
      layers: [
        layer(0, 'v', 'raw', 'not read', '-', 'base, read-only'),
        layer(1, 's1', 'qcow2', 'ok', '-', 'read-only'),
        layer(2, 's2', 'qcow2', 'ok', 'ACTIVE', 'guest writes here'),
      ],
    });
  });

  test('a chain whose witnesses disagree', async () => {
    it.chain = ok(LYING);
    const { body } = await get('/v1/chains/volume-1');
    expect(body.problems).toEqual(['the header of s2 lies', 'it is deep']);
    expect(body.findings).toEqual([
      { code: 'header-lies', severity: 'error', saw: 'the header of s2 lies', do: 'mend it' },
      { code: 'chain-deep', severity: 'warning', saw: 'it is deep', do: 'delete' },
    ]);
    expect(body.layers.map((one: { cinder: string }) => one.cinder)).toEqual(['-', 'ACTIVE', '-']);
  });

  test("a stopped guest's XML that ends early is no problem", async () => {
    const seen = { file: file('s1'), format: format('qcow2'), on: null };
    const guest = disk(seen, { process: null });
    it.chain = ok({ ...CHAIN, guest, headers: { s1: header()('v', 'raw') }, cinder: null });
    const { body } = await get('/v1/chains/volume-1');
    expect([body.running, body.problems]).toEqual([false, []]);
    const note = 'by its header it stands on v';
    expect(body.layers).toEqual([layer(0, 's1', 'qcow2', 'ok', 'unknown', note)]);
  });

  test('what is wrong with every volume', async () => {
    const about = { volume: 'volume-1', server: 'server-1', target: 'vda' };
    expect((await get('/v1/diagnoses')).body).toEqual({
      diagnoses: [{ ...about, reason: null, findings: [] }],
    });
    it.diagnoses = ok([
      { ...DIAGNOSED, report: err(ROTTEN) },
      { ...DIAGNOSED, report: ok(LYING) },
    ]);
    expect((await get('/v1/diagnoses')).body.diagnoses).toMatchObject([
      { reason: expect.stringContaining('not attached'), findings: [] },
      { reason: null, findings: [{ code: 'header-lies' }, { code: 'chain-deep' }] },
    ]);
    it.diagnoses = err(AWAY);
    expect((await get('/v1/diagnoses')).status).toBe(503);
  });

  test('formats', async () => {
    expect((await get('/v1/formats/volume-1')).body).toEqual({
      volume: 'volume-1',
      file_format: { v: 'raw' },
      files: [{ file: 'v', format: 'raw', provenance: 'reported' }],
    });
  });

  test('plans', async () => {
    const subject = { volume: 'v-1', snapshot: 's-1' };
    const { status, body } = await get('/v1/plans', {
      kind: 'create',
      ...subject,
      new_file: 'new',
    });
    expect([status, body.verdict, body.file_format]).toEqual([200, 'accepted', { v: 'raw' }]);
    expect(body.after).toEqual([
      { file: 's2', format: 'qcow2', provenance: 'reported' },
      { file: 'v', format: 'raw', provenance: 'reported' },
    ]);
    const delete_info = {
      volume_id: 'v-1',
      type: 'qcow2',
      file_to_merge: 's1',
      merge_target_file: null,
    };
    await get('/v1/plans', { kind: 'delete', ...subject, delete_info });
    expect(it.asked).toEqual([
      { ...subject, newFile: 'new' },
      { ...subject, fileToMerge: 's1', mergeTarget: null },
    ]);
  });

  test('operations', async () => {
    const { body } = await get('/v1/operations?state=open&limit=5');
    expect(it.asked).toEqual([{ state: 'open', limit: 5 }]);
    expect(body.operations).toMatchObject([
      { id: 'op-2', kind: 'create', state: 'accepted', outcome: null, new_file: 'new' },
      { id: 'op-1', kind: 'delete', state: 'end', outcome: 'merged', file_to_merge: 's1' },
    ]);
    expect((await get('/v1/operations/op-1')).body).toMatchObject({
      id: 'op-1',
      asked_at: '2023-11-14T22:13:20.000Z',
      file_format: { v: 'raw' },
      evidence: [{ seq: 1, kind: 'decided' }],
      phases_ms: { preflight: 2.125, event: 40 },
      notices: [
        {
          ...{ seq: 4, update: 'deleted', state: 'accepted', took_ms: 12.5 },
          file_format: { v: 'raw' },
        },
      ],
    });
  });
});

describe('orders', () => {
  test('an operation is aborted, or settled', async () => {
    const abort = await get('/v1/operations/op-1/abort', {});
    expect(abort).toMatchObject({ status: 200, body: { id: 'op-1', state: 'end' } });
    orders.answer = ok(OPEN);
    const settle = await get('/v1/operations/op-2/settle', { as: 'done' });
    expect(settle).toMatchObject({ status: 200, body: { id: 'op-2', state: 'accepted' } });
    expect(orders.ordered).toEqual([{ abort: 'op-1' }, { settle: 'op-2', as: 'done' }]);
  });

  test('a refusal is about the state, not about the words: 409', async () => {
    orders.answer = err({ kind: 'refused', refusal: { kind: 'has-begun', at: 'merging' } });
    for (const [path, body] of [
      ['abort', {}],
      ['settle', { as: 'failed' }],
    ] as const) {
      expect(await get(`/v1/operations/op-1/${path}`, body)).toMatchObject({
        status: 409,
        body: { error: { kind: 'has-begun', message: expect.stringContaining('is merging') } },
      });
    }
    orders.answer = err(AWAY);
    expect(await get('/v1/operations/op-1/abort', {})).toMatchObject({ status: 503 });
    orders.answer = null;
    expect(await get('/v1/operations/op-9/abort', {})).toMatchObject({ status: 404 });
  });

  test.each([{}, { as: 'unknown' }, { as: 'done', force: true }])(
    '%j settles nothing',
    async (body) => {
      expect(await get('/v1/operations/op-1/settle', body)).toMatchObject({ status: 400 });
      expect(orders.ordered).toEqual([]);
    },
  );
});

describe('errors', () => {
  test.each([
    ['a refusal', ROTTEN, 400, 'not-attached'],
    ['somebody away', AWAY, 503, 'unreachable'],
    ['somebody who said no', SAID_NO, 502, 'rejected'],
  ])('%s', async (_, trouble, status, kind) => {
    it.chain = err(trouble);
    const answer = await get('/v1/chains/x');
    expect(answer).toEqual({ status, body: { error: { kind, message: expect.any(String) } } });
  });

  const SUBJECT = { volume: 'v-1', snapshot: 's-1' };
  const INFO = { file_to_merge: 's1', merge_target_file: null };
  test.each<[string, object]>([
    ['nothing', {}],
    ['an unknown kind', { kind: 'undo', ...SUBJECT }],
    ['a path', { kind: 'create', ...SUBJECT, new_file: '../x' }],
    ['no file', { kind: 'create', ...SUBJECT }],
    ['more than was asked', { kind: 'create', ...SUBJECT, new_file: 'x', force: true }],
    ['a volume that is a path', { kind: 'create', ...SUBJECT, volume: '../x', new_file: 'x' }],
    ['half a delete_info', { kind: 'delete', ...SUBJECT, delete_info: { file_to_merge: 's1' } }],
    [
      "another volume's delete_info",
      { kind: 'delete', ...SUBJECT, delete_info: { ...INFO, volume_id: 'v-2' } },
    ],
  ])('a plan with %s', async (_, payload) => {
    expect(await get('/v1/plans', payload)).toMatchObject({
      status: 400,
      body: { error: { kind: 'bad-request' } },
    });
    expect(it.asked).toEqual([]);
  });

  test.each([
    ['/v1/operations?state=lost', 400, 'bad-request'],
    ['/v1/operations?limit=0', 400, 'bad-request'],
    ['/v1/operations?limit=x', 400, 'bad-request'],
    ['/v1/operations/op-9', 404, 'not-found'],
    ['/v1/nothing', 404, 'not-found'],
    ['/v1/operations/bug', 500, 'defect'],
  ])('%s', async (url, status, kind) => {
    expect(await get(url)).toMatchObject({ status, body: { error: { kind } } });
    expect(telemetry.lines.length).toBe(status === 500 ? 1 : 0);
  });
});

describe("what Nova's compute service hands on", () => {
  const GLOBAL = 'req-0a1b2c3d-9dad-41d1-80b4-00c04fd430c8';
  const subject = { volume: 'volume-1', snapshot: 'snapshot-1' };
  const create = { kind: 'create', ...subject, new_file: 'volume-1.snapshot-1' };
  const files = { file_to_merge: 's1', merge_target_file: null };
  const remove = { kind: 'delete', ...subject, delete_info: { volume_id: 'volume-1', ...files } };

  test('is asked as Cinder would ask it, under its request id', async () => {
    const headers = { 'x-openstack-request-id': GLOBAL };
    expect(await get('/v1/operations', create, headers)).toEqual({
      status: 202,
      body: { operation: OPEN.id },
    });
    await get('/v1/operations', remove);
    const requestId = `req-${pretendClock.uuid()}`;
    expect(cinder.asked).toEqual([
      { ...subject, newFile: 'volume-1.snapshot-1', requestId, globalRequestId: GLOBAL },
      { ...subject, fileToMerge: 's1', mergeTarget: null, requestId, globalRequestId: null },
    ]);
  });

  test('of a snapshot that Cinder does not know there is no operation', async () => {
    cinder.answer = ok({ operation: null });
    expect(await get('/v1/operations', create)).toEqual({ status: 202, body: { operation: null } });
    expect(telemetry.lines).toEqual(['info Cinder knows no snapshot snapshot-1: nothing was done']);
  });

  test.each([
    ['a refusal', ROTTEN, 400, 'not-attached', /^Volume volume-1 is not attached/],
    ['libvirt away', AWAY, 503, 'unreachable', /^libvirt/],
  ])('%s is said in a sentence, and logged', async (_, trouble, status, kind, says) => {
    cinder.answer = err(trouble);
    const answer = await get('/v1/operations', create);
    const message = expect.stringMatching(says);
    expect(answer).toEqual({ status, body: { error: { kind, message } } });
    expect(telemetry.lines).toEqual([expect.stringMatching(/^warning refused: /)]);
  });

  test.each([
    { ...create, new_file: '../x' },
    { ...create, kind: 'drop' },
    { ...create, more: 1 },
    { ...remove, delete_info: files, volume: 7 },
    { ...remove, delete_info: { ...files, volume_id: 'other' } },
    {},
  ])('%j is no request', async (body) => {
    expect(await get('/v1/operations', body)).toMatchObject({ status: 400 });
    expect(cinder.asked).toEqual([]);
  });

  test('its end is waited for, for as long as is asked', async () => {
    expect(await get('/v1/operations/op-1?wait=30')).toMatchObject({ status: 200 });
    expect(orders.ordered).toEqual([{ ended: 'op-1', withinMs: 30_000 }]);
    for (const wait of ['-1', '61', 'x']) {
      expect(await get(`/v1/operations/op-1?wait=${wait}`)).toMatchObject({ status: 400 });
    }
  });
});

describe('the socket', () => {
  const listen = (socket: string) => listenAdmin(world(), socket);

  test('is for owner and group, and gone afterwards', async () => {
    const socket = join(folder, 'new', 'a.sock');
    const api = await listen(socket);
    expect(api.ok).toBe(true);
    expect(statSync(socket).mode & 0o777).toBe(0o660);
    expect(await ask(socket, '/v1/formats/volume-1')).toMatchObject({ kind: 'ok' });
    if (api.ok) await api.value[Symbol.asyncDispose]();
    expect(existsSync(socket)).toBe(false);
    expect(await ask(socket, '/v1/formats/volume-1')).toMatchObject({
      kind: 'away',
      sentence: expect.stringContaining(socket),
    });
  });

  test('in a folder whose parent is missing makes no tree of folders', async () => {
    const socket = join(folder, 'no', 'such', 'a.sock');
    expect(await listen(socket)).toEqual(
      err(
        `Cannot listen on ${socket}: neither ${join(folder, 'no', 'such')} nor ` +
          `${join(folder, 'no')} is there: make it, or name another [operator] socket.`,
      ),
    );
    expect(existsSync(join(folder, 'no'))).toBe(false);
  });

  test('of a dead process is taken over, of a live one is not', async () => {
    const socket = join(folder, 'stale.sock');
    const die = `require('net').createServer()
      .listen(process.argv[1], () => process.kill(process.pid, 9))`;
    spawnSync(process.execPath, ['-e', die, socket]);
    expect(existsSync(socket)).toBe(true);
    const first = await listen(socket);
    expect(first.ok).toBe(true);
    const second = await listen(socket);
    expect(second).toEqual(
      err(
        `Cannot listen on ${socket}: somebody listens there, maybe another chainkeeper: stop ` +
          'that one, or name another [operator] socket.',
      ),
    );
    expect(await ask(socket, '/v1/formats/volume-1')).toMatchObject({ kind: 'ok' });
    if (first.ok) await first.value[Symbol.asyncDispose]();
  });

  test('never replaces what is no socket, and says why it cannot be', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, 'precious');
    expect(await listen(file)).toEqual(
      err(`Cannot listen on ${file}: it is a file: move it, or name another [operator] socket.`),
    );
    chmodSync(file, 0o600);
    expect(readFileSync(file, 'utf8')).toBe('precious');
    expect(await listen(join(file, 'below.sock'))).toMatchObject({
      error: expect.stringMatching(/: \S+\/file is a file: move it, or name another/),
    });
    symlinkSync('/nowhere', join(folder, 'dangling'));
    expect(await listen(join(folder, 'dangling'))).toMatchObject({
      error: expect.stringContaining(': it is a link to /nowhere, where nothing is: move it, or'),
    });
  });
});

function layer(
  at: number,
  file: string,
  format: string,
  header: string,
  cinder: string,
  note: string,
) {
  return { layer: at, file, format, libvirt: 'ok', header, cinder, note };
}

describe('events', () => {
  /** What a client gets until it has seen as much as it wants, and hangs up. */
  async function listened(until: string, headers = {}): Promise<string> {
    const app = adminApp({ ...world(), eventsEveryMs: 10 });
    const socket = join(folder, `events-${Math.random()}.sock`);
    await app.listen({ path: socket });
    const hangUp = new AbortController();
    let text = '';
    await new Promise<void>((resolve, reject) => {
      const options = { socketPath: socket, path: '/v1/events', headers, signal: hangUp.signal };
      const call = request(options, (answer) => {
        answer.setEncoding('utf8').on('data', (piece: string) => {
          text += piece;
          if (text.includes(until)) resolve();
        });
        answer.once('error', () => {});
        answer.once('end', resolve);
      });
      call.once('error', (error) => (hangUp.signal.aborted ? resolve() : reject(error)));
      call.end();
    });
    hangUp.abort();
    await app.close();
    return text;
  }
  const events = (text: string) =>
    text
      .split('\n\n')
      .filter((one) => one.includes('event:'))
      .map((one) => Object.fromEntries(one.split('\n').map((line) => line.split(/: (.*)/s))));

  test('begin with what is open, and a number to go on from', async () => {
    it.progress = { job: 'commit', done: 3, total: 12, rate: 1.5, secondsLeft: 6 };
    const [first, second, third] = events(await listened('event: progress'));
    expect(first).toMatchObject({ event: 'operation', id: '7' });
    expect(JSON.parse(first?.data)).toMatchObject({ id: OPEN.id, state: 'accepted' });
    expect(second).toEqual({ id: '7', event: 'ready', data: '{}' });
    expect(third).not.toHaveProperty('id');
    expect(JSON.parse(third?.data)).toEqual({
      ...{ id: OPEN.id, job: 'commit', done: 3, total: 12 },
      ...{ percent: 25, rate: 2, seconds_left: 6 },
    });
  });

  test('go on from where a client was, and tell what is over no more', async () => {
    it.progress = { job: 'commit', done: 3, total: 12, rate: null, secondsLeft: null };
    it.changes = [
      { seq: 8, operation: OPEN },
      { seq: 9, operation: { ...ENDED, id: OPEN.id } },
      { seq: 10, operation: ENDED },
    ];
    const heard = events(await listened('id: 10', { 'last-event-id': '8' }));
    expect(heard.map(({ event, id }) => [event, id])).toEqual([
      ['operation', '9'],
      ['operation', '10'],
    ]);
  });

  test.each(['x', '-1', '1e3', '1234567890123456'])('Last-Event-ID %s is refused', async (id) => {
    expect(await get('/v1/events', undefined, { 'last-event-id': id })).toMatchObject({
      status: 400,
    });
  });

  test('are for so many at once, and for another one when one has gone', async () => {
    const app = adminApp({ ...world(), eventsEveryMs: 10 });
    const socket = join(folder, 'many.sock');
    await app.listen({ path: socket });
    const listen = (hangUp: AbortSignal) =>
      new Promise<number>((resolve) => {
        const options = { socketPath: socket, path: '/v1/events', agent: false, signal: hangUp };
        const call = request(options, (answer) => {
          answer.once('error', () => {}).resume();
          resolve(answer.statusCode ?? 0);
        });
        call.once('error', () => {});
        call.end();
      });
    const [one, others] = [new AbortController(), new AbortController()];
    const first = [one, ...Array<AbortController>(31).fill(others)];
    expect(new Set(await Promise.all(first.map((it) => listen(it.signal))))).toEqual(
      new Set([200]),
    );
    expect(await listen(others.signal)).toBe(503);
    one.abort();
    await expect.poll(() => listen(others.signal)).toBe(200);
    others.abort();
    await app.close();
  });

  test('end when the service does', async () => {
    const app = adminApp({ ...world(), eventsEveryMs: 10 });
    const socket = join(folder, 'closing.sock');
    await app.listen({ path: socket });
    const ended = new Promise<string>((resolve) => {
      const call = request({ socketPath: socket, path: '/v1/events' }, (answer) => {
        answer.once('data', () => void app.close());
        answer.once('end', () => resolve('end')).once('error', () => resolve('error'));
      });
      call.end();
    });
    expect(await ended).toBe('end');
  });
});

test('the page, over the socket too', async () => {
  const answer = await adminApp(world()).inject({ url: '/ui/', headers: { host: 'chainkeeper' } });
  expect(answer.statusCode).toBe(200);
  expect(answer.body).toContain('instance-00000001 vda');
});

test('metrics, in their own content type', async () => {
  const answer = await adminApp(world()).inject({ url: '/metrics' });
  expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(answer.body).toBe(await pretendMeasures.exposition());
});

describe("the operator's port", () => {
  const auth: Authenticator = {
    authenticate: async ({ authorization }, { action }) =>
      authorization === 'Basic b3A6cHc=' && action === 'read'
        ? { ok: true, user: 'op' }
        : { ok: false, status: 401, message: 'Who are you?', wwwAuthenticate: 'Basic realm=""' },
  };
  const app = () =>
    metricsApi({ measures: pretendMeasures, telemetry, auth, page: world(), open: false });

  test('has metrics for whoever may read them', async () => {
    const headers = { authorization: 'Basic b3A6cHc=' };
    expect((await app().inject({ url: '/metrics', headers })).statusCode).toBe(200);
    const refused = await app().inject({ url: '/metrics' });
    expect([refused.statusCode, refused.headers['www-authenticate']]).toEqual([
      401,
      'Basic realm=""',
    ]);
  });

  test('has the page for whoever may read it, and sends him there', async () => {
    const headers = { authorization: 'Basic b3A6cHc=' };
    const answer = await app().inject({ url: '/ui', headers });
    expect([answer.statusCode, answer.headers['content-type']]).toEqual([
      200,
      'text/html; charset=utf-8',
    ]);
    expect((await app().inject({ url: '/', headers })).headers.location).toBe('/ui/');
    const stranger = await app().inject({ url: '/ui/' });
    expect(stranger.statusCode).toBe(401);
    expect(stranger.headers['content-security-policy']).toContain("default-src 'none'");
  });

  test.each([
    ['localhost:8080', 200],
    ['a.localhost', 200],
    ['127.0.0.1:8798', 200],
    ['[::1]:8798', 200],
    ['LOCALHOST.', 200],
    ['evil.example', 421],
    ['localhost.evil.example:8798', 421],
    ['127.0.0.1.evil.example', 421],
    ['evillocalhost', 421],
  ])('without a password it answers only as itself: %s is %d', async (host, status) => {
    const anyone: Authenticator = { authenticate: async () => ({ ok: true, user: 'anyone' }) };
    const options = { measures: pretendMeasures, telemetry, auth: anyone, page: world() };
    const asked = { url: '/ui/', headers: { host } };
    const open = await metricsApi({ ...options, open: true }).inject(asked);
    expect(open.statusCode).toBe(status);
    expect(open.headers['content-security-policy']).toContain("default-src 'none'");
    const closed = await metricsApi({ ...options, open: false }).inject(asked);
    expect(closed.statusCode).toBe(200);
  });

  test.each([
    ['GET', '/v1/operations'],
    ['POST', '/v1/operations/op-1/abort'],
    ['POST', '/metrics'],
  ] as const)('has nothing else: %s %s', async (method, url) => {
    const headers = { authorization: 'Basic b3A6cHc=' };
    expect((await app().inject({ method, url, headers })).statusCode).toBe(404);
    expect(orders.ordered).toEqual([]);
  });
});
