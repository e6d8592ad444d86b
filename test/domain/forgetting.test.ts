import { expect, test } from 'vitest';
import { isForgettable } from '#domain/forgetting.ts';
import type { Saga } from '#domain/saga.ts';
import { file } from '../support/chains.ts';
import { CREATE } from '../support/scenes.ts';
import { SUBJECT } from '../support/sights.ts';
import { states } from '../support/states.ts';

const end = (outcome: string, gone: string | null): Saga =>
  ({
    kind: 'delete',
    request: { ...SUBJECT, fileToMerge: file('s0'), mergeTarget: file('v') },
    ...{ at: 'end', outcome, reason: '', formats: [] },
    gone: gone && file(gone),
  }) as Saga;
const create = (outcome: string): Saga =>
  ({ kind: 'create', request: CREATE, at: 'end', outcome, reason: '', formats: [] }) as Saga;

test('what is under way is never forgotten', () => {
  for (const saga of states()) expect(isForgettable(saga)).toBe(false);
});

test.each([
  ['created', create('created'), true],
  ['failed', create('failed'), true],
  ['of an outcome that nobody knows', create('unknown'), false],
  ['merged', end('merged', 's0'), true],
  ['withdrawn', end('withdrawn', null), true],
  ['failed with nothing merged', end('failed', null), true],
  ['failed, and something may have been merged', end('failed', 's0'), false],
  ['a delete of an outcome that nobody knows', end('unknown', null), false],
])('%s', (_, saga, forgettable) => {
  expect(isForgettable(saga)).toBe(forgettable);
});
