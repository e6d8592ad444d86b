import type { OperationId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import type { Operation } from '#ports/journal.ts';
import { nodesFrom } from '../node.ts';
import type { Program } from './program.ts';
import type { World } from './world.ts';

/**
 * How long nobody touches what has ended as unknown: a call that was slow, or stuck in a QEMU that
 * hung, has come through by then. Whoever is in more of a hurry restarts libvirtd first.
 */
const PATIENT_MS = 400_000;

/** An operator puts an end to something that was asked for. */
export function abort(world: World, volume: VolumeId): void {
  const open = world.journal.all.filter(
    ({ accepted, saga }) => accepted && saga.at !== 'end' && saga.request.volume === volume,
  );
  const found = open[world.choices.pick('operator aborts', Math.max(1, open.length))];
  if (found !== undefined) void abortOne(world, found.id);
}

export async function abortOne(world: World, id: OperationId): Promise<void> {
  const said = await ordered(world, `abort ${id}`, ({ operator }) => operator.abort(id));
  if (said?.ok) world.saw('an operator aborts');
  if (said?.ok === false) world.saw('an operator aborts too late');
}

/** An operator says what became of something; now and then it is a mistake. */
export async function settle(world: World, volume: VolumeId, patient = false): Promise<void> {
  const { clock, journal, choices, parked } = world;
  const found = journal.all.find(
    ({ id, saga }) =>
      saga.at === 'end' &&
      saga.outcome === 'unknown' &&
      saga.request.volume === volume &&
      (patient || clock.now() - (parked.get(id) ?? clock.now()) > PATIENT_MS),
  );
  const guest = world.cloud.disks.find((one) => one.volume === volume)?.guest;
  if (found === undefined || guest?.monitor.hangs || clock.now() < world.lateUntil) return;
  const right = verdictOf(world, found);
  const wrong = right === 'done' ? 'failed' : 'done';
  const as = choices.pick('operator errs', 4) === 3 ? wrong : right;
  const said = await ordered(world, `settle ${found.id} as ${as}`, ({ operator }) =>
    operator.settle(found.id, as),
  );
  if (said?.ok) world.saw(`an operator settles a ${found.saga.kind} as ${as}`);
  if (said?.ok) world.saw('an operator settles');
  if (said?.ok === false) world.saw('an operator is not believed');
}

/** What a look at the live chain says. */
function verdictOf(world: World, { saga }: Operation): 'done' | 'failed' {
  const truth = world.truths.find(({ it }) => it.volume === saga.request.volume);
  const live = [...nodesFrom(truth?.disk.top ?? null)].map(({ file }) => file.name);
  if (saga.kind === 'create') return live.includes(saga.request.newFile) ? 'done' : 'failed';
  if (saga.kind === 'undo') return live.includes(saga.request.newFile) ? 'failed' : 'done';
  const { fileToMerge, mergeTarget } = saga.request;
  if (mergeTarget === null) {
    const at = fileToMerge === null ? live.length : live.indexOf(fileToMerge);
    return at === 1 ? 'done' : 'failed';
  }
  return fileToMerge !== null && live.includes(fileToMerge) ? 'failed' : 'done';
}

/** Null when the service is down, or dies before it answers. */
async function ordered(
  world: World,
  what: string,
  order: (program: Program) => Promise<Result<Operation, Trouble> | null>,
): Promise<Result<Operation, Trouble> | null> {
  const { life, program } = world;
  if (program === null || life.over) return null;
  world.tell('operator', what);
  const ended = new Promise<null>((resolve) => life.atEnd(() => resolve(null)));
  const said = await Promise.race([order(program), ended]);
  world.tell('operator', said?.ok ? `is obeyed: ${said.value.saga.at}` : `is not: ${why(said)}`);
  return said;
}

function why(said: Result<Operation, Trouble> | null): string {
  if (said === null || said.ok) return 'nobody answers';
  const { error } = said;
  return error.kind === 'refused' ? JSON.stringify(error.refusal) : error.fault.detail;
}
