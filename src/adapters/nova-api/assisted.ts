import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { SnapshotId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { Answer, AssistedSnapshots, Trouble } from '#ports/assisted-snapshots.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import type { Asked, Authenticator } from './auth.ts';
import { CREATE, CREATE_V2, DELETE } from './described.ts';
import { badRequest, faultOf, JSON_TYPE, type NovaFault, sendFault } from './fault.ts';
import { isJson, UNSUPPORTED_TYPE } from './guards.ts';
import { microversion } from './microversion.ts';
import { parseQuery, type Query } from './query.ts';
import { callerOf, contextOf, letIn } from './request-id.ts';
import { addResource, type Handler, isLegacy, PREFIXES, PROJECTS } from './resource.ts';
import { parseCreate, parseDelete, unknownParameter } from './wire.ts';

export interface AssistedOptions {
  readonly assisted: AssistedSnapshots;
  readonly telemetry: Telemetry;
  readonly auth: Authenticator;
  readonly maxQueued: number;
  /** Of other compute hosts, by the name that Cinder has for the host: where they are asked. */
  readonly hosts?: Readonly<Record<string, string>>;
  readonly defect?: (error: unknown) => void;
}

/** os-assisted-volume-snapshots (nova/api/openstack/compute/assisted_volume_snapshots.py). */
export function addAssisted(
  app: FastifyInstance,
  options: AssistedOptions,
  closing: () => boolean,
): void {
  const { assisted } = options;
  const ask = queue(options, closing);

  const create: Handler = async (request, reply) => {
    if (!isJson(request.headers['content-type'])) return sendFault(reply, UNSUPPORTED_TYPE);
    const body = request.body instanceof Uint8Array ? request.body : new Uint8Array();
    const parsed = parseCreate(body, isLegacy(request.url));
    if (!parsed.ok) return sendFault(reply, badRequest(parsed.error));
    const { request: asked, echoId } = parsed.value;
    const caller = callerOf(request.id, request.headers);
    const no = await ask(request, asked, () => assisted.create(asked, caller));
    if (no !== null) return sendFault(reply, no);
    const snapshot = { id: echoId, volumeId: asked.volume };
    return reply.header('content-type', JSON_TYPE).send(JSON.stringify({ snapshot }));
  };

  const remove: Handler = async (request, reply) => {
    const query = parseQuery(request.url);
    const surplus = query.ok ? surplusOf(request, query.value) : null;
    if (surplus !== null) return sendFault(reply, badRequest(surplus));
    const { snapshot = '' } = request.params as { snapshot?: string };
    const parsed = query.ok ? parseDelete(snapshot, query.value) : query;
    if (!parsed.ok) return sendFault(reply, badRequest(parsed.error));
    const caller = callerOf(request.id, request.headers);
    const asked = parsed.value;
    const no = await ask(request, asked, () => assisted.delete(asked, caller));
    return no === null ? reply.code(204).send() : sendFault(reply, no);
  };

  const before = (action: Asked['action']) => [authenticate(options, action), checkVersion];
  for (const prefix of PREFIXES) {
    for (const project of PROJECTS) {
      const url = `${prefix}${project}/os-assisted-volume-snapshots`;
      const made = { handler: create, described: isLegacy(url) ? CREATE_V2 : CREATE };
      const removed = { handler: remove, described: DELETE };
      addResource(app, url, { POST: made }, before('create'));
      addResource(app, `${url}/:snapshot`, { DELETE: removed }, before('delete'));
    }
  }
}

/**
 * Asks the port and says what is in the way, if anything. Callers wait while a request is decided,
 * so their number has a limit; beyond it, and while we stop, they are sent away at once.
 */
function queue(options: AssistedOptions, closing: () => boolean) {
  let waiting = 0;
  return async (
    request: FastifyRequest,
    { snapshot: id }: { readonly snapshot: SnapshotId },
    ask: () => Promise<Answer>,
  ): Promise<NovaFault | null> => {
    const context = contextOf(request);
    if (closing()) return unavailable('This service is stopping: nothing was changed.');
    if (waiting >= options.maxQueued) {
      return unavailable('Too many requests are waiting: nothing was changed, try again.');
    }
    waiting += 1;
    try {
      const answer = await ask();
      const away = answer.ok ? null : elsewhere(answer.error, request.url, options.hosts);
      if (away !== null) {
        options.telemetry.log('info', away.message, context);
        return away;
      }
      const fault = answer.ok ? null : faultOf(answer.error);
      // Cinder logs the sentence on its own host; here is where somebody has to act on it.
      if (fault !== null) options.telemetry.log('warning', `refused: ${fault.message}`, context);
      if (answer.ok && answer.value.operation === null) {
        options.telemetry.log('info', `Cinder knows no snapshot ${id}: nothing was done`, context);
      }
      return fault;
    } catch (error) {
      (options.defect ?? die)(error);
      throw error;
    } finally {
      waiting -= 1;
    }
  };
}

/**
 * A guest that Cinder knows on another host whose chainkeeper we know too. Clients of keystoneauth
 * follow a 307 with the same method, body and credentials, up to 30 times (session.py).
 */
function elsewhere(
  trouble: Trouble,
  url: string,
  hosts: AssistedOptions['hosts'] = {},
): NovaFault | null {
  if (trouble.kind !== 'refused' || trouble.refusal.kind !== 'guest-not-found') return null;
  const { host = '' } = trouble.refusal;
  if (!Object.hasOwn(hosts, host)) return null;
  const message = `Sent on to ${host}, where Cinder has the guest.`;
  return { status: 307, message, location: `${hosts[host]}${url}` };
}

/** Thrown where nobody catches it: we contradict ourselves, and the journal resumes our work. */
function die(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

function authenticate({ auth, telemetry }: AssistedOptions, action: Asked['action']) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
    const { project = null } = request.params as { project?: string };
    const verdict = await auth.authenticate(request.headers, { action, project });
    if (verdict.ok) return letIn(request, verdict);
    const { wwwAuthenticate, status, message, why = message } = verdict;
    const level = status === 503 ? 'warning' : 'info';
    telemetry.log(level, `Not let in (${status}): ${why}`, contextOf(request));
    if (wwwAuthenticate !== undefined) reply.header('www-authenticate', wwwAuthenticate);
    return sendFault(reply, verdict);
  };
}

async function checkVersion(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const version: Result<number, NovaFault> = microversion(request.headers);
  if (version.ok || isLegacy(request.url)) return;
  return sendFault(reply, version.error);
}

/** The microversion whose query schema allows no other parameters (schema :56-69). */
const STRICT_QUERY = 75;

/** Nova strips unknown parameters below 2.75 and under /v2, and refuses them from 2.75 on. */
function surplusOf(request: FastifyRequest, query: Query): string | null {
  const version = microversion(request.headers);
  const strict = version.ok && version.value >= STRICT_QUERY && !isLegacy(request.url);
  return strict ? unknownParameter(query) : null;
}

const unavailable = (message: string): NovaFault => ({ status: 503, message });
