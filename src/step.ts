import type { FileFormat } from '#domain/chain.ts';
import type { Fault } from '#domain/failure.ts';
import { type KnownChain, keeping, knownBy, settled } from '#domain/known-chain.ts';
import type { Result } from '#domain/result.ts';
import type { Event, Evidence, Next, Outcome, Saga } from '#domain/saga.ts';
import type { Clock } from '#ports/clock.ts';
import type { Journal, Operation } from '#ports/journal.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import type { Sender } from './sender.ts';

/** What an effect was, as the event that its saga gets. */
export const did = (result: Result<null, Fault>): Event =>
  result.ok ? { kind: 'did' } : { kind: 'failed', fault: result.error };

export const sameEvidence = (one: Evidence, other: Evidence | null): boolean =>
  one.kind === other?.kind && one.detail === other.detail;

/** What the log has of a step: the evidence, and how the operation ended when it has. */
function logStep(
  telemetry: Telemetry,
  operation: Operation,
  evidence: readonly Evidence[],
  saga: Saga,
): void {
  for (const { kind, detail } of evidence) {
    const level = kind === 'left-frozen' ? 'warning' : 'info';
    telemetry.log(level, `${kind}: ${detail}`, contextOf(operation));
  }
  if (saga.at !== 'end') return;
  telemetry.log(levelOf(saga.outcome), `${saga.outcome}: ${saga.reason}`, contextOf(operation));
}

export interface WriteWorld {
  readonly journal: Pick<Journal, 'commit' | 'chain'>;
  readonly sender: Pick<Sender, 'post'>;
  readonly telemetry: Telemetry;
  readonly clock: Pick<Clock, 'monotonic'>;
}

/**
 * What a step found, and what Cinder must hear of it, is one entry of the journal. `operation` has
 * the saga that the step begins in, and the trace to be written with it.
 */
export async function writeStep(
  { journal, sender, telemetry, clock }: WriteWorld,
  operation: Operation,
  { saga, evidence, tell }: Pick<Next<Saga>, 'saga' | 'evidence' | 'tell'>,
  formats: readonly FileFormat[],
): Promise<void> {
  const chain = await knownAfter(journal, operation, saga);
  const { id, trace } = operation;
  const began = clock.monotonic();
  const entry = { saga, evidence, tell, formats, chain, ...(trace && { trace }) };
  const notice = await journal.commit(id, entry);
  if (notice !== null) sender.post(notice, began);
  logStep(telemetry, operation, evidence, saga);
}

const GOOD: readonly Outcome[] = ['created', 'merged', 'undone'];
const levelOf = (outcome: Outcome) => (GOOD.includes(outcome) ? 'info' : 'warning');

/** What the boot guard goes by from now on; null when the step teaches nothing of the chain. */
export async function knownAfter(
  journal: Pick<Journal, 'chain'>,
  { id, saga: before }: Pick<Operation, 'id' | 'saga'>,
  now: Saga,
): Promise<KnownChain | null> {
  const known = knownBy(before, now);
  if (known === null) return null;
  const last = await journal.chain(now.request.volume);
  const active = before.at === 'end' ? settled(last, known) : known;
  return keeping(last, active, { operation: id, before, now });
}

export const contextOf = (operation: Operation) => ({
  operation: operation.id,
  requestId: operation.requestId,
  globalRequestId: operation.globalRequestId,
});
