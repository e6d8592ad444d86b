import { expect, test } from 'vitest';
import { knownAfter } from '#app/step.ts';
import type { OperationId } from '#domain/ids.ts';
import type { KnownChain } from '#domain/known-chain.ts';
import type { Saga } from '#domain/saga.ts';
import { states } from './support/states.ts';

test('an old operation that is settled leaves the overlay of a later one on top', async () => {
  const [switching] = states().filter(({ kind, at }) => kind === 'create' && at === 'switching');
  if (switching?.kind !== 'create' || switching.at !== 'switching')
    throw new Error('no such state');
  const { request, plan } = switching;
  const { before, after, directory } = plan;
  const maybe = { before, after, ...(directory !== undefined && { directory }) };
  const said = { reason: '', formats: [] } as const;
  const unknown: Saga = { kind: 'create', request, at: 'end', outcome: 'unknown', ...said, maybe };
  const failed: Saga = { kind: 'create', request, at: 'end', outcome: 'failed', ...said };
  const id = 'the old one' as OperationId;
  const files = ['a later one', 'another'] as unknown as KnownChain['files'];
  const later = { directory: '/', files, held: 'nothing', process: null } as const;
  const journal = { chain: async () => later };
  expect(await knownAfter(journal, { id, saga: unknown }, failed)).toMatchObject({
    files,
    held: 'nothing',
  });
});
