/** Cinder's REST API as the lab needs it: what a user and what Nova would do. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PROJECT } from './cinder-conf.ts';
import { waitFor } from './processes.ts';

export interface Attached {
  readonly attachmentId: string;
  /** The file that the guest must open, on this machine. */
  readonly path: string;
  readonly name: string;
  readonly format: string;
  readonly mountPoint: string;
}

export interface Snapshot {
  readonly id: string;
  readonly status: string;
  readonly progress: string | null;
  readonly volumeId: string;
}

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: foreign JSON, read by tests only
  readonly body: any;
}

/** With noauth the token is `user:project`, and everybody is admin (cinder auth.py). */
export const TOKEN = `admin:${PROJECT}`;

export class CinderClient {
  /** Without version and project. */
  readonly endpoint: string;
  readonly #mountPoint: string;

  constructor(endpoint: string, mountPoint: string) {
    this.endpoint = endpoint;
    this.#mountPoint = mountPoint;
  }

  /** What a client is configured with. */
  get projectEndpoint(): string {
    return `${this.endpoint}/v3/${PROJECT}`;
  }

  /** Any request; throws on 4xx and 5xx unless told not to. */
  async request(
    method: string,
    path: string,
    body?: unknown,
    { version = '3.65', allowErrors = false } = {},
  ): Promise<Answer> {
    const answer = await fetch(`${this.projectEndpoint}${path}`, {
      method,
      headers: {
        'Content-Type': 'application/json',
        'OpenStack-API-Version': `volume ${version}`,
        'X-Auth-Token': TOKEN,
        // Detaching is Nova's business: others get a 409 (LP 2004555, api.py:2543-2616).
        'X-Service-Roles': 'service',
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok && !allowErrors) {
      throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    }
    return { status: answer.status, body: text === '' ? null : JSON.parse(text) };
  }

  async makeVolumeType(name: string, backend: string): Promise<void> {
    const type = { name, extra_specs: { volume_backend_name: backend } };
    await this.request('POST', '/types', { volume_type: type });
  }

  /**
   * When a service last reported itself. By version 3.0: from 3.49 on the API asks the
   * scheduler too, and hangs for 60 s when that does not listen yet (api/contrib/services.py).
   */
  async serviceReports(binary: string): Promise<string[]> {
    const path = `/os-services?binary=${binary}`;
    const { body } = await this.request('GET', path, undefined, { version: '3.0' });
    const services: { updated_at: string | null }[] = body.services;
    return services.flatMap((service) => service.updated_at ?? []);
  }

  /**
   * Returns its id once it is available. Right after a start the scheduler may not have heard of
   * any backend yet, and then makes the volume an error at once; so it is asked again.
   */
  async createVolume(sizeGiB = 1): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      const { body } = await this.request('POST', '/volumes', { volume: { size: sizeGiB } });
      const { id } = body.volume;
      const seen = await waitFor(
        `volume ${id} to be made`,
        async () => {
          const { status } = await this.getVolume(id);
          if (status === 'available' || status === 'error') return status;
          throw new Error(`it is ${status}`);
        },
        { timeoutMs: 60_000, everyMs: 200 },
      );
      if (seen === 'available') return id;
      if (attempt === 5) throw new Error(`volume ${id} became an error ${attempt} times`);
      await this.deleteVolume(id);
      await sleep(2000);
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: foreign JSON, read by tests only
  async getVolume(id: string): Promise<any> {
    return (await this.request('GET', `/volumes/${id}`)).body.volume;
  }

  async waitVolume(id: string, status: string, timeoutMs = 60_000): Promise<void> {
    await waitFor(
      `volume ${id} to become ${status}`,
      async () => {
        const seen = (await this.getVolume(id)).status;
        if (seen === status) return true;
        throw new Error(`it is ${seen}`);
      },
      { timeoutMs, everyMs: 200 },
    );
  }

  /** As Nova does it: an attachment with a connector, opened, then completed. */
  async attach(volumeId: string, serverUuid: string): Promise<Attached> {
    const connector = {
      host: 'lab',
      ip: '127.0.0.1',
      initiator: 'iqn.1993-08.org.debian:01:lab',
      platform: 'x86_64',
      os_type: 'linux',
      multipath: false,
      mountpoint: '/dev/vda',
      mode: 'rw',
    };
    const { body } = await this.request('POST', '/attachments', {
      attachment: { volume_uuid: volumeId, instance_uuid: serverUuid, connector },
    });
    const { id, connection_info: info } = body.attachment;
    await this.request('POST', `/attachments/${id}/action`, { 'os-complete': {} });
    await this.waitVolume(volumeId, 'in-use');
    const path = join(this.#mountPoint, info.name);
    const { name, format } = info;
    return { attachmentId: id, path, name, format, mountPoint: this.#mountPoint };
  }

  /** What Cinder would tell Nova now: the name and format of the file to open. */
  async connectionInfo(attachmentId: string): Promise<{ name: string; format: string }> {
    const { body } = await this.request('GET', `/attachments/${attachmentId}`);
    return body.attachment.connection_info;
  }

  async detach(attachmentId: string): Promise<void> {
    await this.request('DELETE', `/attachments/${attachmentId}`);
  }

  /** Accepted, not finished: Cinder now prepares the overlay and calls what it thinks is Nova. */
  async createSnapshot(volumeId: string, name?: string): Promise<string> {
    const snapshot = { volume_id: volumeId, force: true, ...(name === undefined ? {} : { name }) };
    return (await this.request('POST', '/snapshots', { snapshot })).body.snapshot.id;
  }

  async deleteSnapshot(id: string): Promise<void> {
    await this.request('DELETE', `/snapshots/${id}`);
  }

  /** null when it is gone. */
  async getSnapshot(id: string): Promise<Snapshot | null> {
    const options = { allowErrors: true };
    const { status, body } = await this.request('GET', `/snapshots/${id}`, undefined, options);
    if (status === 404) return null;
    if (status !== 200) throw new Error(`GET /snapshots/${id}: ${status}`);
    const { snapshot } = body;
    const progress = snapshot['os-extended-snapshot-attributes:progress'] ?? null;
    return { id, status: snapshot.status, progress, volumeId: snapshot.volume_id };
  }

  /**
   * `gone`, or a status. Cinder looks at what we told it once a second for the first 10 s,
   * then ever less often (remotefs.py:1915-1959). Any error status ends the waiting.
   */
  async waitSnapshot(id: string, status: string, timeoutMs = 120_000): Promise<void> {
    const wanted = (seen: string) => seen === status;
    const seen = await waitFor(
      `snapshot ${id} to become ${status}`,
      async () => {
        const now = (await this.getSnapshot(id))?.status ?? 'gone';
        if (wanted(now) || now.startsWith('error') || now === 'gone') return now;
        throw new Error(`it is ${now}`);
      },
      { timeoutMs, everyMs: 200 },
    );
    if (!wanted(seen)) throw new Error(`snapshot ${id} became ${seen}, not ${status}`);
  }

  /** Cinder's own way out for an operator (os-reset_status). */
  async resetSnapshotStatus(id: string, status: string): Promise<void> {
    const action = { 'os-reset_status': { status } };
    await this.request('POST', `/snapshots/${id}/action`, action);
  }

  /** What Nova sends when it is done; tests of Cinder itself play Nova with it. */
  async updateSnapshotStatus(id: string, body: Record<string, unknown>): Promise<Answer> {
    const action = { 'os-update_snapshot_status': body };
    return this.request('POST', `/snapshots/${id}/action`, action, { allowErrors: true });
  }

  /** Returns when it is gone. */
  async deleteVolume(id: string): Promise<void> {
    await this.request('DELETE', `/volumes/${id}`);
    const gone = async () => {
      const options = { allowErrors: true };
      return (await this.request('GET', `/volumes/${id}`, undefined, options)).status === 404;
    };
    await waitFor(`volume ${id} to go`, gone, { everyMs: 200 });
  }
}
