import { readFileSync } from 'node:fs';
import type { InjectOptions } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { NO_API, type Route, routesOf } from '#adapters/http/described.ts';
import { type Authenticator, noAuth } from '#adapters/nova-api/auth.ts';
import { adminApp } from '#adapters/operator/admin-api.ts';
import { metricsApi } from '#adapters/operator/metrics-api.ts';
import { adminRoutes, cinderRoutes, openapiDocument, openapiText } from '#app/openapi.ts';
import { err, ok } from '#domain/result.ts';
import {
  api,
  asRequestsDoes,
  createBody,
  deleteInfo,
  PATH,
  SNAPSHOT,
} from './adapters/nova-api/harness.ts';
import {
  AWAY,
  ENDED,
  pretendAssisted,
  pretendClock,
  pretendInspect,
  pretendMeasures,
  pretendOperate,
  pretendTelemetry,
  ROTTEN,
  SAID_NO,
} from './adapters/operator/pretend-inspect.ts';
import { DOCUMENT, FILE, judgeAs, watchAnswers } from './support/documented.ts';

test('docs/openapi.yaml is what the routes say: else run `npm run openapi`', () => {
  expect(openapiText()).toBe(readFileSync(FILE, 'utf8'));
});

test('every route says what it takes and answers, or that it is no API', () => {
  const silent = [...cinderRoutes(), ...adminRoutes(), ...operatorRoutes()]
    .filter(({ described }) => described === null)
    .map(({ method, url }) => `${method} ${url}`);
  expect(silent).toEqual([]);
});

test("the operator's port serves pages, and nothing that the socket does not serve too", () => {
  const names = (routes: readonly Route[]) =>
    routes.filter((it) => it.described !== NO_API).map(({ method, url }) => `${method} ${url}`);
  expect(names(operatorRoutes()).sort()).toEqual([
    'GET /metrics',
    'GET /v1/events',
    'HEAD /metrics',
    'HEAD /v1/events',
  ]);
  expect(names(adminRoutes())).toEqual(expect.arrayContaining(names(operatorRoutes())));
});

const REFUSES: Authenticator['authenticate'] = async ({ 'x-auth-token': token }) => {
  if (token === 'member') return { ok: false, status: 403, message: 'Policy says no.' };
  return { ok: false, status: 401, message: 'Who?', wwwAuthenticate: 'Keystone uri="http://k"' };
};
const elsewhere = { kind: 'guest-not-found', host: 'cmp-05' } as never;

describe('each answer is as the document has it', () => {
  const watched = { seen: new Set<string>(), wrong: [] as string[] };
  let inspect = pretendInspect();
  let operate = pretendOperate();
  let assisted = pretendAssisted();
  beforeEach(() => {
    inspect = pretendInspect();
    operate = pretendOperate();
    assisted = pretendAssisted();
  });
  afterEach(() => expect(watched.wrong.splice(0)).toEqual([]));

  async function cinder(status: number, asked: InjectOptions, options = {}) {
    const { app } = api(options);
    watchAnswers(app, watched);
    expect([asked, (await app.inject(asked)).statusCode]).toEqual([asked, status]);
  }

  async function admin(status: number, url: string, payload?: object) {
    const app = adminApp({
      ...{ inspect: inspect.inspect, operate: operate.operate, assisted: assisted.assisted },
      ...{ clock: pretendClock, telemetry: pretendTelemetry(), measures: pretendMeasures },
      ...{ host: 'cmp-04', document: openapiDocument },
    });
    watchAnswers(app, watched);
    const method = payload === undefined ? 'GET' : 'POST';
    const answer = await app.inject({ method, url, ...(payload && { payload }) });
    await app.close();
    expect([url, answer.statusCode]).toEqual([url, status]);
  }

  const JSON_TYPE = { 'content-type': 'application/json' };
  const query = `delete_info=${asRequestsDoes(deleteInfo())}`;
  const remove = { method: 'DELETE', url: `${PATH}/${SNAPSHOT}?${query}`, headers: {} } as const;
  const make = { method: 'POST', url: PATH, headers: JSON_TYPE, payload: createBody() } as const;

  test.each([
    ['create', make, 200],
    ['delete', remove, 204],
  ] as const)("Cinder's %s", async (_, it, well) => {
    const answer = (trouble: object) => ({ answer: async () => err(trouble) });
    const with_ = (headers: object) => ({ ...it, headers: { ...it.headers, ...headers } });
    await cinder(well, it);
    const sent = answer({ kind: 'refused', refusal: elsewhere });
    await cinder(307, it, { ...sent, hosts: { 'cmp-05': 'http://cmp-05:8797' } });
    await cinder(400, it, answer(ROTTEN));
    await cinder(500, it, answer(SAID_NO));
    await cinder(503, it, answer(AWAY));
    await cinder(401, it, { auth: { authenticate: REFUSES } });
    await cinder(403, with_({ 'x-auth-token': 'member' }), { auth: { authenticate: REFUSES } });
    await cinder(406, with_({ 'openstack-api-version': 'compute 2.99' }));
    await cinder(414, { ...it, url: `${it.url}?${'x'.repeat(9000)}` });
  });

  test("what else Cinder's port serves", async () => {
    await cinder(415, { ...make, headers: { 'content-type': 'text/plain' }, payload: 'x' });
    await cinder(413, { ...make, payload: { x: 'x'.repeat(20_000) } });
    for (const url of ['/', '/v2', '/v2.1/', '/v2.1/0123']) await cinder(200, { url });
    const health = async () => 'libvirt is away';
    for (const headers of [{}, { accept: 'application/json' }]) {
      await cinder(200, { url: '/healthcheck', headers });
      await cinder(503, { url: '/healthcheck', headers }, { health });
    }
    await cinder(204, { method: 'HEAD', url: '/healthcheck' });
    await cinder(503, { method: 'HEAD', url: '/healthcheck' }, { health });
  });

  const subject = { volume: 'volume-1', snapshot: 'snapshot-1' };
  const create = { kind: 'create', ...subject, new_file: 'volume-1.snapshot-1' };

  test('chains, plans and requests', async () => {
    for (const [trouble, status] of [
      [null, 200],
      [ROTTEN, 400],
      [SAID_NO, 502],
      [AWAY, 503],
    ] as const) {
      if (trouble !== null) {
        inspect.chain = inspect.plan = inspect.diagnoses = assisted.answer = err(trouble);
      }
      await admin(status, '/v1/chains/volume-1');
      await admin(status, '/v1/plans', create);
      await admin(status === 200 ? 202 : status, '/v1/operations', create);
      if (trouble !== ROTTEN) await admin(status, '/v1/diagnoses');
    }
    await admin(200, '/v1/formats/volume-1');
    await admin(200, '/v1/openapi.json');
    await admin(200, '/metrics');
  });

  test('operations and orders', async () => {
    await admin(200, '/v1/operations');
    await admin(400, '/v1/operations?state=lost');
    for (const id of ['op-1', 'op-2']) await admin(200, `/v1/operations/${id}`);
    await admin(400, '/v1/operations/op-1?wait=99');
    await admin(404, '/v1/operations/op-9');
    await admin(500, '/v1/operations/bug');
    const begun = { kind: 'refused', refusal: { kind: 'has-begun', at: 'merging' } } as const;
    for (const [answer, status] of [
      [ok(ENDED), 200],
      [null, 404],
      [err(begun), 409],
      [err(SAID_NO), 502],
      [err(AWAY), 503],
    ] as const) {
      operate.answer = answer;
      await admin(status, '/v1/operations/op-1/abort', {});
      await admin(status, '/v1/operations/op-1/settle', { as: 'done' });
    }
    await admin(400, '/v1/operations/op-1/settle', { as: 'well' });
  });

  test('events', async () => {
    inspect.progress = { job: 'commit', done: 3, total: 12, rate: 1.5, secondsLeft: 6 };
    const app = adminApp({
      ...{ inspect: inspect.inspect, operate: operate.operate, assisted: assisted.assisted },
      ...{ clock: pretendClock, telemetry: pretendTelemetry(), measures: pretendMeasures },
      ...{ host: 'cmp-04', document: openapiDocument, eventsEveryMs: 10 },
    });
    watchAnswers(app, watched);
    const headers = { 'last-event-id': 'x' };
    expect((await app.inject({ url: '/v1/events', headers })).statusCode).toBe(400);
    const at = await app.listen();
    const listening = await Promise.all(Array.from({ length: 32 }, () => fetch(`${at}/v1/events`)));
    expect((await fetch(`${at}/v1/events`)).status).toBe(503);
    const [{ headers: said, body }] = listening as [Response];
    expect(said.get('content-type')).toBe('text/event-stream');
    watched.seen.add('GET /v1/events 200');
    let text = '';
    for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.includes('event: progress')) break;
    }
    await app.close();
    const { Operation = {}, Progress = {} } = DOCUMENT.components.schemas;
    const data = (name: string) =>
      JSON.parse(new RegExp(`event: ${name}\ndata: (.*)`).exec(text)?.[1] ?? 'null');
    expect(judgeAs(Operation, data('operation'))).toBe(null);
    expect(judgeAs(Progress, data('progress'))).toBe(null);
  });

  test('and of each that it has, one was seen here', () => {
    const kept = /^\/(v1|metrics|healthcheck)|^\/(v2\.1)?$|^\/v2\.1\/os-assisted/;
    const all = Object.entries(DOCUMENT.paths)
      .filter(([path]) => kept.test(path))
      .flatMap(([path, its]) =>
        Object.entries(its).flatMap(([method, it]) =>
          Object.keys(it.responses ?? {}).map((code) => `${method.toUpperCase()} ${path} ${code}`),
        ),
      )
      .filter((it) => !it.endsWith(' default'));
    expect(all.filter((it) => !watched.seen.has(it))).toEqual([]);
    expect(all.length).toBeGreaterThan(50);
  });
});

function operatorRoutes(): readonly Route[] {
  const page = { inspect: pretendInspect().inspect, clock: pretendClock, host: 'cmp-04' };
  const telemetry = pretendTelemetry();
  return routesOf(
    metricsApi({
      ...{ measures: pretendMeasures, telemetry, auth: noAuth(), open: true },
      page: { ...page, telemetry },
    }),
  );
}
