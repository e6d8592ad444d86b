import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { OperationId, VolumeId } from '#domain/ids.ts';
import type { Inspect } from '#ports/inspect.ts';
import type { Operation } from '#ports/journal.ts';
import { described, NO_API } from '../../http/described.ts';
import { troubleJson } from '../report-json.ts';
import { chainPage } from './chain-page.ts';
import { frame } from './frame.ts';
import { front } from './front.ts';
import { type Html, html } from './html.ts';
import { type ListedState, operationsPage } from './operation-list.ts';
import { operationPage } from './operation-page.ts';
import { MOST_RUNNING, type Running } from './running.ts';
import { Survey, type Surveyed, type SurveyWorld } from './survey.ts';

export interface PageWorld extends SurveyWorld {
  readonly inspect: Pick<
    Inspect,
    'chain' | 'changes' | 'diagnoses' | 'operation' | 'operations' | 'progress'
  >;
  /** This host's name, as in [DEFAULT] host. */
  readonly host: string;
  /** Where people log in on the page: whether this one has. Left out, the page has no form. */
  readonly hasSession?: (request: FastifyRequest) => boolean;
}

/** What a page of ours may do: take our script, our style and our data, and nothing else. */
export const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** The same for pages with a form of ours. */
export const FORMS_POLICY = POLICY.replace("form-action 'none'", "form-action 'self'");

const HEADERS = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
};

const ASSETS = {
  'page.css': 'text/css; charset=utf-8',
  'page.js': 'text/javascript; charset=utf-8',
  'icon.svg': 'image/svg+xml',
} as const;

/** For the first look at all chains, and for the chains that an operation has just changed. */
const PATIENCE_MS = 2000;
const ENDED_SHOWN = 10;
const LISTED = 200;
/** So many of the newest are looked through: for a volume's, and for outcomes that nobody knows. */
const LOOKED_THROUGH = 500;

/**
 * `GET /ui/`: the page, for a browser and for a person with curl. It changes nothing. Every answer
 * of the server that it is added to has the page's policy, so that not even an error is more.
 */
export function addPage(app: FastifyInstance, world: PageWorld): void {
  const { inspect, clock, host } = world;
  const survey = new Survey(world);
  app.addHook('onSend', async (_, reply) => {
    reply.headers(HEADERS);
    // Without a referrer a browser says of a form that it comes from nowhere.
    if (world.hasSession !== undefined) {
      reply.headers({ 'content-security-policy': FORMS_POLICY, 'referrer-policy': 'same-origin' });
    }
  });
  const send = (
    request: FastifyRequest,
    reply: FastifyReply,
    { title, main }: { readonly title: string; readonly main: Html },
    here: '/ui/' | '/ui/operations' | null = null,
  ) => {
    const session = world.hasSession?.(request) ?? false;
    // Of what somebody saw who has logged out, nothing may come back.
    const kept = session ? 'no-store' : 'no-cache';
    reply.type('text/html; charset=utf-8').header('cache-control', kept);
    return tagged(request, reply, frame({ host, title, here, main, session }));
  };
  const missing = (request: FastifyRequest, reply: FastifyReply, words: string) => {
    const main = html`<h1>Not here</h1><p>${words}</p><p><a href="/ui/">Overview</a></p>`;
    return send(request, reply.code(404), { title: 'Not here', main });
  };
  for (const [name, type] of Object.entries(ASSETS)) {
    const text = readFileSync(new URL(`./${name}`, import.meta.url), 'utf8');
    app.get(`/ui/${name}`, described(NO_API), (request, reply) => {
      reply.type(type).header('cache-control', 'no-cache');
      return tagged(request, reply, text);
    });
  }
  app.get<{ Querystring: Query }>('/ui/', described(NO_API), async (request, reply) => {
    const { page, find } = request.query;
    const list = { page: Number(one(page)) || 1, find: one(find).slice(0, 100).trim() };
    return send(request, reply, front({ ...(await gather(world, survey)), list }), '/ui/');
  });
  app.get<{ Querystring: Query }>('/ui/operations', described(NO_API), async (request, reply) => {
    const asked = one(request.query.state);
    const state: ListedState = asked === 'open' || asked === 'ended' ? asked : 'all';
    const operations =
      state === 'open' ? await openOf(world) : await inspect.operations(state, LISTED);
    const it = operationsPage(operations, state, LISTED, clock.now());
    return send(request, reply, it, '/ui/operations');
  });
  app.get<{ Params: { id: string } }>(
    '/ui/operations/:id',
    described(NO_API),
    async (request, reply) => {
      const story = await inspect.operation(request.params.id as OperationId);
      if (story === null) return missing(request, reply, 'There is no such operation.');
      const progress = inspect.progress(story.operation.saga.request.volume);
      return send(request, reply, operationPage(story, progress, clock.now()));
    },
  );
  app.get<{ Params: { volume: string } }>(
    '/ui/chains/:volume',
    described(NO_API),
    async (request, reply) => {
      const report = await inspect.chain(request.params.volume);
      if (!report.ok) {
        const { status, body } = troubleJson(report.error);
        const main = html`<h1>Not to be seen</h1><p>${body.error.message}</p>`;
        return send(request, reply.code(status === 400 ? 404 : status), {
          title: 'Not seen',
          main,
        });
      }
      const { volume } = report.value;
      const all = await inspect.operations('all', LOOKED_THROUGH);
      const its = all.filter(({ saga }) => saga.request.volume === volume).slice(0, LISTED);
      return send(request, reply, chainPage(report.value, its, clock.now()));
    },
  );
  app.get('/ui/*', described(NO_API), (request, reply) =>
    missing(request, reply, 'There is no such page.'),
  );
}

interface Query {
  readonly [key: string]: string | string[] | undefined;
}

/** A parameter that is given twice is a slip; the first one is meant. */
const one = (value: string | string[] | undefined): string =>
  (Array.isArray(value) ? value[0] : value) ?? '';

async function gather(world: PageWorld, survey: Survey) {
  const { inspect, clock } = world;
  const [open, ended] = await Promise.all([
    openOf(world),
    inspect.operations('ended', LOOKED_THROUGH),
  ]);
  const changed = new Map<VolumeId, number>();
  for (const { saga, updatedAt } of [...ended, ...open]) {
    const { volume } = saga.request;
    changed.set(volume, Math.max(updatedAt, changed.get(volume) ?? 0));
  }
  const seen = await survey.look(changed, PATIENCE_MS);
  const running = await Promise.all(
    open.slice(0, MOST_RUNNING).map((operation) => runningOf(world, operation, seen)),
  );
  return {
    now: clock.now(),
    changed,
    survey: seen,
    open,
    running: running.filter((one) => one !== null),
    unknown: ended.filter(({ saga }) => saga.at === 'end' && saga.outcome === 'unknown'),
    ended: ended.slice(0, ENDED_SHOWN),
  };
}

/** The newest first. By state they would be sought in all of the journal, for each who looks. */
async function openOf({ inspect }: PageWorld): Promise<readonly Operation[]> {
  const { operations } = await inspect.changes(null);
  return operations.map(({ operation }) => operation).toReversed();
}

/** Null when it has been forgotten meanwhile. */
async function runningOf(
  { inspect }: PageWorld,
  { id, saga }: Operation,
  { volumes }: Surveyed,
): Promise<Running | null> {
  const { volume, server } = saga.request;
  const story = await inspect.operation(id);
  const known = volumes.find((one) => one.volume === volume && one.server === server)?.report;
  const report = known?.ok ? known.value : null;
  return story && { story, progress: inspect.progress(volume), report };
}

/** With the tag of its content, by which who has it already need not have it again. */
function tagged(request: FastifyRequest, reply: FastifyReply, text: string): FastifyReply {
  const tag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`;
  reply.header('etag', tag);
  const same = request.headers['if-none-match'] === tag && reply.statusCode === 200;
  return same ? reply.code(304).send() : reply.send(text);
}
