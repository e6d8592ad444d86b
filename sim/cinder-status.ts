import type { Dialect } from '#domain/status.ts';

/** What Cinder's os-update_snapshot_status makes of a body. */
export type StatusVerdict =
  | { readonly status: 202; readonly row: StatusRow }
  | { readonly status: 400; readonly message: string };

/** The part of a snapshot's row that an update may change. */
export interface StatusRow {
  readonly status: string;
  readonly progress: string;
  readonly fileFormat: Readonly<Record<string, string>>;
}

/** cinder/api/contrib/snapshot_actions.py:35-88. */
const STOCK_MOVES: Readonly<Record<string, readonly string[]>> = {
  creating: ['creating', 'available', 'error'],
  deleting: ['deleting', 'error_deleting'],
};

/** The moves that the Nova spec volume-snapshot-improvements adds. */
const SPEC_MOVES: Readonly<Record<string, readonly string[]>> = {
  creating: [...(STOCK_MOVES.creating ?? []), 'creating_compute_complete'],
  deleting: [...(STOCK_MOVES.deleting ?? []), 'deleting_compute_complete'],
};

/**
 * Judges the body of an action as Cinder does: first the schema, which allows no property it does
 * not name, then the status that the snapshot is in. `knows` is how much of the spec it has.
 */
export function judgeBody(body: unknown, row: StatusRow, knows: Dialect): StatusVerdict {
  const problem = schemaProblem(body, knows);
  if (problem !== null) return no(problem);
  const action = (body as Record<typeof ACTION, Record<string, unknown>>)[ACTION];
  const { status, progress, file_format: said } = action;
  const moves = knows === 'spec' || knows === 'status' ? SPEC_MOVES : STOCK_MOVES;
  const allowed = moves[row.status];
  if (allowed === undefined) {
    return no(`Snapshot status ${row.status} not allowed for update_snapshot_status`);
  }
  if (typeof status !== 'string' || !allowed.includes(status)) {
    const from = `for snapshot with status ${row.status}`;
    return no(`Provided snapshot status ${status} not allowed ${from}.`);
  }
  const fileFormat = { ...row.fileFormat, ...(said as Record<string, string> | undefined) };
  return { status: 202, row: { status, progress: String(progress || row.progress), fileFormat } };
}

/** cinder/api/schemas/snapshot_actions.py; looked at before the snapshot is. */
export function schemaProblem(body: unknown, knows: Dialect): string | null {
  const formats = knows === 'spec' || knows === 'format';
  const action = isRecord(body) ? body[ACTION] : undefined;
  if (!isRecord(body) || Object.keys(body).length !== 1 || !isRecord(action)) {
    return "Invalid input for field/attribute: 'os-update_snapshot_status' is required.";
  }
  const { status, progress, file_format: said, ...rest } = action;
  const extra = Object.keys(rest);
  if (said !== undefined && !formats) extra.push('file_format');
  if (extra.length > 0) {
    return `Additional properties are not allowed (${extra.join(', ')} was unexpected)`;
  }
  if (typeof status !== 'string') return "'status' is a required property";
  if (!isProgress(progress)) return 'Invalid input for field/attribute progress.';
  if (said !== undefined && !isFormats(said)) return 'Invalid input for file_format.';
  return null;
}

const ACTION = 'os-update_snapshot_status';

/** cinder/api/validation/validators.py: whatever is falsy passes, and is ignored. */
function isProgress(value: unknown): boolean {
  if (!value) return true;
  return typeof value === 'string' && /^\d+%$/.test(value) && Number.parseInt(value, 10) <= 100;
}

const isFormats = (value: unknown): boolean =>
  isRecord(value) && Object.values(value).every((it) => typeof it === 'string');

const isRecord = (it: unknown): it is Record<string, unknown> =>
  typeof it === 'object' && it !== null && !Array.isArray(it);

const no = (message: string): StatusVerdict => ({ status: 400, message });
