import { z } from 'zod';
import { type Described, json, named, type Said } from '../http/described.ts';
import { Asked } from './admin-requests.ts';
import {
  CHAIN,
  DIAGNOSIS,
  ERROR,
  FORMATS,
  OPERATION,
  OPERATION_REPORT,
  PLAN,
} from './report-shapes.ts';

/** What the admin API's routes take and answer: they check by it, and the document says it. */

const NOT_THERE = json('There is no such operation', ERROR, 'NoOperation');
const BAD = json('The request is not understood', ERROR, 'NotUnderstood');
/** Of libvirt, Cinder and files: who did not answer, and who said no. */
const WORLD: Readonly<Record<number, Said>> = {
  502: json('Somebody else, such as libvirt, said no', ERROR, 'SaidNo'),
  503: json('Somebody else, such as libvirt, cannot be reached', ERROR, 'Away'),
};
export const ANY_ERROR = json('Not HTTP as it should be, or a bug', ERROR, 'AnyError');
const REFUSED = json('Refused, or not understood: nothing was changed', ERROR, 'Refused');

export const ORDER = z.strictObject({ as: z.enum(['done', 'failed']) });
export const WAIT = z.strictObject({
  wait: z.coerce
    .number()
    .min(0)
    .max(60)
    .default(0)
    .describe('How many seconds to wait for the end'),
});
export const LISTED = z.strictObject({
  state: z.enum(['open', 'ended', 'all']).default('all'),
  limit: z.coerce.number().int().min(1).max(10_000).default(100),
});

const OPERATION_ID = { id: 'Of an operation, as the list has it' };

export const ROUTES = {
  chain: {
    summary: "A volume's chain by three witnesses: libvirt, headers, Cinder",
    params: { ref: 'A volume id, or GUEST:DISK' },
    answers: { 200: json('The chain, base first', CHAIN), 400: REFUSED, ...WORLD },
  },
  diagnoses: {
    summary: 'What is wrong with each volume of the guests on this host',
    answers: {
      200: json('By volume', named('Diagnoses', z.strictObject({ diagnoses: z.array(DIAGNOSIS) }))),
      ...WORLD,
    },
  },
  formats: {
    summary: "The formats of a volume's files, as they were last told or seen",
    params: { volume: 'A volume id' },
    answers: { 200: json('The formats that are known', FORMATS) },
  },
  plan: {
    summary: 'What would be done and what is in the way; it changes nothing',
    body: Asked,
    answers: { 200: json('It would be accepted', PLAN), 400: REFUSED, ...WORLD },
  },
  operations: {
    summary: 'The operations, the newest first',
    query: LISTED,
    answers: {
      200: json(
        'The operations',
        named('Operations', z.strictObject({ operations: z.array(OPERATION) })),
      ),
      400: BAD,
    },
  },
  operation: {
    summary: 'One operation, with what it rests on and what Cinder is told',
    params: OPERATION_ID,
    query: WAIT,
    answers: { 200: json('The operation', OPERATION_REPORT), 400: BAD, 404: NOT_THERE },
  },
  submit: {
    summary: "Asks what Cinder asks of Nova, for Nova's compute service on this host",
    body: Asked,
    answers: {
      202: json(
        'Accepted; null when Cinder knows no such snapshot, and nothing was done',
        z.strictObject({ operation: z.string().nullable() }),
      ),
      400: REFUSED,
      ...WORLD,
    },
  },
  abort: {
    summary: 'Ends an operation that has not begun; it fails',
    params: OPERATION_ID,
    answers: {
      200: json('The operation, ended', OPERATION),
      404: NOT_THERE,
      409: json('It has begun, or is over', ERROR),
      ...WORLD,
    },
  },
  settle: {
    summary: "A person's word on an operation whose outcome is unknown",
    params: OPERATION_ID,
    body: ORDER,
    answers: {
      200: json('The operation', OPERATION),
      400: BAD,
      404: NOT_THERE,
      409: json('Its outcome is known, or what is seen says otherwise', ERROR),
      ...WORLD,
    },
  },
  document: {
    summary: 'This document',
    answers: { 200: json('OpenAPI 3.1', z.looseObject({ openapi: z.string() })) },
  },
  metrics: {
    summary: "Measurements, in Prometheus' text form; also on [operator] bind_port",
    answers: { 200: { words: 'Metrics', body: { 'text/plain': z.string() } } },
  },
  events: {
    summary: 'What happens, as server-sent events; also on [operator] bind_port',
    headers: z.object({
      'Last-Event-ID': z
        .string()
        .regex(/^\d{1,15}$/)
        .optional()
        .describe('The number of the last change that was heard; without it, what is open'),
    }),
    answers: {
      200: {
        words:
          'Each time that an operation has changed an `operation` event (data: Operation), with ' +
          'the number of the change; `progress` events (data: Progress); and once `ready`',
        body: { 'text/event-stream': z.string() },
      },
      400: BAD,
      503: json('Too many listen, or the service is stopping', ERROR),
    },
  },
} as const satisfies Readonly<Record<string, Described>>;
