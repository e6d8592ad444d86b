import { aborting } from '#domain/aborting.ts';
import type { Fault, Refusal } from '#domain/failure.ts';
import type { OperationId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import { headersToSettle, settling, unsettleable, type Verdict } from '#domain/settling.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import type { Clock } from '#ports/clock.ts';
import type { Operation } from '#ports/journal.ts';
import type { Operate } from '#ports/operate.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { type LookWorld, look } from './look.ts';
import type { Runner } from './runner.ts';
import type { Sender } from './sender.ts';
import { type Service, type Time, tooSlow } from './service.ts';
import { writeStep } from './step.ts';

export interface OperateWorld extends LookWorld {
  readonly runner: Runner;
  readonly sender: Sender;
  readonly service: Service;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
}

type Said = Result<Operation, Trouble> | null;

/** What a person does to an operation, by the same journal and the same eyes as the program. */
export class Operator implements Operate {
  readonly #world: OperateWorld;

  constructor(world: OperateWorld) {
    this.#world = world;
  }

  async abort(id: OperationId): Promise<Said> {
    const { journal, runner } = this.#world;
    const answer = await runner.abort(id);
    const now = await journal.operation(id);
    if (now === null || answer?.ok) return now && ok(now);
    if (answer !== null) return refused(answer.error);
    const why = aborting(now.saga);
    return why.ok ? fault(STOPPING) : refused(why.error);
  }

  async ended(id: OperationId, withinMs: number): Promise<void> {
    const { journal, runner, clock } = this.#world;
    const over = new AbortController();
    // Heard before it is looked up, or the end could come in between.
    const deafen = runner.whenEnded((operation) => {
      if (operation.id === id) over.abort();
    });
    try {
      const operation = await journal.operation(id);
      if (operation === null || operation.saga.at === 'end') return;
      await clock.sleep(withinMs, over.signal);
    } finally {
      deafen();
    }
  }

  async settle(id: OperationId, as: Verdict): Promise<Said> {
    const { journal, service } = this.#world;
    const found = await journal.operation(id);
    if (found === null) return null;
    // Nobody has to wait for another operation to hear it, nor has libvirt to be there.
    const refusal = unsettleable(found.saga);
    if (refusal !== null) return refused(refusal);
    return service.inTurn(found.saga.request.volume, (time) => this.#settle(found, as, time));
  }

  /** No request of the volume is decided meanwhile, and none of its operations runs. */
  async #settle({ id }: Operation, as: Verdict, time: Time): Promise<Result<Operation, Trouble>> {
    const { journal, runner } = this.#world;
    const operation = await journal.operation(id);
    if (operation === null) return fault(STOPPING);
    const { saga } = operation;
    const { volume, server } = saga.request;
    // It cannot be the one that is asked about: that one has ended, or is refused for it below.
    if (saga.at === 'end' && runner.busy(volume)) return refused({ kind: 'at-work', volume });
    time.asking = 'libvirt';
    const sight = await look(this.#world, {
      disk: { server, volume },
      headers: headersToSettle(saga),
      newcomer: null,
      snapshot: null,
      attachment: null,
      late: () => false,
    });
    if (!sight.ok) return fault(sight.error);
    const step = settling(saga, as, sight.value);
    if (!step.ok) return refused(step.error);
    if (time.late.aborted) return tooSlow(time.asking);
    // From here on the journal has the last word, and the answer waits for it.
    time.decide();
    const { saga: settled } = step.value;
    await writeStep(this.#world, operation, step.value, []);
    if (settled.at !== 'end') runner.start({ ...operation, saga: settled });
    return ok((await journal.operation(id)) ?? { ...operation, saga: settled });
  }
}

const refused = (refusal: Refusal) => err<Trouble>({ kind: 'refused', refusal });
const fault = (it: Fault) => err<Trouble>({ kind: 'fault', fault: it });

/** It is open, and nobody drives it. */
const STOPPING: Fault = {
  kind: 'unreachable',
  who: 'the journal',
  detail: 'the service is about to stop',
};
