import { expect, test } from 'vitest';
import { whileFresh } from '#app/fresh.ts';
import type { ServerId } from '#domain/ids.ts';
import type { GuestView } from '#domain/sight.ts';

const why = { kind: 'guest-not-found', server: 'S' as ServerId } as const;
const guest: GuestView = { kind: 'absent', why };
const at = (ms: number) => ({ monotonic: () => ms });

test('what was seen a moment ago is good, once', () => {
  const fresh = whileFresh(at(1_250), { guest, since: 1_000 });
  expect([fresh(), fresh()]).toEqual([guest, null]);
});

test('what was seen earlier is not, and what was not seen never', () => {
  expect(whileFresh(at(1_251), { guest, since: 1_000 })()).toBeNull();
  expect(whileFresh(at(1_000), null)()).toBeNull();
});
