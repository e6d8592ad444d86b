import { expect, test } from 'vitest';
import { SimClock } from '#sim/clock.ts';

test('sleepers wake in the order of their time, each once all before it has settled', async () => {
  const clock = new SimClock({ start: 0 });
  const woken: string[] = [];
  const sleeper = async (name: string, ms: number) => {
    await clock.sleep(ms);
    woken.push(`${name} ${clock.now()}`);
    await clock.sleep(ms);
    woken.push(`${name} ${clock.now()}`);
  };
  void sleeper('slow', 30);
  void sleeper('quick', 20);
  await clock.advance(50);
  expect(woken).toEqual(['quick 20', 'slow 30', 'quick 40']);
  expect(clock.now()).toBe(50);
});

test('an aborted sleep ends at once and moves no time', async () => {
  const clock = new SimClock({ start: 0 });
  const nudge = new AbortController();
  const slept = clock.sleep(1_000, nudge.signal);
  nudge.abort();
  await clock.until(slept);
  expect(clock.now()).toBe(0);
});

test('a wait for what nobody will do is a deadlock, not a hang', async () => {
  const clock = new SimClock();
  await expect(clock.until(new Promise(() => {}))).rejects.toThrow('nobody');
});

test('the same seed gives the same ids', () => {
  const [one, other] = [new SimClock({ seed: 7 }), new SimClock({ seed: 7 })];
  expect(one.uuid()).toBe(other.uuid());
  expect(one.uuid()).toMatch(
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  );
  expect(new SimClock({ seed: 8 }).uuid()).not.toBe(new SimClock({ seed: 7 }).uuid());
});
