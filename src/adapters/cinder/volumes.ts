import type { ListedSnapshot } from '#domain/diagnosis.ts';
import type { Fault } from '#domain/failure.ts';
import type { FileName, SnapshotId, VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { SnapshotView } from '#domain/sight.ts';
import { DIALECTS, type Dialect, isPlain, speak, statusFor, type Update } from '#domain/status.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import type { Attachment, Volumes } from '#ports/volumes.ts';
import { isMissing, refused } from './answer.ts';
import type { Rest } from './rest.ts';
import {
  ATTACHMENTS_VERSION,
  encodeUpdate,
  parseActiveFile,
  parseAttachments,
  parseSnapshot,
  parseSnapshots,
} from './wire.ts';

export interface CinderVolumesOptions {
  readonly rest: Rest;
  /** `auto`: the most telling that this Cinder accepts. */
  readonly dialect: 'auto' | Dialect;
  readonly telemetry: Telemetry;
}

/** One Cinder. What it has shown to understand is remembered until a restart, and no longer. */
export class CinderVolumes implements Volumes {
  readonly #rest: Rest;
  readonly #telemetry: Telemetry;
  readonly #fixed: boolean;
  #dialect: Dialect;

  constructor({ rest, dialect, telemetry }: CinderVolumesOptions) {
    this.#rest = rest;
    this.#telemetry = telemetry;
    this.#fixed = dialect !== 'auto';
    this.#dialect = dialect === 'auto' ? 'spec' : dialect;
  }

  snapshot(id: SnapshotId): Promise<Result<SnapshotView | null, Fault>> {
    return this.#look(['snapshots', id], parseSnapshot);
  }

  /** Of all tenants: an admin's view, as all of ours (cinder/api/v3/snapshots.py). */
  async snapshots(volume: VolumeId): Promise<Result<readonly ListedSnapshot[], Fault>> {
    const query = { all_tenants: '1', volume_id: volume };
    const answer = await this.#rest.get(['snapshots', 'detail'], {}, query);
    if (!answer.ok) return answer;
    if (answer.value.status !== 200) return err(refused(answer.value));
    return parseSnapshots(answer.value.body, volume);
  }

  attachments(volume: VolumeId): Promise<Result<readonly Attachment[] | null, Fault>> {
    return this.#look(['volumes', volume], parseAttachments);
  }

  activeFile(attachment: string): Promise<Result<FileName | null, Fault>> {
    return this.#look(['attachments', attachment], parseActiveFile, ATTACHMENTS_VERSION);
  }

  update(id: SnapshotId, update: Update): Promise<Result<'accepted' | 'obsolete', Fault>> {
    const plainer = DIALECTS.slice(DIALECTS.indexOf(this.#dialect) + 1);
    return this.#tell(id, update, this.#dialect, this.#fixed || isPlain(update) ? [] : plainer);
  }

  /**
   * A 400 has two meanings: Cinder does not know the words (its schema forbids additional
   * properties), or the snapshot may not make this move (cinder/api/contrib/snapshot_actions.py).
   * Only the snapshot itself tells which; the answer's text is translated and no contract.
   */
  async #tell(
    id: SnapshotId,
    update: Update,
    dialect: Dialect,
    plainer: readonly Dialect[],
  ): Promise<Result<'accepted' | 'obsolete', Fault>> {
    const answer = await this.#rest.post(
      ['snapshots', id, 'action'],
      encodeUpdate(update, dialect),
    );
    if (!answer.ok) return answer;
    const { status } = answer.value;
    if (status === 202 || status === 200) {
      this.#learn(update, dialect);
      const words = JSON.stringify(speak(update, dialect));
      this.#telemetry.log('info', `Cinder accepted for snapshot ${id}: ${words}`);
      return ok('accepted');
    }
    if (isMissing(answer.value)) return ok('obsolete');
    if (status !== 400) return err(refused(answer.value));
    const seen = await this.snapshot(id);
    if (!seen.ok) return seen;
    if (seen.value?.status !== statusFor(update)) return ok(afterwards(update, seen.value));
    const [next, ...rest] = plainer;
    return next ? this.#tell(id, update, next, rest) : err(refused(answer.value));
  }

  /** What sounds the same in every dialect teaches nothing, also when it overtakes a lesson. */
  #learn(update: Update, dialect: Dialect): void {
    if (isPlain(update) || dialect === this.#dialect) return;
    this.#dialect = dialect;
    this.#telemetry.log('info', `Cinder takes snapshot updates in the dialect '${dialect}'`);
  }

  async #look<T>(
    path: readonly string[],
    parse: (body: unknown) => Result<T, Fault>,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Result<T | null, Fault>> {
    const answer = await this.#rest.get(path, headers);
    if (!answer.ok) return answer;
    if (isMissing(answer.value)) return ok(null);
    return answer.value.status === 200 ? parse(answer.value.body) : err(refused(answer.value));
  }
}

/** A Cinder that knows the spec has left the status because it was told already. */
function afterwards(update: Update, seen: SnapshotView | null): 'accepted' | 'obsolete' {
  const told = !isPlain(update) && seen?.status === speak(update, 'spec').status;
  return told ? 'accepted' : 'obsolete';
}
