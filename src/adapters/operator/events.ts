import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Inspect } from '#ports/inspect.ts';
import type { Operation } from '#ports/journal.ts';
import { described } from '../http/described.ts';
import { ROUTES } from './admin-routes.ts';
import { escapeJson } from './escape.ts';
import { errorJson, operationJson, progressJson } from './report-json.ts';

export interface EventsOptions {
  readonly inspect: Pick<Inspect, 'changes' | 'progress'>;
  /** How often the journal is asked for what has changed. */
  readonly everyMs?: number;
  /** Whether who listens still may: asked now and then, and else the stream ends. */
  readonly stays?: (request: FastifyRequest) => Promise<boolean>;
  readonly staysEveryMs?: number;
}

const EVERY_MS = 500;
/** Proxies close what is silent for longer, and a client that has gone is noticed. */
const ALIVE_MS = 15_000;
/** So long a stream outlives the token it was asked for with. */
const STAYS_EVERY_MS = 30_000;
/** Each of them asks the journal twice a second. */
const MOST_STREAMS = 32;
/** Of a client that does not read; it may come back and go on from where it was. */
const MOST_BEHIND = 2 ** 20;

/**
 * `GET /v1/events`: server-sent events (the WHATWG HTML standard, 9.2). An `operation` event each
 * time that one has changed, with the journal's number of the change as its id: whoever comes back
 * with `Last-Event-ID`, also to the next process, hears of each operation that has changed since,
 * as it is by then. Without that header the stream begins with the operations that are open. A
 * `progress` event tells of the block job of an open one, and has no id.
 */
export function addEvents(app: FastifyInstance, options: EventsOptions): void {
  const closing = new AbortController();
  let streams = 0;
  app.addHook('preClose', async () => closing.abort());
  app.get('/v1/events', described(ROUTES.events), async (request, reply) => {
    const { 'last-event-id': id } = request.headers;
    if (id !== undefined && !/^\d{1,15}$/.test(String(id))) {
      return reply.code(400).send(errorJson('bad-request', 'Last-Event-ID must be a number.'));
    }
    if (streams >= MOST_STREAMS || closing.signal.aborted) {
      const sentence = closing.signal.aborted ? 'It is stopping.' : 'Too many listen already.';
      return reply.code(503).send(errorJson('unreachable', sentence));
    }
    streams += 1;
    reply.hijack();
    const gone = new AbortController();
    reply.raw.once('close', () => gone.abort());
    const { stays = async () => true, staysEveryMs = STAYS_EVERY_MS } = options;
    const check = () => stays(request).then((may) => may || gone.abort());
    // Whoever cannot be asked about is not known to be let in.
    const timer = setInterval(() => check().catch(() => gone.abort()), staysEveryMs);
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    try {
      await stream(reply.raw, options, id === undefined ? null : Number(id), signal);
    } finally {
      clearInterval(timer);
      streams -= 1;
      reply.raw.end();
    }
  });
}

async function stream(
  to: ServerResponse,
  { inspect, everyMs = EVERY_MS }: EventsOptions,
  from: number | null,
  signal: AbortSignal,
): Promise<void> {
  to.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  const open = new Map<string, Operation>();
  let after = from;
  let silent = 0;
  while (!signal.aborted && to.writableLength < MOST_BEHIND) {
    const { last, operations } = await inspect.changes(after);
    for (const { seq, operation } of operations) {
      to.write(event('operation', operationJson(operation), seq));
      if (operation.saga.at === 'end') open.delete(operation.id);
      else open.set(operation.id, operation);
    }
    // From here a client that has heard of nothing else can go on.
    if (after === null) to.write(event('ready', {}, last));
    after = last;
    let said = operations.length;
    for (const { id, saga } of open.values()) {
      const progress = inspect.progress(saga.request.volume);
      if (progress === null) continue;
      to.write(event('progress', { id, ...progressJson(progress) }));
      said += 1;
    }
    silent = said > 0 ? 0 : silent + everyMs;
    if (silent >= ALIVE_MS) {
      to.write(': alive\n\n');
      silent = 0;
    }
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
}

/** JSON has no line feed outside of its texts, and none in them that is not escaped. */
function event(name: string, data: object, id?: number): string {
  const lines = [`event: ${name}`, `data: ${escapeJson(JSON.stringify(data))}`];
  return `${(id === undefined ? lines : [`id: ${id}`, ...lines]).join('\n')}\n\n`;
}
