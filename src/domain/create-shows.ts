import { agrees, beginsLike, goesOnFrom, type Layer } from './chain.ts';
import { judgeOverlay } from './overlay.ts';
import type { CreatePlan } from './plan-create.ts';
import type { DiskView, HeaderView } from './sight.ts';

/** A shut-off guest's XML may end its chain below any file; a live one's is whole. */
export const shows = (view: DiskView, predicted: Layer, planned: string | null): boolean => {
  if (view.process === null) return beginsLike(view.chain, predicted);
  // It was off when this was planned, and only now its chain is whole.
  if (planned === null) return goesOnFrom(view.chain, predicted);
  return agrees(view.chain, predicted);
};

/** What the header of the overlay in use says that is not so, or null. */
export function lieIn(header: HeaderView, plan: CreatePlan): string | null {
  const { before, size, key } = plan;
  const expected = { backing: before.file, format: before.format, size, encrypted: key != null };
  const verdict = judgeOverlay(header, expected);
  // QEMU may mark an overlay dirty while it has it open; that alone is no lie.
  const lies = verdict.verdict === 'accepted' ? [] : verdict.reasons;
  const lie = lies.find((reason) => reason.kind !== 'state' || (header.ok && header.value.corrupt));
  return lie?.says ?? null;
}

type Seen = Pick<CreatePlan, 'inode'>;

/**
 * Whether the overlay's name still leads to the file that was checked. QEMU may have that one open
 * or the other, and the next start takes whatever the name leads to by then. Who writes other data
 * into the same file is not noticed; but who can do that could write to the volume itself.
 */
export const isSame = (checked: Seen, now: Seen): boolean =>
  checked.inode === undefined || checked.inode === now.inode;
