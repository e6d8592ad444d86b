import { healWith } from './create-effects.ts';
import { park } from './create-end.ts';
import type { CreateSaga } from './create-saga.ts';
import { judgeOverlay } from './overlay.ts';
import type { CreatePlan } from './plan-create.ts';
import type { HeaderFlaw } from './qcow2.ts';
import { go, isBusy, type Next, WATCH } from './saga.ts';
import type { DiskView, HeaderView } from './sight.ts';

type Switching = Extract<CreateSaga, { at: 'switching' }>;
type Step = Next<CreateSaga>;

/** What the header of the overlay in use says that is not so. */
export function liesIn(header: HeaderView, plan: CreatePlan): readonly HeaderFlaw[] {
  const { before, size, key } = plan;
  const expected = { backing: before.file, format: before.format, size, encrypted: key != null };
  const verdict = judgeOverlay(header, expected);
  // QEMU may mark an overlay dirty while it has it open; that alone is no lie.
  const lies = verdict.verdict === 'accepted' ? [] : verdict.reasons;
  return lies.filter(({ kind }) => kind !== 'state' || (header.ok && header.value.corrupt));
}

type Seen = Pick<CreatePlan, 'inode'>;

/**
 * Whether the overlay's name still leads to the file that was checked. QEMU may have that one open
 * or the other, and the next start takes whatever the name leads to by then. Who writes other data
 * into the same file is not noticed; but who can do that could write to the volume itself.
 */
export const isSame = (checked: Seen, now: Seen): boolean =>
  checked.inode === undefined || checked.inode === now.inode;

/** A wrong format alone is none that a next start need ever see. */
export function heal(saga: Switching, lies: readonly HeaderFlaw[], view: DiskView): Step {
  const { heals = 0, plan } = saga;
  const { process } = view;
  const curable = lies.every(({ kind }) => kind === 'backing-format') && process !== null;
  if (!curable || heals >= MAX_HEALS) {
    return park(saga, `the header changed under us: ${lies.map(({ says }) => says).join('; ')}`);
  }
  if (view.job !== null) return go(saga, WATCH);
  // As beside a pull of another disk: that was no attempt.
  if (saga.refused !== null && isBusy(saga.refused))
    return go({ ...saga, refused: null, heals: Math.max(0, heals - 1) }, WATCH);
  return go({ ...saga, heals: heals + 1 }, healWith(plan, { ...view, process }), {
    kind: 'decided',
    detail: `pull onto ${plan.before.file}, so that the header says ${plan.before.format}`,
  });
}

/** How often that is tried. */
const MAX_HEALS = 3;
