import type { DiskTruth } from './truth.ts';
import type { World } from './world.ts';

/** Somebody else said 90% in the middle of a merge: Cinder has removed what it was made from. */
export function misled(
  { meddled, cloud }: World,
  { unproven, it }: DiskTruth,
): 'drift record' | null {
  const gone = unproven.some(
    ({ snapshot, headers }) =>
      snapshot !== null &&
      meddled.has(snapshot) &&
      [...headers.keys()].some((name) => name.includes(it.volume) && !cloud.share.files.has(name)),
  );
  return gone ? 'drift record' : null;
}
