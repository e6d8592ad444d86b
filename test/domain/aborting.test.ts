import { expect, test } from 'vitest';
import { aborting } from '#domain/aborting.ts';
import { next } from '#domain/sagas.ts';
import { WOKE } from '../support/sights.ts';
import { states } from '../support/states.ts';

const WHY = 'an operator aborted it before anything was changed';

test.each(states())('$kind $at', (saga) => {
  const step = aborting(saga);
  if (!['waiting', 'accepted', 'mending'].includes(saga.at)) {
    expect(step).toEqual({ ok: false, error: { kind: 'has-begun', at: saga.at } });
    return;
  }
  expect(step).toMatchObject({
    value: {
      saga: {
        kind: saga.kind,
        request: saga.request,
        at: 'end',
        outcome: 'failed',
        formats: [],
        reason: WHY,
      },
      evidence: [{ kind: 'aborted', detail: `by an operator, while it was ${saga.at}` }],
      tell: saga.kind === 'undo' ? null : { kind: `${saga.kind}-failed` },
      effect: null,
    },
  });
});

test('whatever has not begun is aborted, and what is over is not', () => {
  for (const saga of states()) {
    const step = aborting(saga);
    if (!step.ok) continue;
    const again = aborting(step.value.saga);
    expect(again).toEqual({ ok: false, error: { kind: 'has-ended', outcome: 'failed' } });
  }
});

test('no state that may be aborted is one in which the hypervisor was asked for a change', () => {
  for (const saga of states().filter((one) => aborting(one).ok)) {
    expect(['look', 'mend']).toContain(next(saga, WOKE).effect?.do);
  }
});
