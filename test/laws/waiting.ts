import { expect, test } from 'vitest';

/**
 * Guards that are to come and that the random worlds do not miss (those are MISSING_GUARDS of
 * sim/world/laws.ts): each is missed by a test that is written as if it were there.
 */
export const WAITING = {
  'journal pruned of what Cinder has confirmed': {
    law: 31,
    why: 'the journal keeps every operation for ever',
  },
} as const;

/** A law that is expected to be red for want of this guard; it is to be a test when it is there. */
export function waits(guard: keyof typeof WAITING, law: string, check: () => Promise<void>): void {
  test(`expected red, for want of "${guard}": ${law}`, async () => {
    await expect(check(), 'the guard is there: make this a test').rejects.toThrow();
  });
}
