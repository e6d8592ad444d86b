import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SnapshotId, VolumeId } from '#domain/ids.ts';
import { type Attached, Snapshots } from './cinder.ts';

type Reply = readonly [status: number, body: unknown];

/**
 * Cinder's REST API as far as Nova's driver and ours use it. A stock one: it takes
 * `90%` and no format. Each answer takes `delayMs`, as a real Cinder's takes some 10 ms.
 */
export class HttpCinder implements AsyncDisposable {
  readonly snapshots = new Snapshots();
  delayMs = 0;
  /** How long it has kept its callers waiting, in all. */
  spentMs = 0;
  readonly #server: Server;

  static async open(): Promise<HttpCinder> {
    const cinder = new HttpCinder();
    await new Promise<void>((resolve) => cinder.#server.listen(0, '127.0.0.1', resolve));
    return cinder;
  }

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  /** Without version and project. */
  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const began = performance.now();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (this.delayMs > 0) await sleep(this.delayMs);
    const text = Buffer.concat(chunks).toString();
    const parts = new URL(request.url ?? '/', this.endpoint).pathname.split('/').slice(3);
    const [status, body] = this.#answer(parts, text === '' ? null : JSON.parse(text));
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(body === null ? '' : JSON.stringify(body));
    this.spentMs += performance.now() - began;
  }

  #answer([kind, id = '', action]: readonly string[], body: unknown): Reply {
    const volume = this.snapshots.volume(id as VolumeId);
    switch (kind) {
      case 'snapshots':
        return action === 'action' ? this.#update(id as SnapshotId, body) : this.#snapshot(id);
      case 'volumes':
        return volume ? [200, { volume: volumeOf(volume) }] : missing(`Volume ${id}`);
      case 'attachments':
        return volume ? [200, { attachment: attachmentOf(volume) }] : missing(`Attachment ${id}`);
      default:
        return missing('The resource');
    }
  }

  #snapshot(id: string): Reply {
    const it = this.snapshots.find(id as SnapshotId);
    if (it === undefined) return missing(`Snapshot ${id}`);
    const { status, progress } = it;
    const extra = { 'os-extended-snapshot-attributes:progress': progress };
    return [200, { snapshot: { id, volume_id: it.volume.id, status, ...extra } }];
  }

  #update(id: SnapshotId, body: unknown): Reply {
    const it = this.snapshots.find(id);
    if (it === undefined) return missing(`Snapshot ${id}`);
    const words = (body as Record<string, Record<string, string>>)['os-update_snapshot_status'];
    const { status = '', progress = '', ...others } = words ?? {};
    if (Object.keys(others).length > 0 || status.endsWith('complete')) {
      return [400, { badRequest: { code: 400, message: 'Additional properties' } }];
    }
    it.progress = progress;
    if (progress === '90%') {
      // What Cinder makes of it, a second later.
      if (status === 'creating') it.status = 'available';
      else this.snapshots.forget(id);
      it.told(performance.now());
    } else if (status.startsWith('error')) {
      it.status = status;
      it.failed(new Error(`${id} became ${status}`));
    }
    return [202, null];
  }
}

const missing = (what: string): Reply => [
  404,
  { itemNotFound: { code: 404, message: `${what} could not be found.` } },
];

/** An attachment has the number of its volume here. */
const volumeOf = ({ id, server }: Attached) => ({
  id,
  status: 'in-use',
  size: 2,
  attachments: [{ id, attachment_id: id, volume_id: id, server_id: server, device: '/dev/vda' }],
});

const attachmentOf = ({ id, server, active }: Attached) => ({
  id,
  status: 'attached',
  instance: server,
  volume_id: id,
  attached_at: '2026-01-01T00:00:00.000000',
  detached_at: '',
  attach_mode: 'rw',
  connection_info: {
    driver_volume_type: 'nfs',
    export: '127.0.0.1:/bench',
    name: active(),
    format: 'qcow2',
    volume_id: id,
    attachment_id: id,
  },
});
