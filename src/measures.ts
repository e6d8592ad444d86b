import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Metrics } from '#adapters/operator/prometheus.ts';
import { layersOf } from '#domain/chain.ts';
import type { OperationId, VolumeId } from '#domain/ids.ts';
import type { Outcome, Saga } from '#domain/saga.ts';
import type { Clock } from '#ports/clock.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';
import { type Entry, type Journal, type Notice, PHASES } from '#ports/journal.ts';
import type { Measures } from '#ports/measures.ts';
import { over } from './over.ts';
import type { ProgressBook } from './progress.ts';

/** So many volumes' depths are remembered; a host has hundreds. */
const MOST_VOLUMES = 10_000;
const HOW_OFTEN_MS = 20;

export interface MeterWorld {
  readonly metrics: Metrics;
  readonly progress: ProgressBook;
  readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  readonly version: string;
}

/**
 * Measures the service from outside its parts, by what goes through three of its ports. Nothing of
 * what is measured decides anything.
 */
export class Meter implements Measures {
  readonly #world: MeterWorld;
  readonly #depths = new Map<VolumeId, number>();
  /** When each last word that Cinder has not heard was written, by its number. */
  readonly #unheard = new Map<number, { readonly at: number; readonly update: string }>();
  readonly #lag = monitorEventLoopDelay({ resolution: HOW_OFTEN_MS });
  /** When each operation that is not over was asked for. */
  readonly #asked = new Map<OperationId, number>();
  #journal: Journal | null = null;
  #hypervisor: Hypervisor | null = null;
  #calls = 0;

  constructor(world: MeterWorld) {
    this.#world = world;
    this.#lag.enable();
    // Prometheus takes no rise from what was not there before.
    for (const kind of KINDS) {
      world.metrics.add('chainkeeper_verdict_mismatches_total', { kind }, 0);
      for (const outcome of OUTCOMES) {
        world.metrics.add('chainkeeper_operations_total', { kind, outcome }, 0);
      }
    }
  }

  /** The journal, measured. */
  journal(journal: Journal): Journal {
    this.#journal = journal;
    return over(journal, {
      ask: (operation) => {
        this.#asked.set(operation.id, operation.askedAt);
        return journal.ask(operation);
      },
      drop: (id) => {
        this.#asked.delete(id);
        return journal.drop(id);
      },
      unfinished: async () => {
        const open = await journal.unfinished();
        for (const { id, askedAt } of open) this.#asked.set(id, askedAt);
        return open;
      },
      commit: async (id, entry) => {
        const notice = await journal.commit(id, entry);
        await this.#committed(journal, id, entry, notice);
        return notice;
      },
      settle: async (seq, state, tookMs) => {
        await journal.settle(seq, state, tookMs);
        const word = this.#unheard.get(seq);
        this.#unheard.delete(seq);
        if (word === undefined || state !== 'accepted') return;
        const seconds = (this.#world.clock.monotonic() - word.at) / 1000;
        const { update } = word;
        this.#world.metrics.observe('chainkeeper_acknowledge_seconds', seconds, { update });
      },
    });
  }

  /** The hypervisor, measured. */
  hypervisor(hypervisor: Hypervisor): Hypervisor {
    this.#hypervisor = hypervisor;
    const { metrics, progress } = this.#world;
    const timed = <A extends unknown[], T extends { readonly ok: boolean }>(
      call: string,
      ask: (...args: A) => Promise<T>,
      then: (seconds: number, answer: T, ...args: A) => void = () => {},
    ) => {
      return async (...args: A): Promise<T> => {
        const began = this.#world.clock.monotonic();
        this.#calls += 1;
        try {
          const answer = await ask.apply(hypervisor, args);
          const seconds = (this.#world.clock.monotonic() - began) / 1000;
          metrics.observe('chainkeeper_libvirt_call_seconds', seconds, { call });
          then(seconds, answer, ...args);
          return answer;
        } finally {
          this.#calls -= 1;
        }
      };
    };
    return over(hypervisor, {
      look: timed('look', hypervisor.look, (_, answer, { volume }) => {
        const view = answer.ok ? answer.value : null;
        if (view?.kind !== 'disk') return;
        this.#depth(volume, layersOf(view.chain).length);
        const done = progress.saw(volume, view.job);
        metrics.add('chainkeeper_merge_bytes_total', {}, done);
      }),
      disks: timed('disks', hypervisor.disks),
      snapshot: timed('snapshot', hypervisor.snapshot),
      thaw: timed('thaw', hypervisor.thaw),
      merge: timed('merge', hypervisor.merge, (_, { ok }, { volume, merge }) => {
        if (ok) progress.began(volume, merge.kind);
      }),
      commitActive: timed('commit-active', hypervisor.commitActive),
      pivot: timed('pivot', hypervisor.pivot),
      cancelCommit: timed('cancel', hypervisor.cancelCommit),
      unchain: timed('unchain', hypervisor.unchain),
      flush: timed('flush', hypervisor.flush, (seconds, { ok }, { volume }) => {
        metrics.observe('chainkeeper_barrier_seconds', seconds, { result: ok ? 'ok' : 'failed' });
        if (ok) metrics.add('chainkeeper_merge_bytes_total', {}, progress.finished(volume));
      }),
    });
  }

  /** The files of guests that are shut off, measured. */
  images(images: Images): Images {
    const { metrics, clock } = this.#world;
    const since = (began: number) => (clock.monotonic() - began) / 1000;
    return over(images, {
      copy: async (order) => {
        const began = clock.monotonic();
        const copied = await images.copy(order);
        const labels = { merge: order.merge.kind, result: copied.ok ? 'ok' : 'failed' };
        metrics.observe('chainkeeper_offline_merge_seconds', since(began), labels);
        return copied;
      },
      sync: async (directory, file) => {
        const began = clock.monotonic();
        const synced = await images.sync(directory, file);
        const labels = { result: synced.ok ? 'ok' : 'failed' };
        metrics.observe('chainkeeper_barrier_seconds', since(began), labels);
        return synced;
      },
    });
  }

  async exposition(): Promise<string> {
    const { metrics, version, clock } = this.#world;
    metrics.set('chainkeeper_build_info', 1, { version });
    metrics.set('chainkeeper_libvirt_calls', this.#calls);
    metrics.set('chainkeeper_libvirt_queue', this.#hypervisor?.waiting ?? 0);
    metrics.set('process_resident_memory_bytes', process.memoryUsage.rss());
    metrics.set('process_start_time_seconds', Math.round(clock.now() / 1000 - process.uptime()));
    for (const quantile of [50, 99, 100]) {
      const late = Math.max(0, this.#lag.percentile(quantile) / 1e9 - HOW_OFTEN_MS / 1000);
      const label = { quantile: String(quantile / 100) };
      metrics.set('chainkeeper_event_loop_lag_seconds', late, label);
    }
    this.#lag.reset();
    metrics.clear('chainkeeper_chain_depth');
    for (const depth of this.#depths.values()) metrics.observe('chainkeeper_chain_depth', depth);
    if (this.#journal !== null) await this.#outstanding(this.#journal);
    return metrics.text();
  }

  /** No more of the event loop is watched. */
  stop(): void {
    this.#lag.disable();
  }

  async #outstanding(journal: Journal): Promise<void> {
    const { metrics, clock } = this.#world;
    const open = 'chainkeeper_operations_open';
    metrics.clear(open);
    for (const { saga } of await journal.unfinished()) {
      metrics.add(open, { kind: saga.kind, state: saga.at });
    }
    const [oldest, ...others] = await journal.notices({ state: 'pending' });
    const count = oldest === undefined ? 0 : others.length + 1;
    // A word is written together with the end of its operation.
    const written = oldest && (await journal.operation(oldest.operation))?.updatedAt;
    metrics.set('chainkeeper_outbox_pending', count);
    const age = written === undefined ? 0 : Math.max(0, (clock.now() - written) / 1000);
    metrics.set('chainkeeper_outbox_oldest_seconds', age);
  }

  async #committed(
    journal: Journal,
    id: Parameters<Journal['commit']>[0],
    { saga, trace }: Entry,
    notice: Notice | null,
  ): Promise<void> {
    const { metrics, clock } = this.#world;
    if (notice !== null) {
      const { kind: update } = notice.update;
      this.#unheard.set(notice.seq, { at: clock.monotonic(), update });
    }
    if (saga.at !== 'end') return;
    metrics.add('chainkeeper_operations_total', { kind: saga.kind, outcome: outcomeOf(saga) });
    if (saga.outcome === 'unknown') {
      metrics.add('chainkeeper_verdict_mismatches_total', { kind: saga.kind });
    }
    // One that was over before, as when a person settles it, is in the journal alone.
    const askedAt = this.#asked.get(id) ?? (await journal.operation(id))?.askedAt;
    this.#asked.delete(id);
    if (askedAt === undefined) return;
    const seconds = Math.max(0, (clock.now() - askedAt) / 1000);
    metrics.observe('chainkeeper_operation_seconds', seconds, { kind: saga.kind });
    for (const phase of PHASES) {
      const ms = trace?.[phase];
      const labels = { kind: saga.kind, phase };
      if (ms !== undefined) metrics.observe('chainkeeper_phase_seconds', ms / 1000, labels);
    }
  }

  #depth(volume: VolumeId, depth: number): void {
    this.#depths.delete(volume);
    this.#depths.set(volume, depth);
    const [oldest] = this.#depths.keys();
    if (this.#depths.size > MOST_VOLUMES && oldest !== undefined) this.#depths.delete(oldest);
  }
}

const KINDS: readonly Saga['kind'][] = ['create', 'delete', 'undo'];
const OUTCOMES: readonly Outcome[] = [
  ...(['created', 'merged', 'undone', 'failed', 'withdrawn', 'unknown'] as const),
];

const outcomeOf = (saga: Saga): string => (saga.at === 'end' ? saga.outcome : '');
