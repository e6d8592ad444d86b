import { beforeEach, expect, test } from 'vitest';
import { Survey } from '#adapters/operator/page/survey.ts';
import type { VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import type { ChainReport, Diagnosis } from '#ports/inspect.ts';
import { VOLUME } from '../../../support/sights.ts';
import { AWAY, CHAIN, DIAGNOSED, LYING, pretendTelemetry, ROTTEN } from '../pretend-inspect.ts';

const NOTHING: ReadonlyMap<VolumeId, number> = new Map();
let now: number;
let looks: number;
let again: string[];
/** How long a look takes; null: it never comes back. */
let lookMs: number | null;
let found: () => Result<readonly Diagnosis[], Trouble>;
let one: () => Result<ChainReport, Trouble>;
let telemetry = pretendTelemetry();
beforeEach(() => {
  [now, looks, again, lookMs] = [1_000_000, 0, [], 0];
  found = () => ok([DIAGNOSED]);
  one = () => ok(LYING);
  telemetry = pretendTelemetry();
});

function survey() {
  return new Survey({
    telemetry,
    inspect: {
      diagnoses: async () => {
        looks += 1;
        if (lookMs === null) return new Promise(() => {});
        now += lookMs;
        return found();
      },
      chain: async (ref) => {
        again.push(ref);
        return one();
      },
    },
    // Patience ends after everything that can be done at once.
    clock: {
      now: () => now,
      monotonic: () => now,
      sleep: () => new Promise((resolve) => setTimeout(resolve, 20)),
    },
  });
}

const changedNow = () => {
  now += 1;
  return new Map([[VOLUME, now]]);
};

test('all are looked at once, and not again for each who looks at the page', async () => {
  const it = survey();
  const first = await it.look(NOTHING, 1000);
  expect(first).toMatchObject({ volumes: [{ volume: VOLUME }], trouble: null });
  now += 14_999;
  await it.look(NOTHING, 1000);
  expect(looks).toBe(1);
  now += 1;
  await it.look(NOTHING, 1000);
  expect(looks).toBe(2);
});

test('a look that takes long is not begun often', async () => {
  const it = survey();
  lookMs = 9000;
  await it.look(NOTHING, 1000);
  now += 89_999;
  await it.look(NOTHING, 1000);
  expect(looks).toBe(1);
  now += 1;
  await it.look(NOTHING, 1000);
  expect(looks).toBe(2);
});

test('nobody waits for longer than he wants to, and nobody looks twice at once', async () => {
  const it = survey();
  lookMs = null;
  expect(await it.look(NOTHING, 1000)).toEqual({ at: null, volumes: [], trouble: null });
  now += 1_000_000;
  await it.look(NOTHING, 1000);
  expect(looks).toBe(1);
});

test('what an operation has changed since is looked at again, by itself', async () => {
  const it = survey();
  await it.look(NOTHING, 1000);
  const before = new Map([[VOLUME, now - 1]]);
  expect((await it.look(before, 1000)).volumes).toEqual([DIAGNOSED]);
  const since = changedNow().set('elsewhere' as VolumeId, now);
  now += 1;
  const seen = await it.look(since, 1000);
  expect(seen.volumes).toEqual([{ ...DIAGNOSED, report: ok(LYING) }]);
  await it.look(since, 1000);
  expect(again).toEqual([VOLUME]);
});

test('who does not answer takes nothing away of what was seen', async () => {
  const it = survey();
  await it.look(NOTHING, 1000);
  one = () => err(AWAY);
  expect((await it.look(changedNow(), 1000)).volumes).toEqual([DIAGNOSED]);
  now += 20_000;
  found = () => err(AWAY);
  await it.look(NOTHING, 1000);
  const after = await it.look(NOTHING, 1000);
  expect(after.volumes).toEqual([DIAGNOSED]);
  expect(after.trouble).toContain('libvirt');
});

test('a volume that is gone by now is no longer shown as it was', async () => {
  const it = survey();
  await it.look(NOTHING, 1000);
  one = () => err(ROTTEN);
  const seen = await it.look(changedNow(), 1000);
  expect(seen.volumes).toEqual([{ ...DIAGNOSED, report: err(ROTTEN) }]);
});

test('the chain of another guest is not taken for this one', async () => {
  const it = survey();
  await it.look(NOTHING, 1000);
  one = () => ok({ ...CHAIN, guest: { ...CHAIN.guest, server: 'moved' as never } });
  expect((await it.look(changedNow(), 1000)).volumes).toEqual([DIAGNOSED]);
});

test('a bug in a look is logged, and ends nothing', async () => {
  const it = survey();
  found = () => {
    throw new Error('we contradict ourselves');
  };
  expect((await it.look(NOTHING, 1000)).trouble).toContain('see the log');
  expect(telemetry.lines.join()).toContain('we contradict ourselves');
});
