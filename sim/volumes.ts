import type { FileFormat } from '#domain/chain.ts';
import type { ListedSnapshot } from '#domain/diagnosis.ts';
import type { Fault } from '#domain/failure.ts';
import type { FileName, SnapshotId, VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { SnapshotView } from '#domain/sight.ts';
import type { Dialect, Update } from '#domain/status.ts';
import type { Attachment, Volumes } from '#ports/volumes.ts';
import type { SimCinder } from './cinder.ts';
import { HOST } from './cinder-rows.ts';

const DIALECTS: readonly Dialect[] = ['spec', 'format', 'status', 'stock'];

/** A client of the simulated Cinder, without a network in between. */
export class SimVolumes implements Volumes {
  readonly #cinder: SimCinder;
  #dialect: Dialect = 'spec';
  /** Nobody answers: nothing reaches Cinder. */
  away = false;

  constructor(cinder: SimCinder) {
    this.#cinder = cinder;
  }

  get dialect(): Dialect {
    return this.#dialect;
  }

  async snapshot(id: SnapshotId): Promise<Result<SnapshotView | null, Fault>> {
    if (this.away) return AWAY;
    const row = this.#cinder.snapshots.get(id);
    return ok(row ? { volume: row.volume, status: row.status, progress: row.progress } : null);
  }

  async snapshots(volume: VolumeId): Promise<Result<readonly ListedSnapshot[], Fault>> {
    if (this.away) return AWAY;
    const rows = [...this.#cinder.snapshots.values()].filter((row) => row.volume === volume);
    return ok(rows.map(({ id, status, progress }) => ({ id, volume, status, progress })));
  }

  async attachments(volume: VolumeId): Promise<Result<readonly Attachment[] | null, Fault>> {
    if (this.away) return AWAY;
    if (!this.#cinder.volumes.has(volume)) return ok(null);
    return ok(
      this.#cinder.attachmentsOf(volume).map(({ id, server }) => ({ id, server, host: HOST })),
    );
  }

  async activeFile(attachment: string): Promise<Result<FileName | null, Fault>> {
    if (this.away) return AWAY;
    return ok(this.#cinder.attachments.get(attachment)?.name ?? null);
  }

  async update(
    snapshot: SnapshotId,
    update: Update,
  ): Promise<Result<'accepted' | 'obsolete', Fault>> {
    if (this.away) return AWAY;
    const about = ABOUT[update.kind];
    const plain = !('formats' in update);
    const tries = plain ? DIALECTS.slice(-1) : DIALECTS.slice(DIALECTS.indexOf(this.#dialect));
    let detail = '';
    for (const dialect of tries) {
      const answer = this.#cinder.update(snapshot, { [ACTION]: bodyOf(update, dialect) });
      if (answer.status === 202) {
        if (!plain) this.#dialect = dialect;
        return ok('accepted');
      }
      const { status } = this.#cinder.snapshots.get(snapshot) ?? {};
      if (!plain && status === SPEC_STATUS[about]) return ok('accepted');
      if (status !== about) return ok('obsolete');
      detail = answer.message;
    }
    return err({ kind: 'rejected', who: 'Cinder', code: 400, detail });
  }
}

const ACTION = 'os-update_snapshot_status';

const ABOUT = {
  created: 'creating',
  'create-failed': 'creating',
  deleted: 'deleting',
  deleting: 'deleting',
  'delete-failed': 'deleting',
} as const;

const SPEC_STATUS = {
  creating: 'creating_compute_complete',
  deleting: 'deleting_compute_complete',
} as const;

function bodyOf(update: Update, dialect: Dialect): object {
  switch (update.kind) {
    case 'created':
    case 'deleted': {
      const about = ABOUT[update.kind];
      const telling = dialect === 'spec' || dialect === 'status';
      const status = telling ? SPEC_STATUS[about] : about;
      const formats = dialect === 'spec' || dialect === 'format';
      const body = { status, progress: '90%' };
      return formats ? { ...body, file_format: named(update.formats) } : body;
    }
    case 'deleting':
      return { status: 'deleting', progress: `${update.percent}%` };
    case 'create-failed':
      return { status: 'error', progress: '0%' };
    case 'delete-failed':
      return { status: 'error_deleting', progress: '0%' };
  }
}

const named = (formats: readonly FileFormat[]) =>
  Object.fromEntries(formats.map(({ file, format }) => [file, format]));

const AWAY: Result<never, Fault> = err({
  kind: 'unreachable',
  who: 'Cinder',
  detail: 'connection refused',
});
