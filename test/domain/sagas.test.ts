import { expect, test } from 'vitest';
import type { Saga } from '#domain/saga.ts';
import { expecting, parked } from '#domain/sagas.ts';
import { states } from '../support/states.ts';

const all = states();
const end = { at: 'end', outcome: 'unknown', reason: 'a defect', formats: [] } as const;
/** What of a state whoever finds out how it ended will need. */
const kept = (saga: Saga) => {
  if (saga.kind === 'create') {
    if (saga.at !== 'switching') return {};
    const { before, after, directory, inode } = saga.plan;
    return { maybe: { before, after, directory }, ...(inode !== undefined && { inode }) };
  }
  if (saga.kind === 'undo') return { made: saga.made };
  switch (saga.at) {
    case 'merging':
    case 'flushing':
    case 'restoring':
    case 'offline':
      return { plan: saga.plan, gone: null };
    case 'confirming':
      return { gone: saga.gone, formats: saga.formats };
    default:
      return { gone: null };
  }
};

test.each(all)('$kind $at is set aside with all that is needed to find out', (saga) => {
  const { kind, request } = saga;
  expect(parked(saga, 'a defect')).toEqual({ kind, request, ...end, ...kept(saga) });
});

test('what has been set aside can be set aside again', () => {
  for (const saga of all) {
    const { kind, request } = saga;
    const again = parked(parked(saga, 'another'), 'a defect');
    expect(again).toMatchObject({ kind, request, ...end });
  }
});

test('a job of an earlier process is heard of a merge, and of an undo that has begun', () => {
  const heard = all.filter((saga) => expecting(saga) !== null);
  expect(heard.map(({ kind, at }) => `${kind} ${at}`)).toEqual([
    'delete merging',
    'undo committing',
    'undo pivoting',
    'undo canceling',
    'undo flushing',
  ]);
  for (const saga of heard) expect(expecting(saga)).toBe('vda');
});
