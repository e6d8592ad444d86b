import { filesOf, find } from './chain.ts';
import { goneOf } from './delete-end.ts';
import type { Finding, Past, VolumeSight } from './diagnosis.ts';
import { pathOf } from './diagnosis-headers.ts';
import { settling } from './settling.ts';

/** What our own journal says that somebody should know. */
export function pastFindings(sight: VolumeSight): readonly Finding[] {
  return [
    ...changed(sight),
    ...sight.past.flatMap((one, at) => [
      ...unsent(one),
      ...unknown(sight, one),
      ...unproven(sight, one, sight.past.slice(0, at)),
    ]),
  ];
}

/**
 * While a guest runs, all that changes its chain should come through here. Of another QEMU nothing
 * is said: between two starts Cinder makes and merges layers by itself.
 */
function changed({ chain, guest, past }: VolumeSight): readonly Finding[] {
  const [newest] = past;
  const over = newest?.saga.at === 'end' && newest.saga.outcome !== 'unknown';
  if (chain === null || !over || guest.process === null) return [];
  if (guest.process !== chain.process || guest.job !== null) return [];
  const live = filesOf(guest.chain);
  if (live.join('/') === chain.files.join('/')) return [];
  return [
    {
      code: 'changed-by-another',
      severity: 'warning',
      saw: `the guest has ${live}; operation ${newest.id} had left it ${chain.files}`,
      todo: 'let nobody else change chains: see [nova] in cinder.conf, compute_driver in nova.conf',
    },
  ];
}

function unsent({ id, unsent: count, saga }: Past): readonly Finding[] {
  if (count === 0) return [];
  return [
    {
      code: 'unsent',
      severity: 'warning',
      saw: `Cinder has not heard yet how operation ${id} on ${saga.request.snapshot} ended`,
      todo: 'nothing, it is said until Cinder takes it; see the checks of Cinder in doctor',
    },
  ];
}

function unknown(sight: VolumeSight, { id, saga }: Past): readonly Finding[] {
  if (saga.at !== 'end' || saga.outcome !== 'unknown') return [];
  const provable = (['done', 'failed'] as const).find((as) => settling(saga, as, sight).ok);
  return [
    {
      code: 'operation-unknown',
      severity: 'error',
      saw: `nobody knows how operation ${id} (${saga.kind}) ended: ${saga.reason}`,
      todo:
        provable === undefined
          ? `chainkeeper ops show ${id}: what is seen now proves nothing yet`
          : `chainkeeper ops settle ${id} --as ${provable}`,
    },
  ];
}

/** A merge whose QEMU died: what it emptied is the only safe copy. */
function unproven(
  sight: VolumeSight,
  { id, saga }: Past,
  later: readonly Past[],
): readonly Finding[] {
  if (saga.kind !== 'delete' || saga.at !== 'end' || saga.outcome !== 'failed') return [];
  const { gone } = saga;
  if (gone === null || find(sight.guest.chain, gone) !== null) return [];
  // The XML of a guest that is off may end above it.
  if (sight.guest.process === null) return [];
  if (later.some((one) => goneOf(one.saga) === gone)) return [];
  return [
    {
      code: 'merge-unproven',
      severity: 'error',
      saw: `${gone} is out of the chain, and operation ${id} never proved that it was merged`,
      todo: `keep a copy of ${pathOf(sight, gone)}: what is missing in the volume is in it`,
    },
  ];
}
