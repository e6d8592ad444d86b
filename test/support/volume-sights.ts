import type { SeenLayer } from '#domain/chain.ts';
import type { ListedSnapshot, Past, VolumeSight } from '#domain/diagnosis.ts';
import type { FileName, Format, OperationId, SnapshotId } from '#domain/ids.ts';
import type { Saga } from '#domain/saga.ts';
import type { DiskView } from '#domain/sight.ts';
import { chain } from './chains.ts';
import { LIMITS } from './scenes.ts';
import { disk, headersOf, VOLUME } from './sights.ts';

export const ROW = { id: 'S' as SnapshotId, volume: VOLUME, status: 'available', progress: '100%' };
export const rows = (...them: Partial<ListedSnapshot>[]) => them.map((one) => ({ ...ROW, ...one }));
/** The snapshots that stand behind two overlays. */
export const TWO = rows({ id: 'a' as SnapshotId }, { id: 'b' as SnapshotId });
export const past = (saga: Saga, unsent = 0): Past => ({ id: 'op-1' as OperationId, saga, unsent });

/** A volume with s2 on s1 on the raw v, of which all the witnesses say the same, but for `says`. */
export function sight(
  says: Partial<Omit<VolumeSight, 'guest'>> & {
    readonly seen?: SeenLayer;
    readonly is?: Partial<DiskView>;
  } = {},
): VolumeSight {
  const { seen = chain('s2', 's1', 'v'), is = {}, ...rest } = says;
  const guest = disk(seen, is);
  return {
    volume: VOLUME,
    guest,
    headers: headersOf(seen),
    known: new Map<FileName, Format>(),
    cinder: { active: guest.chain.file, attachments: 1, snapshots: TWO },
    chain: null,
    past: [],
    limits: LIMITS,
    ...rest,
  };
}
