/** Cinder's JSON, and nothing else: pure. */
import { z } from 'zod';
import type { ListedSnapshot } from '#domain/diagnosis.ts';
import type { Fault } from '#domain/failure.ts';
import {
  type FileName,
  fileName,
  type ServerId,
  type SnapshotId,
  type VolumeId,
} from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { SnapshotView } from '#domain/sight.ts';
import { type Dialect, type StatusBody, speak, type Update } from '#domain/status.ts';
import type { Attachment } from '#ports/volumes.ts';

/** Attachments exist in the API from here on (NEW_ATTACH in cinder/api/microversions.py). */
export const ATTACHMENTS_VERSION = { 'OpenStack-API-Version': 'volume 3.27' } as const;

/** cinder/api/contrib/extended_snapshot_attributes.py; left out when policy forbids it. */
const PROGRESS = 'os-extended-snapshot-attributes:progress';

const word = z.string().min(1);

const snapshotFields = { volume_id: word, status: word, [PROGRESS]: z.string().nullish() };
const snapshotAnswer = z.object({ snapshot: z.object(snapshotFields) });
const snapshotsAnswer = z.object({ snapshots: z.array(z.object({ id: word, ...snapshotFields })) });

/**
 * Only attachments in effect are listed (cinder/api/v2/views/volumes.py, _get_attachments). One to
 * a bare host has no server. `id` is the volume's: the attachment's own is `attachment_id`.
 */
const volumeAnswer = z.object({
  volume: z.object({
    attachments: z.array(z.object({ server_id: z.string().nullish() }).loose()),
  }),
});
const serverAttachment = z.object({
  attachment_id: word,
  server_id: word,
  host_name: z.string().nullish(),
});

/** Drivers fill connection_info as they like: what is no file name of ours counts as not given. */
const attachmentAnswer = z.object({
  attachment: z.object({ connection_info: z.object({ name: z.unknown().optional() }).nullish() }),
});

export function parseSnapshot(body: unknown): Result<SnapshotView, Fault> {
  const parsed = parse(snapshotAnswer, body, 'a snapshot');
  if (!parsed.ok) return parsed;
  const { volume_id, status, [PROGRESS]: progress } = parsed.value.snapshot;
  return ok({ volume: volume_id as VolumeId, status, progress: progress ?? null });
}

/** Other volumes' are left out: an old Cinder does not know the filter (before Havana). */
export function parseSnapshots(
  body: unknown,
  volume: VolumeId,
): Result<readonly ListedSnapshot[], Fault> {
  const parsed = parse(snapshotsAnswer, body, 'snapshots');
  if (!parsed.ok) return parsed;
  const rows = parsed.value.snapshots.filter((row) => row.volume_id === volume);
  return ok(
    rows.map(({ id, status, [PROGRESS]: progress }) => {
      return { id: id as SnapshotId, volume, status, progress: progress ?? null };
    }),
  );
}

/** The attachments to servers. */
export function parseAttachments(body: unknown): Result<readonly Attachment[], Fault> {
  const parsed = parse(volumeAnswer, body, 'a volume');
  if (!parsed.ok) return parsed;
  const toServers = parsed.value.volume.attachments.filter((it) => it.server_id);
  const attachments = parse(z.array(serverAttachment), toServers, "a volume's attachments");
  if (!attachments.ok) return attachments;
  return ok(
    attachments.value.map((it) => ({
      id: it.attachment_id,
      server: it.server_id as ServerId,
      ...(it.host_name && { host: it.host_name }),
    })),
  );
}

/** The file that Cinder believes to be active: remotefs.py:1842-1887 keeps it there. */
export function parseActiveFile(body: unknown): Result<FileName | null, Fault> {
  const parsed = parse(attachmentAnswer, body, 'an attachment');
  if (!parsed.ok) return parsed;
  const name = parsed.value.attachment.connection_info?.name;
  return ok(typeof name === 'string' ? fileName(name) : null);
}

/** The body of POST snapshots/{id}/action (cinder/api/schemas/snapshot_actions.py). */
export interface StatusAction {
  readonly 'os-update_snapshot_status': StatusBody;
}

export const encodeUpdate = (update: Update, dialect: Dialect): StatusAction => ({
  'os-update_snapshot_status': speak(update, dialect),
});

/** The fault names where the answer is wrong, never what it said there. */
function parse<T>(schema: z.ZodType<T>, body: unknown, what: string): Result<T, Fault> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return ok(parsed.data);
  const wrong = parsed.error.issues.map((issue) => issue.path.join('.') || 'the whole');
  const detail = `its answer does not describe ${what} (see ${[...new Set(wrong)].join(', ')})`;
  return err({ kind: 'rejected', who: 'Cinder', detail, code: 'malformed' });
}
