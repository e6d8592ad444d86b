import { filesOf, find } from './chain.ts';
import type { Finding, ListedSnapshot, VolumeSight } from './diagnosis.ts';
import { pathOf } from './diagnosis-headers.ts';
import type { FileName } from './ids.ts';

/** Where Cinder believes something else than the guest has open. */
export function cinderFindings(sight: VolumeSight): readonly Finding[] {
  // While an operation of ours is under way Cinder is behind, and has to be.
  const busy = sight.past.some(({ saga }) => saga.at !== 'end');
  return [
    ...attachments(sight),
    ...(busy ? [] : drift(sight)),
    ...(sight.cinder.snapshots?.flatMap((row) => stuck(sight, row)) ?? []),
    ...(busy ? [] : counted(sight)),
  ];
}

function attachments({ cinder, volume }: VolumeSight): readonly Finding[] {
  if (cinder.attachments === null || cinder.attachments === 1) return [];
  return [
    {
      code: 'attachments',
      severity: 'warning',
      saw: `Cinder has ${cinder.attachments} attachments of it, and a guest here has it open`,
      todo: `openstack volume attachment list --volume-id ${volume}: every request is refused`,
    },
  ];
}

/**
 * Whoever starts the guest from Cinder's or Nova's record gives it the file that is named there: at
 * best what was written since is lost (LP 1304695), and a new snapshot would be built on it.
 */
function drift(sight: VolumeSight): readonly Finding[] {
  const { guest, cinder } = sight;
  const { active } = cinder;
  const live = guest.chain.file;
  if (active === null || active === live) return [];
  const seen = `Cinder names ${active} as in use, and the guest writes to ${live}`;
  if (find(guest.chain, active) === null) {
    return [
      {
        code: 'active-stranger',
        severity: 'error',
        saw: `${seen}; ${active} is not in its chain at all`,
        todo: `do not restart the guest; correct "active" in Cinder's .info file to ${live}`,
      },
    ];
  }
  const under = { code: 'active-behind', saw: `${seen}, which stands above it` } as const;
  const todo = goBack(sight, active);
  // Cinder takes an overlay some seconds after it is told of it.
  if (!isBeingTaken(sight)) return [{ ...under, severity: 'error', todo }];
  const wait = `Cinder is still taking it; if it stays so for ${PATIENCE}: ${todo}`;
  return [{ ...under, severity: 'warning', todo: wait }];
}

/** As long as it can take Cinder: its own wait is 600 s. */
const PATIENCE = '15 minutes';

const isBeingTaken = ({ guest, cinder }: VolumeSight): boolean =>
  cinder.snapshots?.some(
    ({ id, status }) => status === 'creating' && guest.chain.file.endsWith(`.${id}`),
  ) === true;

/** Back to the file that Cinder knows, unless what is above it belongs to a snapshot. */
function goBack(sight: VolumeSight, active: FileName): string {
  const { guest, cinder, past } = sight;
  const files = filesOf(guest.chain);
  const above = files.slice(0, files.indexOf(active));
  const unknown = past.find(
    ({ saga }) => saga.at === 'end' && saga.outcome === 'unknown' && saga.kind === 'create',
  );
  if (unknown !== undefined) {
    return `chainkeeper ops settle ${unknown.id} --as done, unless Cinder calls it failed`;
  }
  const known = cinder.snapshots?.some(
    ({ id, status }) => status !== 'error' && above.some((file) => file.endsWith(`.${id}`)),
  );
  if (known !== false) {
    return (
      `do not restart the guest; Cinder's attachment is stale: correct it to ${files[0]}, and ` +
      'with Nova run nova-manage volume_attachment refresh before the next start'
    );
  }
  if (guest.process === null) return 'do not start the guest; compare with .info of Cinder first';
  return (
    `virsh blockcommit ${guest.server} ${guest.target} --base ${pathOf(sight, active)} ` +
    '--active --pivot --wait --verbose'
  );
}

/** Cinder waits for somebody, and nobody is at it. */
function stuck(sight: VolumeSight, { id, status, progress }: ListedSnapshot): readonly Finding[] {
  if (status !== 'creating' && status !== 'deleting') return [];
  const kind = status === 'creating' ? 'create' : 'delete';
  const last = sight.past.find(({ saga }) => saga.request.snapshot === id && saga.kind === kind);
  const { saga, unsent = 0 } = last ?? {};
  if (saga !== undefined && saga.at !== 'end') return [];
  if (unsent > 0 || saga?.outcome === 'unknown') return [];
  const seen = `snapshot ${id} is ${status} (${progress ?? 'no progress'}) in Cinder`;
  const why = last === undefined ? 'and nobody has asked for it here' : 'and its operation is over';
  return [
    {
      code: 'snapshot-stuck',
      severity: 'warning',
      saw: `${seen}, ${why}`,
      todo:
        `if it stays so for ${PATIENCE}: ` +
        `openstack volume snapshot set --state error ${id}, then delete it`,
    },
  ];
}

/** Each snapshot of Cinder's has an overlay on top of what it froze. */
function counted({ guest, cinder }: VolumeSight): readonly Finding[] {
  if (cinder.snapshots === null || guest.process === null) return [];
  const overlays = filesOf(guest.chain).length - 1;
  const rows = cinder.snapshots.length;
  const sure = cinder.snapshots.filter(({ status }) => !UNSURE.includes(status)).length;
  if (overlays < sure) {
    return [
      {
        code: 'snapshot-without-layer',
        severity: 'error',
        saw: `Cinder has ${sure} snapshots, and the chain only ${overlays} overlays for them`,
        todo:
          'do not delete a snapshot of it: what one of them froze is not in the chain; find its ' +
          "file by Cinder's .info, and keep a copy of every file of the volume",
      },
    ];
  }
  if (overlays <= rows) return [];
  return [
    {
      code: 'layer-without-snapshot',
      severity: 'warning',
      saw: `the chain has ${overlays} overlays, and Cinder only ${rows} snapshots`,
      todo: "compare the chain with Cinder's .info; see active-behind where it is the active file",
    },
  ];
}

const UNSURE: readonly string[] = ['creating', 'deleting', 'error', 'error_deleting'];
