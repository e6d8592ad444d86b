import { type FileFormat, layersOf } from './chain.ts';
import { park as parkCreate } from './create-end.ts';
import { nextCreate } from './create-saga.ts';
import { parked as parkedDelete } from './delete-end.ts';
import { nextDelete } from './delete-saga.ts';
import type { Event, Next, Saga } from './saga.ts';
import { nextUndo } from './undo-saga.ts';

/** What is common to all kinds of sagas, for whoever drives them. */

export function next(saga: Saga, event: Event): Next<Saga> {
  switch (saga.kind) {
    case 'create':
      return nextCreate(saga, event);
    case 'delete':
      return nextDelete(saga, event);
    case 'undo':
      return nextUndo(saga, event);
  }
}

/** The formats worth remembering: of every file of a chain that we are about to change. */
export function learnt(saga: Saga): readonly FileFormat[] {
  if (saga.at === 'switching') return layersOf(saga.plan.after).map(formatOf);
  if (saga.at === 'merging') return layersOf(saga.plan.before).map(formatOf);
  return saga.at === 'end' ? saga.formats : [];
}

/** The disk of which a block job that an earlier process began may still tell, or null. */
export function expecting(saga: Saga): string | null {
  if (saga.at === 'merging') return saga.plan.target;
  return 'target' in saga ? saga.target : null;
}

/** Set aside for a person, because of a defect of ours. */
export function parked(saga: Saga, reason: string): Saga {
  const end = { at: 'end', outcome: 'unknown', reason, formats: [] } as const;
  switch (saga.kind) {
    case 'create':
      return parkCreate(saga, reason).saga;
    case 'delete':
      return parkedDelete(saga, reason);
    case 'undo':
      return { kind: 'undo', request: saga.request, made: saga.made, ...end };
  }
}

const formatOf = ({ file, format, provenance }: FileFormat) => ({ file, format, provenance });
