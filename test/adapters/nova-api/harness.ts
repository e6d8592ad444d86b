import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { afterEach, expect } from 'vitest';
import { noAuth } from '#adapters/nova-api/auth.ts';
import { type NovaApiOptions, novaApi } from '#adapters/nova-api/server.ts';
import type { OperationId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import type { Answer, AssistedCreate, AssistedDelete, Caller } from '#ports/assisted-snapshots.ts';
import { watchAnswers } from '../../support/documented.ts';

export const VOLUME = '6d2ae0d4-7f3f-4ad3-9d6a-0e2c2d5e1f10';
export const SNAPSHOT = '0b6f3f0c-7b33-4b0e-a0fb-8a4f0e1f2a3b';
export const FILE = `volume-${VOLUME}.${SNAPSHOT}`;
export const PATH = '/v2.1/os-assisted-volume-snapshots';
export const REQUEST_ID = /^req-[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}$/;

export interface Call {
  readonly verb: 'create' | 'delete';
  readonly request: AssistedCreate | AssistedDelete;
  readonly caller: Caller;
}

export interface Harness {
  readonly app: FastifyInstance;
  readonly calls: Call[];
  readonly lines: string[];
}

const opened: FastifyInstance[] = [];
const watched = { seen: new Set<string>(), wrong: [] as string[] };
afterEach(async () => {
  for (const app of opened.splice(0)) await app.close();
  expect(watched.wrong.splice(0)).toEqual([]);
});

/** The API over a port that writes down what it was asked, and says `answer`. */
export function api(
  options: Partial<NovaApiOptions> & { answer?: () => Promise<Answer> } = {},
): Harness {
  const calls: Call[] = [];
  const lines: string[] = [];
  const answer = options.answer ?? (async () => ok({ operation: 'op-1' as OperationId }));
  const note = (verb: Call['verb']) => (request: Call['request'], caller: Caller) => {
    calls.push({ verb, request, caller });
    return answer();
  };
  const app = novaApi({
    assisted: { create: note('create'), delete: note('delete') },
    telemetry: { log: (level, message) => lines.push(`${level} ${message}`) },
    clock: {
      monotonic: () => performance.now(),
      now: () => 0,
      sleep: async () => {},
      uuid: () => crypto.randomUUID(),
      random: () => 0.5,
    },
    auth: noAuth(),
    health: async () => null,
    maxQueued: 4,
    publicEndpoint: null,
    ...options,
  });
  watchAnswers(app, watched);
  opened.push(app);
  return { app, calls, lines };
}

/** What novaclient 18.1 puts on every call. */
export const CINDER = {
  accept: 'application/json',
  'user-agent': 'python-novaclient',
  'x-auth-token': 'notused',
  'x-openstack-nova-api-version': '2.1',
  'x-openstack-request-id': 'req-3dccb8a1-6a0d-4e31-a0f2-0dd8f8b2e0a1',
} as const;

export const createBody = (info: object = {}, snapshot: object = {}, body: object = {}) => ({
  snapshot: {
    volume_id: VOLUME,
    create_info: { snapshot_id: SNAPSHOT, type: 'qcow2', new_file: FILE, ...info },
    ...snapshot,
  },
  ...body,
});

export const post = (
  { app }: Harness,
  body: string | Buffer | object,
  headers: OutgoingHttpHeaders = {},
  url = PATH,
) =>
  app.inject({
    method: 'POST',
    url,
    headers: { ...CINDER, 'content-type': 'application/json', ...headers },
    payload: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
  });

export const deleteInfo = (info: object = {}) => ({
  file_to_merge: `volume-${VOLUME}`,
  merge_target_file: null,
  type: 'qcow2',
  volume_id: VOLUME,
  ...info,
});

/** As requests encodes a query: all but `: , +` and the harmless. */
export const asRequestsDoes = (info: unknown): string =>
  encodeURIComponent(JSON.stringify(info).replaceAll('":', '": ').replaceAll(',"', ', "'))
    .replaceAll('%3A', ':')
    .replaceAll('%2C', ',')
    .replaceAll('%2B', '+')
    .replaceAll('%20', '+');

export const remove = (
  { app }: Harness,
  query: string,
  headers: OutgoingHttpHeaders = {},
  id: string = SNAPSHOT,
  path = PATH,
) =>
  app.inject({
    method: 'DELETE',
    url: `${path}/${id}${query}`,
    headers: { ...CINDER, ...headers },
  });
