import { chmodSync } from 'node:fs';
import { dirname } from 'node:path';
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify';
import type { OperationId, VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { AssistedSnapshots } from '#ports/assisted-snapshots.ts';
import type { Clock } from '#ports/clock.ts';
import type { Inspect } from '#ports/inspect.ts';
import type { Measures } from '#ports/measures.ts';
import type { Operate } from '#ports/operate.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { described, rememberRoutes } from '../http/described.ts';
import { callerOf } from '../nova-api/request-id.ts';
import { codeOf, whyNot } from '../system/access.ts';
import { BEFORE_ROUTES, BODY_BYTES, sentenceOf } from './admin-errors.ts';
import { clearTheWay, makeFolder } from './admin-place.ts';
import { parseRequest, planOf, submit, words } from './admin-requests.ts';
import { LISTED, ORDER, ROUTES, WAIT } from './admin-routes.ts';
import { addEvents } from './events.ts';
import { addMetrics } from './metrics-api.ts';
import { addPage, type PageWorld } from './page/routes.ts';
import {
  chainJson,
  diagnosisJson,
  errorJson,
  formatsJson,
  operationJson,
  operationReportJson,
  planJson,
  troubleJson,
} from './report-json.ts';

export interface AdminWorld extends Pick<PageWorld, 'host'> {
  readonly assisted: AssistedSnapshots;
  readonly clock: PageWorld['clock'] & Pick<Clock, 'uuid'>;
  readonly inspect: Inspect;
  readonly operate: Operate;
  readonly telemetry: Telemetry;
  readonly measures: Measures;
  /** How often whoever listens to events is told: see `EventsOptions`. */
  readonly eventsEveryMs?: number;
  /** The OpenAPI document of this API, and of Cinder's. */
  readonly document: () => object;
}

/** The admin API while it listens. */
export interface AdminApi extends AsyncDisposable {
  readonly socket: string;
}

/**
 * Listens on a unix socket for those who may write to it: its owner and group (0660). A file that
 * a dead process left behind is removed; a live one's is not.
 */
export async function listenAdmin(
  world: AdminWorld,
  socket: string,
): Promise<Result<AdminApi, string>> {
  try {
    const problem = makeFolder(dirname(socket)) ?? (await clearTheWay(socket));
    if (problem !== null) return err(`Cannot listen on ${socket}: ${problem}.`);
    const app = adminApp(world);
    await app.listen({ path: socket });
    chmodSync(socket, 0o660);
    return ok({ socket, [Symbol.asyncDispose]: () => app.close() });
  } catch (error) {
    return err(`Cannot listen on ${socket}: ${whyNot(codeOf(error))}.`);
  }
}

/** The routes alone, to be served anywhere. */
export function adminApp(world: AdminWorld): FastifyInstance {
  const { inspect, operate, telemetry, clock } = world;
  const app = fastify({
    genReqId: () => `req-${clock.uuid()}`,
    ...BEFORE_ROUTES,
    bodyLimit: BODY_BYTES,
    requestIdHeader: false,
    requestTimeout: 60_000,
    // close() would wait for an open stream (seen on fastify 5).
    forceCloseConnections: true,
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false } },
    routerOptions: { maxParamLength: 900, ignoreTrailingSlash: true },
  });
  rememberRoutes(app);
  app.setNotFoundHandler((request, reply) =>
    reply.code(404).send(errorJson('not-found', `There is no ${request.method} ${request.url}.`)),
  );
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status < 500) return reply.code(status).send(errorJson('bad-request', sentenceOf(error)));
    telemetry.log('error', `${request.method} ${request.url}: ${error.stack ?? error.message}`);
    return reply.code(500).send(errorJson('defect', 'This is a bug: see the log of the service.'));
  });
  chains(app, inspect);
  operations(app, inspect, operate);
  requests(app, world);
  orders(app, operate);
  app.get('/v1/openapi.json', described(ROUTES.document), async () => world.document());
  addMetrics(app, world.measures);
  addPage(app, world);
  const { eventsEveryMs: everyMs } = world;
  addEvents(app, { inspect, ...(everyMs !== undefined && { everyMs }) });
  return app;
}

function chains(app: FastifyInstance, inspect: Inspect): void {
  type Ref = { Params: { ref: string } };
  app.get<Ref>('/v1/chains/:ref', described(ROUTES.chain), async (request, reply) => {
    const report = await inspect.chain(request.params.ref);
    if (report.ok) return chainJson(report.value);
    const { status, body } = troubleJson(report.error);
    return reply.code(status).send(body);
  });
  app.get('/v1/diagnoses', described(ROUTES.diagnoses), async (_, reply) => {
    const found = await inspect.diagnoses();
    if (found.ok) return { diagnoses: found.value.map(diagnosisJson) };
    const { status, body } = troubleJson(found.error);
    return reply.code(status).send(body);
  });
  type Volume = { Params: { volume: string } };
  app.get<Volume>('/v1/formats/:volume', described(ROUTES.formats), async (request) => {
    const volume = request.params.volume as VolumeId;
    return formatsJson(volume, await inspect.formats(volume));
  });
  app.post('/v1/plans', described(ROUTES.plan), async (request, reply) => {
    const asked = parseRequest(request.body);
    const plan = asked.ok ? await planOf(inspect, asked.value) : asked;
    if (plan.ok) return planJson(plan.value);
    const { status, body } = troubleJson(plan.error);
    return reply.code(status).send(body);
  });
}

function operations(app: FastifyInstance, inspect: Inspect, operate: Operate): void {
  app.get('/v1/operations', described(ROUTES.operations), async (request, reply) => {
    const query = LISTED.safeParse(request.query, SAID);
    if (!query.success) return reply.code(400).send(errorJson('bad-request', words(query.error)));
    const { state, limit } = query.data;
    return { operations: (await inspect.operations(state, limit)).map(operationJson) };
  });
  app.get<OfOne>('/v1/operations/:id', described(ROUTES.operation), async (request, reply) => {
    const { id } = request.params;
    const query = WAIT.safeParse(request.query, SAID);
    if (!query.success) return reply.code(400).send(errorJson('bad-request', words(query.error)));
    await operate.ended(id as OperationId, query.data.wait * 1000);
    const report = await inspect.operation(id as OperationId);
    if (report !== null) return operationReportJson(report);
    return reply.code(404).send(errorJson('not-found', `There is no operation ${id}.`));
  });
}

/**
 * What Cinder asks of Nova, from Nova's own compute service on this host: the same request, the
 * same journal, and the same answer as over HTTP. `operation` is null when Cinder knows no such
 * snapshot.
 */
function requests(app: FastifyInstance, { assisted, telemetry }: AdminWorld): void {
  app.post('/v1/operations', described(ROUTES.submit), async (request, reply) => {
    const caller = callerOf(request.id, request.headers);
    const asked = parseRequest(request.body);
    const answer = asked.ok ? await submit(assisted, asked.value, caller) : asked;
    if (answer.ok) {
      const { operation } = answer.value;
      if (operation === null && asked.ok) {
        const { snapshot } = asked.value;
        telemetry.log('info', `Cinder knows no snapshot ${snapshot}: nothing was done`, caller);
      }
      return reply.code(202).send({ operation });
    }
    const { status, body } = troubleJson(answer.error);
    telemetry.log('warning', `refused: ${body.error.message}`, caller);
    return reply.code(status).send(body);
  });
}

/** What a person orders; a refusal is 409, because the state is against it and not the words. */
function orders(app: FastifyInstance, operate: Operate): void {
  type Said = Awaited<ReturnType<Operate['abort']>>;
  const answer = (reply: FastifyReply, id: string, said: Said) => {
    if (said === null) {
      return reply.code(404).send(errorJson('not-found', `There is no operation ${id}.`));
    }
    if (said.ok) return operationJson(said.value);
    const { status, body } = troubleJson(said.error);
    return reply.code(said.error.kind === 'refused' ? 409 : status).send(body);
  };
  const path = '/v1/operations/:id';
  app.post<OfOne>(`${path}/abort`, described(ROUTES.abort), async (request, reply) => {
    const { id } = request.params;
    return answer(reply, id, await operate.abort(id as OperationId));
  });
  app.post<OfOne>(`${path}/settle`, described(ROUTES.settle), async (request, reply) => {
    const order = ORDER.safeParse(request.body, SAID);
    if (!order.success) return reply.code(400).send(errorJson('bad-request', words(order.error)));
    const { id } = request.params;
    return answer(reply, id, await operate.settle(id as OperationId, order.data.as));
  });
}

const SAID = { reportInput: true };
type OfOne = { Params: { id: string } };
