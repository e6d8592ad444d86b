import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { compose, type Hexagon, production, TOKEN, wrapped } from '#app/composition.ts';
import { loadConfig } from '#app/config.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Volumes } from '#ports/volumes.ts';
import type { Order, Side } from './cycle.ts';
import type { LocalCinder } from './local-cinder.ts';
import { Phases } from './phases.ts';
import { type Taken, type Trace, timed } from './trace.ts';

const CALLER = { requestId: 'req-00000000-0000-4000-8000-000000000000', globalRequestId: null };
const TOO_LONG_MS = 120_000;

/** Ours, in this process: from the request to the last word that reaches Cinder. */
export class Ours implements Side, AsyncDisposable {
  readonly name = 'ours';
  readonly #hexagon: Hexagon;
  readonly #cinder: LocalCinder;
  readonly #phases: Phases;
  readonly #log: string;

  /** The production hexagon with its journal in `folder`, this Cinder, and probes at its ports. */
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
    const phases = new Phases(trace);
    const hexagon = await compose(
      production(config.value, die),
      wrapped(TOKEN.volumes, () => timed<Volumes>(cinder, trace, phases.cinder)),
      wrapped(TOKEN.journal, (it) => timed(it, trace, phases.journal)),
      wrapped(TOKEN.images, (it) => timed(it, trace, phases.images)),
      wrapped(TOKEN.hypervisor, (it) => timed(it, trace, phases.hypervisor)),
    );
    hexagon.hypervisor.listen((happening) => phases.hear(happening));
    return new Ours(hexagon, cinder, phases, log);
  }

  private constructor(hexagon: Hexagon, cinder: LocalCinder, phases: Phases, log: string) {
    this.#hexagon = hexagon;
    this.#cinder = cinder;
    this.#phases = phases;
    this.#log = log;
  }

  get hypervisor(): Hypervisor {
    return this.#hexagon.hypervisor;
  }

  /** The phases are those of one operation: with several at once only the time itself counts. */
  async prepare(order: Order): Promise<() => Promise<Taken>> {
    return async () => {
      const { assisted } = this.#hexagon;
      const { snapshot } = order;
      const volume = order.volume.id;
      const working = order.kind === 'create' ? 'creating' : 'deleting';
      const told = this.#cinder.snapshotsOf.expect(snapshot, order.volume, working);
      this.#phases.begin();
      const began = performance.now();
      const cpu = process.cpuUsage();
      const answer =
        order.kind === 'create'
          ? await assisted.create({ volume, snapshot, newFile: order.file }, CALLER)
          : await assisted.delete({ volume, snapshot, ...filesOf(order) }, CALLER);
      if (!answer.ok) throw new Error(JSON.stringify(answer.error));
      const at = await within(told).catch(async (error) => {
        const log = (await readFile(this.#log, 'utf8')).trimEnd().split('\n').slice(-15);
        throw new Error(`${order.kind} ${snapshot}: ${error.message}\n${log.join('\n')}`);
      });
      const { user, system } = process.cpuUsage(cpu);
      return { ...this.#phases.trace.end(at), ms: at - began, cpuMs: (user + system) / 1000 };
    };
  }

  async settle(): Promise<void> {
    await this.#hexagon.runner.idle();
    // The sender still notes that Cinder has accepted the last word.
    await sleep(5);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#hexagon[Symbol.asyncDispose]();
  }
}

/** What does not come in a sensible time is an error. */
export async function within<T>(promise: Promise<T>, ms = TOO_LONG_MS): Promise<T> {
  const limit = new AbortController();
  const late = sleep(ms, null, { signal: limit.signal }).then(() => {
    throw new Error(`no last word within ${ms} ms`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    limit.abort();
  }
}

/** As Cinder words it: `delete_info`. */
export function filesOf({ merge }: Extract<Order, { kind: 'delete' }>) {
  if (merge.kind === 'commit') return { fileToMerge: merge.top, mergeTarget: merge.into };
  return { fileToMerge: merge.onto, mergeTarget: null };
}
