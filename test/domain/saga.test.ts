import { expect, test } from 'vitest';
import type { Fault } from '#domain/failure.ts';
import { isBusy } from '#domain/saga.ts';

/** libvirt's answer, as libvirt 9.0 gives it when it will not do a thing just now. */
const refused = (code: number | string, who: Fault['who'] = 'libvirt'): Fault => ({
  kind: 'rejected',
  who,
  detail: 'no',
  code,
});

test.each([68, 83, 84])("libvirt's no with code %d means not now", (code) => {
  expect(isBusy(refused(code))).toBe(true);
});

test.each<[string, Fault]>([
  ['a no for good', refused(38)],
  ['an operation that is not valid', refused(55)],
  ["an errno's name", refused('EBUSY')],
  ["Cinder's no, in codes of its own", refused(84, 'Cinder')],
  ['no answer', { kind: 'unknown', who: 'libvirt', detail: 'end of file' }],
  ['nobody there', { kind: 'unreachable', who: 'libvirt', detail: 'no socket' }],
])('%s is no "not now"', (_, fault) => {
  expect(isBusy(fault)).toBe(false);
});
