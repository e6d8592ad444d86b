import { agrees, beginsLike, goesOnFrom, type Layer } from './chain.ts';
import type { DiskView } from './sight.ts';

/** A shut-off guest's XML may end its chain below any file; a live one's is whole. */
export const shows = (view: DiskView, predicted: Layer, planned: string | null): boolean => {
  if (view.process === null) return beginsLike(view.chain, predicted);
  // It was off when this was planned, and only now its chain is whole.
  if (planned === null) return goesOnFrom(view.chain, predicted);
  return agrees(view.chain, predicted);
};
