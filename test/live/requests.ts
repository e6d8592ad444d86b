/** What Cinder's NFS driver sends to Nova (cinder/compute/nova.py), by hand. */
import type { Place } from './service.ts';

export interface Answered {
  readonly status: number;
  /** The sentence of a refusal, or an empty string. */
  readonly says: string;
}

export interface DeleteInfo {
  readonly file_to_merge: string | null;
  readonly merge_target_file: string | null;
}

const PATH = '/os-assisted-volume-snapshots';

export function askCreate(at: Place, volume: string, snapshot: string, newFile: string) {
  const info = { snapshot_id: snapshot, type: 'qcow2', new_file: newFile };
  const body = JSON.stringify({ snapshot: { volume_id: volume, create_info: info } });
  const headers = { 'Content-Type': 'application/json' };
  return ask(at, PATH, { method: 'POST', headers, body });
}

export function askDelete(at: Place, volume: string, snapshot: string, info: DeleteInfo) {
  const query = JSON.stringify({ volume_id: volume, type: 'qcow2', ...info });
  const path = `${PATH}/${snapshot}?delete_info=${encodeURIComponent(query)}`;
  return ask(at, path, { method: 'DELETE' });
}

async function ask(at: Place, path: string, request: RequestInit): Promise<Answered> {
  const answer = await fetch(at.url + path, request);
  const text = await answer.text();
  const { badRequest } = text === '' ? {} : JSON.parse(text);
  return { status: answer.status, says: badRequest?.message ?? '' };
}
