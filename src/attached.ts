import type { Fault, Refusal } from '#domain/failure.ts';
import type { VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import type { Attachment } from '#ports/volumes.ts';

/** What Cinder has said of a volume's attachments; null when it does not know the volume. */
export type Attachments = Result<readonly Attachment[] | null, Fault>;

/** The only server that has the volume, or why there is no such. */
export function serverOf(volume: VolumeId, said: Attachments): Result<Attachment, Trouble> {
  if (!said.ok) return err({ kind: 'fault', fault: said.error });
  if (said.value === null) return refused({ kind: 'unknown-volume', volume });
  const [only, ...others] = said.value;
  if (only === undefined) return refused({ kind: 'not-attached', volume });
  if (others.length === 0) return ok(only);
  return refused({ kind: 'attached-twice', volume, times: others.length + 1 });
}

/** Of a guest that is not here Cinder may know where it is. */
export function withHost(refusal: Refusal, { host }: Attachment): Refusal {
  if (refusal.kind !== 'guest-not-found' || host === undefined) return refusal;
  return { ...refusal, host };
}

const refused = (refusal: Refusal) => err<Trouble>({ kind: 'refused', refusal });
