import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compose, type Hexagon, production, TOKEN, wrapped } from '#app/composition.ts';
import { loadConfig } from '#app/config.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Order, Side } from './cycle.ts';
import type { LocalCinder } from './local-cinder.ts';
import { Phases } from './phases.ts';
import type { Taken, Trace } from './trace.ts';
import { within } from './within.ts';

const CALLER = { requestId: 'req-00000000-0000-4000-8000-000000000000', globalRequestId: null };

interface Parts {
  readonly hexagon: Hexagon;
  readonly cinder: LocalCinder;
  readonly phases: Phases;
  readonly trace: Trace;
  readonly log: string;
}

/** Ours, in this process: from the request to the last word that reaches Cinder. */
export class Ours implements Side, AsyncDisposable {
  readonly name = 'ours';
  readonly #parts: Parts;

  /** The production hexagon with its journal in `folder`, and this Cinder. */
  static async start(folder: string, cinder: LocalCinder, trace: Trace): Promise<Ours> {
    await mkdir(folder);
    const conf = join(folder, 'chainkeeper.conf');
    const log = join(folder, 'chainkeeper.log');
    await writeFile(
      conf,
      `[DEFAULT]\nstate_path = ${folder}\nlog_file = ${log}\n[api]\nauth_strategy = noauth\n` +
        '[libvirt]\nmax_chain_depth = 200\n' +
        '[cinder]\nauth_type = none\nendpoint = http://127.0.0.1:9/v3\n',
    );
    const config = loadConfig({ files: [conf], env: {} });
    if (!config.ok) throw new Error(config.error.join('\n'));
    const die = (defect: unknown) => {
      throw defect;
    };
    const hexagon = await compose(
      production(config.value, die),
      wrapped(TOKEN.volumes, () => cinder),
    );
    const phases = new Phases(join(folder, 'journal.sqlite'));
    return new Ours({ hexagon, cinder, phases, trace, log });
  }

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  get hypervisor(): Hypervisor {
    return this.#parts.hexagon.hypervisor;
  }

  /** The calls are those of one operation: with several at once only the time itself counts. */
  async prepare(order: Order): Promise<() => Promise<Taken>> {
    return async () => {
      const { hexagon, cinder, phases, trace, log: file } = this.#parts;
      const { assisted } = hexagon;
      const { snapshot } = order;
      const volume = order.volume.id;
      const working = order.kind === 'create' ? 'creating' : 'deleting';
      const told = cinder.snapshotsOf.expect(snapshot, order.volume, working);
      trace.begin();
      const began = performance.now();
      const cpu = process.cpuUsage();
      const answer =
        order.kind === 'create'
          ? await assisted.create({ volume, snapshot, newFile: order.file }, CALLER)
          : await assisted.delete({ volume, snapshot, ...filesOf(order) }, CALLER);
      if (!answer.ok) throw new Error(JSON.stringify(answer.error));
      const at = await within(told).catch(async (error) => {
        const log = (await readFile(file, 'utf8')).trimEnd().split('\n').slice(-15);
        throw new Error(`${order.kind} ${snapshot}: ${error.message}\n${log.join('\n')}`);
      });
      const { user, system } = process.cpuUsage(cpu);
      const { calls } = trace.end(at);
      const waited = await phases.of(snapshot);
      return { ms: at - began, phases: waited, calls, cpuMs: (user + system) / 1000 };
    };
  }

  async settle(): Promise<void> {
    await this.#parts.hexagon.runner.idle();
    // The sender still notes that Cinder has accepted the last word.
    await sleep(5);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#parts.phases[Symbol.dispose]();
    await this.#parts.hexagon[Symbol.asyncDispose]();
  }
}

/** As Cinder words it: `delete_info`. */
export function filesOf({ merge }: Extract<Order, { kind: 'delete' }>) {
  if (merge.kind === 'commit') return { fileToMerge: merge.top, mergeTarget: merge.into };
  return { fileToMerge: merge.onto, mergeTarget: null };
}
