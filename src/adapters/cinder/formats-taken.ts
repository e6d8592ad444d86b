import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { isMissing, refused } from './answer.ts';
import type { Rest } from './rest.ts';

/** No snapshot has this id: whatever is asked about it changes nothing. */
export const NOBODY = '00000000-0000-4000-8000-000000000000';

/**
 * Whether this Cinder takes `file_format` in a snapshot's update. It judges the body before it
 * looks for the snapshot (validation.schema in cinder/api/contrib/snapshot_actions.py), so a
 * snapshot that is not there tells: 404 when the words are known, 400 when not. The statuses are
 * judged by the snapshot they are for, so those can be learnt only from a real one.
 */
export async function formatsTaken(rest: Rest): Promise<Result<boolean, Fault>> {
  const said = { status: 'creating', progress: '0%', file_format: {} };
  const answer = await rest.post(['snapshots', NOBODY, 'action'], {
    'os-update_snapshot_status': said,
  });
  if (!answer.ok) return answer;
  if (isMissing(answer.value)) return ok(true);
  return answer.value.status === 400 ? ok(false) : err(refused(answer.value));
}
