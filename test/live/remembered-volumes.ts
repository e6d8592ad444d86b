/** A Cinder of a few lines, for live tests that are about libvirt and need no real one. */
import { randomUUID } from 'node:crypto';
import type { FileName, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { statusFor, type Update } from '#domain/status.ts';
import type { Volumes } from '#ports/volumes.ts';
import { waitFor } from './lab/processes.ts';

interface Told {
  readonly snapshot: SnapshotId;
  readonly update: Update;
}

/** What it is told it remembers; it believes what the test says and prepares no files. */
export class RememberedVolumes implements Volumes {
  readonly told: Told[] = [];
  /** Called with each update before it is answered. */
  onUpdate: (update: Update) => void = () => {};
  readonly #snapshots = new Map<SnapshotId, { volume: VolumeId; status: string }>();
  readonly #servers = new Map<VolumeId, ServerId>();
  readonly #active = new Map<VolumeId, FileName>();

  attach(volume: VolumeId, server: string): void {
    this.#servers.set(volume, server as ServerId);
  }

  /** From now on Cinder names this file as the one in use. */
  believe(volume: VolumeId, active: string): void {
    this.#active.set(volume, active as FileName);
  }

  /** A snapshot of its own, or an old one in another status; answers its id. */
  put(
    volume: VolumeId,
    status: 'creating' | 'deleting' | 'error',
    id: string = randomUUID(),
  ): SnapshotId {
    this.#snapshots.set(id as SnapshotId, { volume, status });
    return id as SnapshotId;
  }

  /** The last word on a snapshot, or null while there is none. */
  verdict(id: SnapshotId): Exclude<Update, { kind: 'deleting' }> | null {
    const { update } = this.told.findLast(({ snapshot }) => snapshot === id) ?? {};
    return update === undefined || update.kind === 'deleting' ? null : update;
  }

  hear(id: SnapshotId, timeoutMs = 60_000): Promise<Exclude<Update, { kind: 'deleting' }>> {
    const options = { timeoutMs, everyMs: 20 };
    return waitFor(`the last word on snapshot ${id}`, () => this.verdict(id), options);
  }

  snapshot: Volumes['snapshot'] = async (id) => {
    const { volume, status } = this.#snapshots.get(id) ?? {};
    if (volume === undefined || status === undefined) return ok(null);
    return ok({ volume, status, progress: '0%' });
  };

  snapshots: Volumes['snapshots'] = async (volume) => {
    const rows = [...this.#snapshots].filter(([, row]) => row.volume === volume);
    return ok(rows.map(([id, row]) => ({ id, ...row, progress: '0%' })));
  };

  attachments: Volumes['attachments'] = async (volume) => {
    const server = this.#servers.get(volume);
    return ok(server === undefined ? null : [{ id: volume, server }]);
  };

  activeFile: Volumes['activeFile'] = async (attachment) =>
    ok(this.#active.get(attachment as VolumeId) ?? null);

  update: Volumes['update'] = async (snapshot, update) => {
    this.onUpdate(update);
    this.told.push({ snapshot, update });
    const known = this.#snapshots.get(snapshot);
    if (known === undefined || known.status !== statusFor(update)) return ok('obsolete');
    if (update.kind !== 'deleting') known.status = update.kind;
    return ok('accepted');
  };
}
