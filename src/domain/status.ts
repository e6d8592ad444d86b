import type { FileFormat } from './chain.ts';

/** What Cinder says of a snapshot (cinder/objects/fields.py:113-126). */
export const CINDER_STATUSES = [
  'creating',
  'available',
  'deleting',
  'deleted',
  'error',
  'error_deleting',
  'updating',
  'unmanaging',
  'backing-up',
  'restoring',
] as const;

/** Cinder's statuses and the two that the Nova spec volume-snapshot-improvements adds. */
export type SnapshotStatus =
  | (typeof CINDER_STATUSES)[number]
  | 'creating_compute_complete'
  | 'deleting_compute_complete';

/**
 * How a compute service may move a snapshot: as os-update_snapshot_status allows
 * (cinder/api/contrib/snapshot_actions.py:35-88), but never to `available`, for Cinder's loop
 * hangs; and for a Cinder that knows the spec to its two statuses, from which only Cinder goes on.
 */
const MOVES: Partial<Record<SnapshotStatus, readonly SnapshotStatus[]>> = {
  creating: ['creating', 'error', 'creating_compute_complete'],
  deleting: ['deleting', 'error_deleting', 'deleting_compute_complete'],
};

export const mayMove = (from: SnapshotStatus, to: SnapshotStatus): boolean =>
  MOVES[from]?.includes(to) ?? false;

/** What the compute side has to say. `percent` is live progress, 0 to 99, never 90. */
export type Update =
  | { readonly kind: 'created'; readonly formats: readonly FileFormat[] }
  | { readonly kind: 'deleted'; readonly formats: readonly FileFormat[] }
  | { readonly kind: 'deleting'; readonly percent: number }
  | { readonly kind: 'create-failed' }
  | { readonly kind: 'delete-failed' };

/**
 * How a Cinder wants to hear it: `spec` the new statuses and the formats, `format` only the
 * formats, `status` only the statuses, `stock` neither (additionalProperties is false in
 * cinder/api/schemas/snapshot_actions.py, so a stock Cinder answers 400 to the first three).
 */
export type Dialect = 'spec' | 'format' | 'status' | 'stock';

/** The dialects from the most to the least telling: the order in which `auto` tries them. */
export const DIALECTS: readonly Dialect[] = ['spec', 'format', 'status', 'stock'];

/** The body of an os-update_snapshot_status action. */
export interface StatusBody {
  readonly status: SnapshotStatus;
  readonly progress: string;
  readonly file_format?: Readonly<Record<string, string>>;
}

/**
 * An update in a dialect's words. Only the exact string `90%` means "the compute side is done"
 * (cinder/volume/drivers/remotefs.py:1915-2075), so live progress never says it, and an error
 * takes it back: Cinder never resets it by itself, and the next delete would believe it.
 */
export function speak(update: Update, dialect: Dialect): StatusBody {
  switch (update.kind) {
    case 'created':
      return done('creating', 'creating_compute_complete', update.formats, dialect);
    case 'deleted':
      return done('deleting', 'deleting_compute_complete', update.formats, dialect);
    case 'deleting':
      return { status: 'deleting', progress: `${livePercent(update.percent)}%` };
    case 'create-failed':
      return { status: 'error', progress: '0%' };
    case 'delete-failed':
      return { status: 'error_deleting', progress: '0%' };
  }
}

/** Whether an update sounds the same in every dialect. */
export const isPlain = (update: Update): boolean =>
  update.kind !== 'created' && update.kind !== 'deleted';

/** The status in which the snapshot must be for the update to make sense to Cinder. */
export function statusFor(update: Update): 'creating' | 'deleting' {
  return update.kind === 'created' || update.kind === 'create-failed' ? 'creating' : 'deleting';
}

/** A whole percentage below 100 that Cinder cannot mistake for "done". */
export function livePercent(percent: number): number {
  const whole = Math.min(99, Math.max(0, Math.floor(percent) || 0));
  return whole === 90 ? 89 : whole;
}

function done(
  stock: SnapshotStatus,
  spec: SnapshotStatus,
  formats: readonly FileFormat[],
  dialect: Dialect,
): StatusBody {
  const status = dialect === 'spec' || dialect === 'status' ? spec : stock;
  const body = { status, progress: '90%' };
  if (dialect === 'status' || dialect === 'stock') return body;
  return { ...body, file_format: Object.fromEntries(formats.map((f) => [f.file, f.format])) };
}
