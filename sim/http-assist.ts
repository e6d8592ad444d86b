import type { FileName, SnapshotId, VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Answer, AssistedSnapshots } from '#ports/assisted-snapshots.ts';

interface Asked {
  readonly volume: VolumeId;
  readonly snapshot: SnapshotId;
}

/** The assisted API as novaclient calls it over HTTP, with the bodies that Cinder sends. */
export class HttpAssist implements AssistedSnapshots {
  readonly #endpoint: string;

  /** `endpoint` as in cinder.conf: `http://127.0.0.1:8797/v2.1`. */
  constructor(endpoint: string) {
    this.#endpoint = `${endpoint}/os-assisted-volume-snapshots`;
  }

  async create({ volume, snapshot, newFile }: Asked & { newFile: FileName }): Promise<Answer> {
    const create_info = { snapshot_id: snapshot, type: 'qcow2', new_file: newFile };
    const body = JSON.stringify({ snapshot: { volume_id: volume, create_info } });
    return this.#ask('', { method: 'POST', body });
  }

  async delete({
    volume,
    snapshot,
    fileToMerge,
    mergeTarget,
  }: Asked & { fileToMerge: FileName | null; mergeTarget: FileName | null }): Promise<Answer> {
    const info = {
      volume_id: volume,
      type: 'qcow2',
      file_to_merge: fileToMerge,
      merge_target_file: mergeTarget,
    };
    const query = encodeURIComponent(JSON.stringify(info));
    return this.#ask(`/${snapshot}?delete_info=${query}`, { method: 'DELETE' });
  }

  async #ask(path: string, init: { method: string; body?: string }): Promise<Answer> {
    const headers = {
      Accept: 'application/json',
      'User-Agent': 'python-novaclient',
      'X-Auth-Token': 'notused',
      'X-OpenStack-Nova-API-Version': '2.1',
      ...(init.body !== undefined && { 'Content-Type': 'application/json' }),
    };
    const answer = await reach(`${this.#endpoint}${path}`, { ...init, headers });
    if (answer.ok) return ok({ operation: null });
    const problem = answer.error;
    return err({ kind: 'refused', refusal: { kind: 'bad-request', problem } });
  }
}

async function reach(url: string, init: RequestInit): Promise<Result<null, string>> {
  try {
    const answer = await fetch(url, init);
    const text = await answer.text();
    return answer.ok ? ok(null) : err(`HTTP ${answer.status}: ${text}`);
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}
