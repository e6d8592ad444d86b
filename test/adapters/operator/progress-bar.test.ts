import { expect, test } from 'vitest';
import { type Bar, barOf } from '#adapters/operator/progress-bar.ts';

const BAR: Bar = {
  id: '1a60b459-104a-45a8-8d29-23692ff75ba7',
  kind: 'delete',
  volume: '7cc3542c-7935-44b4-beda-27e55f50de56',
  state: 'merging',
  askedAt: 0,
  progress: { done: 2 ** 23, total: 2 ** 24, rate: 2 ** 20, secondsLeft: 8 },
};

test.each([
  [163, /^1a60b459-.* 7cc3542c-7935-44b4-beda-27e55f50de56 {2}merging \[#{12}-{12}\] 50% of /],
  [162, /^1a60b459 .* delete 7cc3542c {2}merging \[#{12}-{12}\] 50% of 16.0 MiB .* 0:08 left$/],
  [80, /^1a60b459 .* delete 7cc3542c {2}merging {2}50% of 16.0 MiB {2}1.0 MiB\/s {2}0:08 left$/],
  [70, /^1a60b459 {2}1:00 {2}delete 7cc3542c {2}merging {2}50% {2}0:08 left$/],
  [40, /^1a60b459 merging 50%$/],
  [15, /^1a60b459 50%$/],
  [4, /^1a60$/],
])('on a terminal of %i columns', (width, line) => {
  const bar = barOf(BAR, 60_000, width);
  expect(bar).toMatch(line);
  expect(bar.length).toBeLessThanOrEqual(width);
});

test('no merge, nothing of one', () => {
  expect(barOf({ ...BAR, progress: null }, 60_000, 30)).toBe('1a60b459 merging');
});
