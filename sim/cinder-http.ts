import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SnapshotId, VolumeId } from '#domain/ids.ts';
import type { SimCinder } from './cinder.ts';
import { type AttachmentRow, HOST, type SnapshotRow, type VolumeRow } from './cinder-rows.ts';

/** A request as it came, and the status it was answered with. */
export interface Request {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
  readonly status: number;
}

export interface CinderHttpOptions {
  /** When given, any other X-Auth-Token is answered 401. */
  readonly token?: string;
  readonly port?: number;
}

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

/** The simulated Cinder behind its REST API, on a loopback port; bodies as the real one's. */
export class CinderHttp implements AsyncDisposable {
  readonly requests: Request[] = [];
  readonly #cinder: SimCinder;
  readonly #token: string | null;
  readonly #server: Server;
  /** When it answers something, that goes out instead: for a Cinder that misbehaves. */
  instead: (request: Omit<Request, 'status'>) => Reply | null = () => null;

  private constructor(cinder: SimCinder, token: string | null) {
    this.#cinder = cinder;
    this.#token = token;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async open(cinder: SimCinder, options: CinderHttpOptions = {}): Promise<CinderHttp> {
    const http = new CinderHttp(cinder, options.token ?? null);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    http.#server.once('error', reject);
    http.#server.listen(options.port ?? 0, '127.0.0.1', resolve);
    await promise;
    return http;
  }

  /** What an operator would configure as the endpoint, without the project id. */
  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v3`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { method = 'GET', url = '/', headers } = incoming;
    const [path = url, words = ''] = url.split('?', 2);
    const request = { method, path, headers, body: parsed(Buffer.concat(chunks).toString()) };
    const reply = this.instead(request) ?? this.#reply(request, new URLSearchParams(words));
    this.requests.push({ ...request, status: reply.status });
    const text = reply.body === null ? '' : JSON.stringify(reply.body);
    // An empty 202 is text/html: webob's default.
    const type = reply.body === null ? 'text/html; charset=UTF-8' : 'application/json';
    response.writeHead(reply.status, {
      'Content-Type': type,
      'Content-Length': Buffer.byteLength(text),
      'OpenStack-API-Version': String(headers['openstack-api-version'] ?? 'volume 3.0'),
      'x-openstack-request-id': 'req-00000000-0000-4000-8000-000000000000',
    });
    response.end(text);
  }

  /** cinder/api/v3/snapshots.py: without the filter it is all of them. */
  #list(volume: string | null): Reply {
    const rows = [...this.#cinder.snapshots.values()];
    const wanted = rows.filter((row) => volume === null || row.volume === volume);
    return { status: 200, body: { snapshots: wanted.map((row) => snapshotOf(row).snapshot) } };
  }

  #reply({ method, path, headers, body }: Omit<Request, 'status'>, query: URLSearchParams): Reply {
    if (this.#token !== null && headers['x-auth-token'] !== this.#token) return UNAUTHORIZED;
    const match = /^\/v3(?:\/[0-9a-zA-Z-]+)?\/(snapshots|volumes|attachments)\/([^/]+)(\/action)?$/;
    const [, kind, id = '', action] = match.exec(decodeURIComponent(path)) ?? [];
    if (action !== undefined) {
      if (method !== 'POST' || kind !== 'snapshots') return notFound('The resource');
      const { status, message } = this.#cinder.update(id as SnapshotId, body);
      if (status === 202) return { status, body: null };
      return fault(status, status === 404 ? 'itemNotFound' : 'badRequest', message);
    }
    if (method !== 'GET') return notFound('The resource');
    if (kind === 'snapshots' && id === 'detail') return this.#list(query.get('volume_id'));
    switch (kind) {
      case 'snapshots':
        return shown(this.#cinder.snapshots.get(id as SnapshotId), `Snapshot ${id}`, snapshotOf);
      case 'volumes':
        return shown(this.#cinder.volumes.get(id as VolumeId), `Volume ${id}`, (row) =>
          volumeOf(row, this.#cinder.attachmentsOf(row.id)),
        );
      case 'attachments':
        if (minor(headers) < 27) return notFound('The resource');
        return shown(this.#cinder.attachments.get(id), `Attachment ${id}`, (row) =>
          attachmentOf(row, this.#cinder.volumes.get(row.volume)?.format ?? 'raw'),
        );
      default:
        return notFound('The resource');
    }
  }
}

/** cinder/api/views/snapshots.py and contrib/extended_snapshot_attributes.py. */
const snapshotOf = (row: SnapshotRow) => ({
  snapshot: {
    id: row.id,
    created_at: '2026-01-01T00:00:00.000000',
    updated_at: null,
    name: null,
    description: null,
    volume_id: row.volume,
    status: row.status,
    size: 1,
    metadata: {},
    'os-extended-snapshot-attributes:progress': row.progress,
    'os-extended-snapshot-attributes:project_id': 'project',
  },
});

/** cinder/api/v2/views/volumes.py. */
const volumeOf = (row: VolumeRow, attachments: readonly AttachmentRow[]) => ({
  volume: {
    id: row.id,
    status: attachments.length > 0 ? 'in-use' : 'available',
    size: 1,
    encrypted: false,
    attachments: attachments.map((one) => ({
      id: row.id,
      attachment_id: one.id,
      volume_id: row.id,
      server_id: one.server,
      host_name: HOST,
      device: '/dev/vdb',
      attached_at: '2026-01-01T00:00:00.000000',
    })),
  },
});

/** cinder/api/v3/views/attachments.py. */
const attachmentOf = (row: AttachmentRow, format: string) => ({
  attachment: {
    id: row.id,
    status: row.status,
    instance: row.server,
    volume_id: row.volume,
    attached_at: '2026-01-01T00:00:00.000000',
    detached_at: '',
    attach_mode: 'rw',
    connection_info: {
      export: 'nfs:/share',
      name: row.name,
      format,
      driver_volume_type: 'nfs',
      volume_id: row.volume,
      attachment_id: row.id,
    },
  },
});

function shown<T>(row: T | undefined, what: string, view: (row: T) => unknown): Reply {
  return row === undefined ? notFound(what) : { status: 200, body: view(row) };
}

function minor(headers: IncomingMessage['headers']): number {
  const version = headers['openstack-api-version'];
  return Number(/^volume 3\.(\d+)$/.exec(String(version))?.[1] ?? 0);
}

const fault = (status: number, kind: string, message: string): Reply => ({
  status,
  body: { [kind]: { code: status, message } },
});

const notFound = (what: string): Reply => fault(404, 'itemNotFound', `${what} could not be found.`);

const UNAUTHORIZED: Reply = {
  status: 401,
  body: { error: { code: 401, title: 'Unauthorized', message: 'Authentication is required.' } },
};

function parsed(text: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text);
  } catch {
    return text;
  }
}
