import type { GuestView } from '#domain/sight.ts';
import type { Clock } from '#ports/clock.ts';

/** What the hypervisor has shown, and when it was asked, by the monotonic clock. */
export interface Seen {
  readonly guest: GuestView;
  readonly since: number;
}

/**
 * For how long what a request was accepted on is good, in ms. A change proves in its own turn that
 * the chain is still that one.
 */
const FRESH_MS = 250;

/** Answers what was seen, the first time that it is asked, and only while that is still good. */
export function whileFresh(
  clock: Pick<Clock, 'monotonic'>,
  seen: Seen | null,
): () => GuestView | null {
  let left = seen;
  return () => {
    const mine = left;
    left = null;
    return mine !== null && clock.monotonic() - mine.since <= FRESH_MS ? mine.guest : null;
  };
}
