import type { SeenLayer } from './chain.ts';
import {
  changedBy,
  complete,
  type FileFormat,
  filesOf,
  find,
  formatsOf,
  layersOf,
  means,
} from './chain.ts';
import { isSame } from './create-header.ts';
import type { CreateSaga } from './create-saga.ts';
import { barrier } from './delete-effects.ts';
import { leftover } from './delete-end.ts';
import type { DeleteSaga } from './delete-saga.ts';
import { explain, type Refusal } from './failure.ts';
import { type FileName, QCOW2 } from './ids.ts';
import type { DeletePlan } from './plan-delete.ts';
import { err, ok, type Result } from './result.ts';
import { type Evidence, end, go, type Next, type Saga } from './saga.ts';
import type { DiskView, Sight as Everything } from './sight.ts';
import type { UndoSaga } from './undo-saga.ts';

/** What a person says became of an operation whose outcome is unknown. */
export type Verdict = 'done' | 'failed';

/** What Cinder says is no proof of anything here. */
type Sight = Pick<Everything, 'guest' | 'headers' | 'known'>;

type CreateEnd = Extract<CreateSaga, { at: 'end' }>;
type DeleteEnd = Extract<DeleteSaga, { at: 'end' }>;
type UndoEnd = Extract<UndoSaga, { at: 'end' }>;
type Settled = Result<Next<Saga>, Refusal>;

/**
 * A person decides where the program could not; but nothing is believed that the live chain or a
 * header contradicts. `done` makes Cinder remove a file, so it must be provable; `failed` makes it
 * keep every file of a delete, so it is refused only where the merge is there to be seen.
 */
export function settling(saga: Saga, as: Verdict, sight: Sight): Settled {
  const refusal = unsettleable(saga);
  if (saga.at !== 'end' || refusal !== null) return err(refusal ?? notEnded(saga));
  if (saga.kind === 'undo') return undone(saga, as, sight);
  if (saga.kind === 'create') return as === 'done' ? created(saga, sight) : dropped(saga, sight);
  return as === 'done' ? merged(saga, sight) : kept(saga, sight);
}

/** Why no verdict on it is wanted, whatever is to be seen; null when one is. */
export function unsettleable(saga: Saga): Refusal | null {
  if (saga.at !== 'end') return notEnded(saga);
  return saga.outcome === 'unknown' ? null : { kind: 'has-ended', outcome: saga.outcome };
}

const notEnded = ({ at }: Saga): Refusal => ({ kind: 'not-ended', at });

/** The files whose headers a verdict rests on. */
export function headersToSettle(saga: Saga): readonly FileName[] {
  if (saga.kind === 'create') return [saga.request.newFile];
  const plan = saga.kind === 'delete' && saga.at === 'end' ? saga.plan : undefined;
  if (plan === undefined) return [];
  const below = floorOf(plan);
  return below === null ? [plan.repointed] : [plan.repointed, below];
}

/** Cinder hears nothing of an undo: it has given the snapshot up before. */
function undone(saga: UndoEnd, as: Verdict, { guest: view }: Sight): Settled {
  const { kind, request, made } = saga;
  const no = contradicted(as);
  if (view.kind === 'absent') return no(`it cannot be seen: ${explain(view.why)}`);
  const inUse = find(view.chain, request.newFile) !== null;
  if (as === 'done' && inUse) return no(`${request.newFile} is in use`);
  if (as === 'failed' && !inUse) return no(`${request.newFile} is not in use`);
  const last = { kind, request, made, at: 'end', formats: [] } as const;
  return as === 'done'
    ? ok(end({ ...last, outcome: 'undone', reason: DONE }, null, said(as)))
    : ok(end({ ...last, outcome: 'failed', reason: FAILED }, null, said(as)));
}

function created(saga: CreateEnd, sight: Sight): Settled {
  const { newFile } = saga.request;
  const view = sight.guest;
  const no = contradicted('done');
  if (view.kind === 'absent') return no(`it cannot be seen: ${explain(view.why)}`);
  const layer = find(view.chain, newFile);
  if (layer === null) return no(`${newFile} is not in the chain of ${chainOf(view)}`);
  if (layer.format !== null && layer.format !== QCOW2) {
    return no(`the guest has ${newFile} as ${layer.format}`);
  }
  const lie = headerLie(layer, layer.on, view, sight);
  if (lie !== null) return no(lie);
  const header = sight.headers[newFile];
  if (header?.ok && !isSame(saga, header.value)) return no(`another file is called ${newFile} now`);
  const formats: readonly FileFormat[] = [
    { file: newFile, format: QCOW2, provenance: layer.format === null ? 'assumed' : 'reported' },
  ];
  const last = { ...bare(saga), outcome: 'created', reason: DONE, formats } as const;
  const evidence: Evidence = { kind: 'switched', detail: `${view.target} is on ${chainOf(view)}` };
  return ok(end(last, { kind: 'created', formats }, said('done'), evidence));
}

/** An overlay that may be in use is never given up: Cinder would remove it with what is in it. */
function dropped(saga: CreateEnd, sight: Sight): Settled {
  const { newFile } = saga.request;
  const view = sight.guest;
  const no = contradicted('failed');
  if (view.kind === 'absent') return no(`it cannot be seen: ${explain(view.why)}`);
  if (find(view.chain, newFile) !== null) return no(`${newFile} is in use`);
  const last = { ...bare(saga), outcome: 'failed', reason: FAILED, formats: [] } as const;
  return ok(end(last, { kind: 'create-failed' }, said('failed')));
}

function merged(saga: DeleteEnd, sight: Sight): Settled {
  const { plan } = saga;
  const no = contradicted('done');
  const view = sight.guest;
  if (view.kind === 'absent') return no(`it cannot be seen: ${explain(view.why)}`);
  if (plan === undefined) return again(saga, view);
  const { process } = plan;
  if (process === null) return no(UNPROVEN_OFFLINE);
  if (view.process !== process) return no(UNPROVEN);
  if (view.job !== null) return no(`a ${view.job.kind} job is at work on ${view.target}`);
  const gone = leftover(plan);
  if (find(view.chain, gone) !== null) return no(`${gone} is in the chain of ${chainOf(view)}`);
  const below = floorOf(plan);
  const upper = layersOf(view.chain).find(({ on }) => (on?.file ?? null) === below);
  if (upper === undefined) return no(`${below} is not in the chain of ${chainOf(view)}`);
  const lie = headerLie(upper, upper.on, view, sight);
  if (lie !== null) return no(lie);
  const after = complete(view.chain, sight.known);
  if (!after.ok) return after;
  const formats = formatsOf(changedBy(plan.before, plan.merge), view.chain, after.value);
  const evidence: Evidence = { kind: 'completed', detail: `${gone} is no longer in the chain` };
  const { kind, request } = saga;
  // Its tables may be in QEMU's memory only: the operation goes on where that is seen to.
  const flushing = { ...plan, process, target: view.target, after: after.value };
  const next = { kind, request, at: 'flushing', plan: flushing, formats } as const;
  return ok(go(next, barrier(flushing), said('done'), evidence));
}

/** Nothing was under way; it may have been about what an earlier request had merged. */
function again(saga: DeleteEnd, view: DiskView): Settled {
  const no = contradicted('done');
  const { gone, formats } = saga;
  if (gone === null) return no('no merge was ever asked for');
  if (find(view.chain, gone) !== null) return no(`${gone} is in the chain of ${chainOf(view)}`);
  const last = { ...bare(saga), outcome: 'merged', reason: DONE, formats, gone } as const;
  const evidence: Evidence = { kind: 'already', detail: `${gone} is no longer in the chain` };
  return ok(end(last, { kind: 'deleted', formats }, said('done'), evidence));
}

/** Whoever asks for it again is bound to the same arguments, unless the file is in the chain. */
function kept(saga: DeleteEnd, sight: Sight): Settled {
  const { plan } = saga;
  const view = sight.guest;
  const no = contradicted('failed');
  const gone = plan === undefined ? saga.gone : leftover(plan);
  const same = view.kind === 'disk' && (plan === undefined || view.process === plan.process);
  if (same && view.job !== null) return no(`a ${view.job.kind} job is at work on ${view.target}`);
  if (same && gone !== null && find(view.chain, gone) === null) {
    return no(`${gone} is no longer in the chain of ${chainOf(view)}`);
  }
  const last = { ...bare(saga), outcome: 'failed', reason: FAILED, formats: [], gone } as const;
  return ok(end(last, { kind: 'delete-failed' }, said('failed')));
}

/** The file that the merge leaves below the one that it repoints. */
const floorOf = ({ merge }: DeletePlan): FileName | null =>
  merge.kind === 'commit' ? merge.into : merge.onto;

/** Why the next start of the guest would have another chain than this layer has now, or null. */
function headerLie(
  layer: SeenLayer,
  below: SeenLayer | null,
  view: DiskView,
  { headers }: Sight,
): string | null {
  const header = headers[layer.file];
  if (header === undefined || !header.ok) return `the header of ${layer.file} was not read`;
  // The XML of a guest that is off may end anywhere.
  if (view.process === null && below === null) return null;
  const { backingFile, backingFormat } = header.value;
  if (backingFile !== (below?.file ?? null)) {
    return `the header of ${layer.file} names ${backingFile ?? 'no backing file'}`;
  }
  if (below?.format == null || means(backingFormat, below.format)) return null;
  return `the header of ${layer.file} calls ${below.file} ${backingFormat ?? 'nothing'}`;
}

const bare = <S extends CreateEnd | DeleteEnd>({
  kind,
  request,
}: S): Pick<S, 'kind' | 'request'> & {
  readonly at: 'end';
} => ({ kind, request, at: 'end' });

const contradicted =
  (as: Verdict) =>
  (seen: string): Settled =>
    err({ kind: 'contradicted', as, seen });

const said = (as: Verdict): Evidence => ({ kind: 'settled', detail: `an operator: it is ${as}` });

const chainOf = (view: DiskView): string => filesOf(view.chain).join(' on ');

const UNPROVEN =
  'the QEMU that merged is gone, and nobody can tell whether all of it had reached the disk';
const UNPROVEN_OFFLINE =
  'qemu-img merged it, and nobody can tell whether all of it had reached the disk';
const DONE = 'an operator looked, and settled it as done';
const FAILED = 'an operator looked, and settled it as failed';
