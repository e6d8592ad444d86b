import { expect, test } from 'vitest';
import { judgeHeader } from '#domain/overlay.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { EXPECTED, VECTORS } from '../support/hostile-headers.ts';

test.each(VECTORS)('$verdict, $kind: $name', ({ head, verdict, kind }) => {
  const found = judgeHeader(parseHeader(head.page, head.fileBytes), EXPECTED);
  const reasons = found.verdict === 'accepted' ? [] : found.reasons;
  expect(found.verdict).toBe(verdict);
  expect(reasons[0]?.kind ?? null).toBe(kind);
});

test('there are more than 150 of them, no two alike', () => {
  const bytes = VECTORS.map(
    ({ head }) => `${head.fileBytes} ${Buffer.from(head.page).toString('hex')}`,
  );
  expect(new Set(bytes).size).toBe(VECTORS.length);
  expect(VECTORS.length).toBeGreaterThan(150);
});
