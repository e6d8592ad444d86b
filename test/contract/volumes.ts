import { expect, test } from 'vitest';
import type { VolumeId } from '#domain/ids.ts';
import { type FileName, QCOW2, RAW, type ServerId, type SnapshotId } from '#domain/ids.ts';
import { type Dialect, type StatusBody, speak, type Update } from '#domain/status.ts';
import type { Volumes } from '#ports/volumes.ts';

/** A Cinder with one volume that one server has attached. */
export interface VolumesLab extends AsyncDisposable {
  readonly volumes: Volumes;
  readonly volume: VolumeId;
  readonly server: ServerId;
  readonly attachment: string;
  /** The file that the attachment's connection_info names. */
  readonly active: FileName;
  /** How much of the Nova spec this Cinder has. */
  readonly knows: Dialect;
  /** A snapshot of the volume, in this status. */
  snapshot(status: string, progress?: string): Promise<SnapshotId>;
  remove(snapshot: SnapshotId): Promise<void>;
  /** Takes the volume away from its server. */
  detach(): Promise<void>;
  /** Gives it to its server again. */
  attach(): Promise<{ readonly attachment: string; readonly active: FileName }>;
  /** cinder-volume is killed; what answers requests goes on. */
  killVolumeService(): Promise<void>;
  /** What Cinder has of a snapshot now, read past the port. */
  row(snapshot: SnapshotId): Promise<{ readonly status: string; readonly progress: string }>;
  /** The bodies that Cinder accepted, oldest first. */
  accepted(): Promise<readonly StatusBody[]>;
}

export function volumesContract(name: string, open: () => Promise<VolumesLab>): void {
  const law = (what: string, check: (lab: VolumesLab) => Promise<void>) =>
    test(`${name}: ${what}`, async () => {
      await using lab = await open();
      await check(lab);
    });

  law('a snapshot is seen with its volume, status and progress', async (lab) => {
    const id = await lab.snapshot('creating', '0%');
    const view = { volume: lab.volume, status: 'creating', progress: '0%' };
    expect(await lab.volumes.snapshot(id)).toEqual({ ok: true, value: view });
  });

  law('the snapshots of a volume are listed, whatever their status', async (lab) => {
    const ids = [await lab.snapshot('creating', '0%'), await lab.snapshot('error', '90%')];
    const listed = await lab.volumes.snapshots(lab.volume);
    if (!listed.ok) throw new Error(listed.error.detail);
    const rows = listed.value.map(({ id, volume, status }) => ({ id, volume, status }));
    expect(rows).toHaveLength(2);
    expect(rows).toEqual(
      expect.arrayContaining([
        { id: ids[0], volume: lab.volume, status: 'creating' },
        { id: ids[1], volume: lab.volume, status: 'error' },
      ]),
    );
    expect(await lab.volumes.snapshots(NOBODY as VolumeId)).toEqual({ ok: true, value: [] });
  });

  law('what Cinder does not have is null', async ({ volumes }) => {
    const nothing = { ok: true, value: null };
    expect(await volumes.snapshot(NOBODY as SnapshotId)).toEqual(nothing);
    expect(await volumes.attachments(NOBODY as VolumeId)).toEqual(nothing);
    expect(await volumes.activeFile(NOBODY)).toEqual(nothing);
  });

  law('a volume has its attachments, each naming the file in use', async (lab) => {
    const { volumes, attachment, server, active } = lab;
    const value = [{ id: attachment, server, host: 'host' }];
    expect(await volumes.attachments(lab.volume)).toEqual({ ok: true, value });
    expect(await volumes.activeFile(attachment)).toEqual({ ok: true, value: active });
  });

  law('a volume that was detached has no attachment, and another one later', async (lab) => {
    const { volumes, volume, server } = lab;
    await lab.detach();
    expect(await volumes.attachments(volume)).toEqual({ ok: true, value: [] });
    const { attachment, active } = await lab.attach();
    expect(attachment).not.toBe(lab.attachment);
    const value = [{ id: attachment, server, host: 'host' }];
    expect(await volumes.attachments(volume)).toEqual({ ok: true, value });
    expect(await volumes.activeFile(attachment)).toEqual({ ok: true, value: active });
  });

  law('the last word is taken, and stays, though no cinder-volume is there', async (lab) => {
    const id = await lab.snapshot('deleting', '0%');
    await lab.killVolumeService();
    expect(await lab.volumes.update(id, DELETED)).toEqual(ACCEPTED);
    expect(await lab.row(id)).toMatchObject({ progress: '90%' });
  });

  for (const [update, from] of UPDATES) {
    law(`'${update.kind}' is said in the most telling words`, async (lab) => {
      const id = await lab.snapshot(from, '0%');
      expect(await lab.volumes.update(id, update)).toEqual(ACCEPTED);
      const body = speak(update, lab.knows);
      expect(await lab.accepted()).toEqual([body]);
      expect(await lab.row(id)).toMatchObject({ status: body.status, progress: body.progress });
    });

    law(`'${update.kind}' is obsolete once the snapshot is elsewhere`, async (lab) => {
      const { volumes } = lab;
      const elsewhere = await lab.snapshot('available', '100%');
      const gone = await lab.snapshot(from);
      await lab.remove(gone);
      expect(await volumes.update(elsewhere, update)).toEqual(OBSOLETE);
      expect(await volumes.update(gone, update)).toEqual(OBSOLETE);
      expect(await volumes.update(NOBODY as SnapshotId, update)).toEqual(OBSOLETE);
      expect(await lab.row(elsewhere)).toMatchObject({ status: 'available', progress: '100%' });
      expect(await lab.accepted()).toEqual([]);
    });
  }

  law('the last word may be said twice', async (lab) => {
    const id = await lab.snapshot('deleting');
    expect(await lab.volumes.update(id, DELETED)).toEqual(ACCEPTED);
    const once = await lab.row(id);
    expect(await lab.volumes.update(id, DELETED)).toEqual(ACCEPTED);
    expect(await lab.row(id)).toEqual(once);
  });

  law('a left-over 90% can be taken back', async (lab) => {
    const id = await lab.snapshot('deleting', '90%');
    expect(await lab.volumes.update(id, { kind: 'deleting', percent: 0 })).toEqual(ACCEPTED);
    expect(await lab.row(id)).toMatchObject({ status: 'deleting', progress: '0%' });
  });
}

const NOBODY = '00000000-0000-4000-8000-00000000dead';
const ACCEPTED = { ok: true, value: 'accepted' };
const OBSOLETE = { ok: true, value: 'obsolete' };

const file = (name: string, format: typeof RAW) =>
  ({ file: name as FileName, format, provenance: 'reported' }) as const;
const DELETED: Update = { kind: 'deleted', formats: [file('volume-1234', RAW)] };

const UPDATES: readonly (readonly [Update, 'creating' | 'deleting'])[] = [
  [{ kind: 'created', formats: [file('volume-1234.snapshot', QCOW2)] }, 'creating'],
  [DELETED, 'deleting'],
  [{ kind: 'deleting', percent: 42 }, 'deleting'],
  [{ kind: 'create-failed' }, 'creating'],
  [{ kind: 'delete-failed' }, 'deleting'],
];
