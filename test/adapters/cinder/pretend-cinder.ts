/**
 * The part of Cinder's API that we call, over loopback. What it does is what Cinder's sources do:
 * the schema before the snapshot (cinder/api/schemas/snapshot_actions.py), then the status map
 * (cinder/api/contrib/snapshot_actions.py:35-88). `knows` adds the spec's half that it learned.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Row {
  volume: string;
  status: string;
  progress: string | null;
}

export interface Heard {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
}

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** Any server on a port of its own. */
export class Loopback implements AsyncDisposable {
  readonly heard: Heard[] = [];
  /** Whether to close the connection instead of an answer. */
  hangUp: () => boolean = () => false;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async open(handle: Handler): Promise<Loopback> {
    const server = createServer();
    const loopback = new Loopback(server);
    server.on('request', async (request: IncomingMessage, response) => {
      let body = '';
      for await (const piece of request) body += piece;
      const { method = '', url = '', headers } = request;
      loopback.heard.push({ method, url, headers, body: body === '' ? null : JSON.parse(body) });
      if (loopback.hangUp()) request.socket.resetAndDestroy();
      else handle(request, response, body);
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return loopback;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The bodies of the updates that came in. */
  get updates(): unknown[] {
    return this.heard
      .filter((it) => it.method === 'POST')
      .map((it) => (it.body as Record<string, unknown>)['os-update_snapshot_status']);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

export interface Knows {
  readonly format: boolean;
  readonly status: boolean;
}

export const STOCK: Knows = { format: false, status: false };

export function pretendCinder(snapshots: Record<string, Row>, knows: Knows): Promise<Loopback> {
  return Loopback.open(({ method, url = '' }, response, body) => {
    const id = /^\/v3\/p\/snapshots\/([^/]+)(\/action)?$/.exec(url)?.[1] ?? '';
    const row = snapshots[id];
    if (method === 'POST') {
      const update = JSON.parse(body)['os-update_snapshot_status'];
      const wrong = malformed(update, knows);
      if (wrong) return fault(response, 400, 'badRequest', wrong);
      if (!row) return fault(response, 404, 'itemNotFound', `Snapshot ${id} could not be found.`);
      if (!moves(knows)[row.status]?.includes(update.status)) {
        return fault(response, 400, 'badRequest', `${update.status} not allowed`);
      }
      row.status = update.status;
      if (update.progress) row.progress = update.progress;
      response.writeHead(202, { 'Content-Type': 'text/html; charset=UTF-8' }).end();
      return;
    }
    if (!row) return fault(response, 404, 'itemNotFound', `Snapshot ${id} could not be found.`);
    const { volume, status, progress } = row;
    const extended = { 'os-extended-snapshot-attributes:progress': progress };
    json(response, 200, { snapshot: { id, volume_id: volume, status, name: null, ...extended } });
  });
}

export function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
}

export function fault(r: ServerResponse, code: number, name: string, message: string): void {
  json(r, code, { [name]: { code, message } });
}

const moves = (knows: Knows): Record<string, readonly string[]> => ({
  creating: [
    'creating',
    'available',
    'error',
    ...(knows.status ? ['creating_compute_complete'] : []),
  ],
  deleting: ['deleting', 'error_deleting', ...(knows.status ? ['deleting_compute_complete'] : [])],
});

/** additionalProperties false, and cinder/api/validation/validators.py:182-194. */
function malformed(update: Record<string, unknown>, knows: Knows): string | null {
  const words = ['status', 'progress', ...(knows.format ? ['file_format'] : [])];
  const extra = Object.keys(update).filter((key) => !words.includes(key));
  if (extra.length > 0) return `Additional properties are not allowed (${extra})`;
  if (typeof update.status !== 'string') return "'status' is a required property";
  const { progress } = update;
  if (progress && !/^(100|\d{1,2})%$/.test(String(progress))) {
    return 'progress must be an integer percentage';
  }
  return null;
}
