import { expect, test } from 'vitest';
import { ProgressBook } from '#app/progress.ts';
import type { VolumeId } from '#domain/ids.ts';

const VOLUME = 'v' as VolumeId;

function book() {
  let now = 0;
  const it = new ProgressBook(() => now);
  const saw = (seconds: number, done: number, total = 1000) => {
    now = seconds * 1000;
    return it.saw(VOLUME, { kind: 'commit', done, total });
  };
  return { it, saw };
}

test('a rate and a time left, once they are no chance', () => {
  const { it, saw } = book();
  expect(it.of(VOLUME)).toBe(null);
  expect(saw(0, 100)).toBe(0);
  expect(it.of(VOLUME)).toEqual({
    ...{ job: 'commit', done: 100, total: 1000 },
    ...{ rate: null, secondsLeft: null },
  });
  expect(saw(0.5, 110)).toBe(10);
  expect(it.of(VOLUME)?.rate).toBe(null);
  expect(saw(2, 200)).toBe(90);
  expect(it.of(VOLUME)).toMatchObject({ rate: 50, secondsLeft: 16 });
});

test('the rate is that of the last half minute, not of the whole job', () => {
  const { it, saw } = book();
  for (let second = 0; second <= 60; second++) saw(second, second, 10_000);
  for (let second = 61; second <= 120; second++) saw(second, 60 + (second - 60) * 10, 10_000);
  expect(it.of(VOLUME)?.rate).toBe(10);
});

test('a job that was asked for began with nothing, and ends with all of it', () => {
  const { it, saw } = book();
  it.began(VOLUME, 'commit');
  expect(it.of(VOLUME), 'nobody knows how much there is').toBe(null);
  expect(saw(2, 100)).toBe(100);
  expect(it.of(VOLUME)).toMatchObject({ rate: 50, secondsLeft: 18 });
  it.saw(VOLUME, null);
  expect([it.finished(VOLUME), it.finished(VOLUME)]).toEqual([900, 0]);
  it.began(VOLUME, 'commit');
  saw(3, 100);
  it.saw(VOLUME, null);
  it.began(VOLUME, 'commit');
  expect(it.finished(VOLUME), 'it came to nothing, and was asked for again').toBe(0);
});

test('a job that stands still has no time left, one whose total grows has more', () => {
  const { it, saw } = book();
  saw(0, 100);
  saw(10, 100);
  expect(it.of(VOLUME)).toMatchObject({ rate: 0, secondsLeft: null });
  saw(20, 200, 2000);
  expect(it.of(VOLUME)).toMatchObject({ rate: 5, secondsLeft: 360 });
});

test('another job begins anew, and one that is over is forgotten', () => {
  const { it, saw } = book();
  saw(0, 900);
  saw(10, 950);
  expect(saw(20, 10), 'nobody did less than nothing').toBe(0);
  expect(it.of(VOLUME)).toMatchObject({ done: 10, rate: null });
  expect(it.saw(VOLUME, { kind: 'pull', done: 20, total: 1000 })).toBe(0);
  expect(it.of(VOLUME)).toMatchObject({ job: 'pull', rate: null });
  it.saw(VOLUME, null);
  expect(it.of(VOLUME)).toBe(null);
});
