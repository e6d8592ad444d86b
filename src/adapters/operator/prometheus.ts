/** A family of metrics, by Prometheus' conventions: base units, `_total` for what only grows. */
export interface Family {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Of a histogram: the upper bounds, rising; the last one, without bound, is not listed. */
  readonly buckets?: readonly number[];
}

export type Labels = Readonly<Record<string, string>>;

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** Every metric that there is. contrib/prometheus may name no other. */
export const FAMILIES = {
  chainkeeper_build_info: { type: 'gauge', help: 'Always 1; the label says which version runs.' },
  chainkeeper_operations_total: {
    type: 'counter',
    help: 'Operations that have ended, by kind and outcome.',
  },
  chainkeeper_operations_open: {
    type: 'gauge',
    help: 'Operations that were accepted and have not ended, by kind and state.',
  },
  chainkeeper_verdict_mismatches_total: {
    type: 'counter',
    help: 'Operations whose end contradicts what was predicted: a person must look.',
  },
  chainkeeper_operation_seconds: {
    type: 'histogram',
    help: 'From the request to the end of an operation, by kind.',
    buckets: [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 7200],
  },
  chainkeeper_phase_seconds: {
    type: 'histogram',
    help: 'What the time of operations that have ended was spent on, by kind and phase.',
    buckets: SECONDS,
  },
  chainkeeper_merge_bytes_total: {
    type: 'counter',
    help: "What block jobs were seen to get done, in libvirt's unit: with QEMU, bytes.",
  },
  chainkeeper_barrier_seconds: {
    type: 'histogram',
    help: 'How long it took to have what a merge wrote on disk, by result.',
    buckets: SECONDS,
  },
  chainkeeper_offline_merge_seconds: {
    type: 'histogram',
    help: 'How long qemu-img copied while the guest was off, by merge and result.',
    buckets: [0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 7200],
  },
  chainkeeper_acknowledge_seconds: {
    type: 'histogram',
    help: 'From the last word of an operation in the journal to the yes of Cinder.',
    buckets: SECONDS,
  },
  chainkeeper_outbox_pending: {
    type: 'gauge',
    help: 'Words that Cinder has not yet heard.',
  },
  chainkeeper_outbox_oldest_seconds: {
    type: 'gauge',
    help: 'How long the oldest of them has waited; 0 when there is none.',
  },
  chainkeeper_chain_depth: {
    type: 'histogram',
    help: 'Layers of the chains as they were last seen; a volume counts once.',
    buckets: [1, 2, 4, 8, 16, 32, 64],
  },
  chainkeeper_libvirt_call_seconds: {
    type: 'histogram',
    help: 'How long what was asked of libvirt took, its wait for a lane included, by call.',
    buckets: SECONDS,
  },
  chainkeeper_libvirt_calls: {
    type: 'gauge',
    help: 'What has been asked of libvirt and is not answered.',
  },
  chainkeeper_libvirt_queue: {
    type: 'gauge',
    help: 'How many guests wait for one of the connections to libvirt.',
  },
  chainkeeper_event_loop_lag_seconds: {
    type: 'gauge',
    help: 'By how much the event loop was late since the last scrape, by quantile.',
  },
  process_start_time_seconds: {
    type: 'gauge',
    help: 'When the process started, in seconds since 1970.',
  },
  process_resident_memory_bytes: { type: 'gauge', help: 'Memory that the process has.' },
} as const satisfies Readonly<Record<string, Family>>;

export type MetricName = keyof typeof FAMILIES;

interface Series {
  readonly labels: Labels;
  value: number;
  /** Of a histogram: how many were no more than each bound, and how many there were. */
  readonly counts: number[];
  count: number;
}

/** Numbers, and the text in which Prometheus reads them. */
export class Metrics {
  readonly #series = new Map<MetricName, Map<string, Series>>();

  /** To a counter; nothing is taken away from one. */
  add(name: MetricName, labels: Labels = {}, by = 1): void {
    this.#of(name, labels).value += Math.max(0, by);
  }

  set(name: MetricName, value: number, labels: Labels = {}): void {
    this.#of(name, labels).value = value;
  }

  /** A value of a histogram. */
  observe(name: MetricName, value: number, labels: Labels = {}): void {
    const series = this.#of(name, labels);
    series.value += value;
    series.count += 1;
    for (const [at, bound] of boundsOf(name).entries()) {
      if (value <= bound) series.counts[at] = (series.counts[at] ?? 0) + 1;
    }
  }

  /** Takes all series of a metric away: what is no longer there has no value. */
  clear(name: MetricName): void {
    this.#series.delete(name);
  }

  text(): string {
    const names = Object.keys(FAMILIES) as MetricName[];
    return names.map((name) => this.#family(name)).join('');
  }

  #family(name: MetricName): string {
    const { type, help } = FAMILIES[name];
    const series = [...(this.#series.get(name)?.values() ?? [])];
    const lines = series.flatMap((one) =>
      type === 'histogram' ? histogram(name, one) : [line(name, one.labels, one.value)],
    );
    return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines, ''].join('\n');
  }

  #of(name: MetricName, labels: Labels): Series {
    const all = this.#series.get(name) ?? new Map<string, Series>();
    this.#series.set(name, all);
    const key = JSON.stringify(Object.entries(labels).sort());
    const known = all.get(key);
    if (known !== undefined) return known;
    const made: Series = { labels, value: 0, counts: boundsOf(name).map(() => 0), count: 0 };
    all.set(key, made);
    return made;
  }
}

function boundsOf(name: MetricName): readonly number[] {
  const family: Family = FAMILIES[name];
  return family.buckets ?? [];
}

function histogram(name: MetricName, { labels, value, counts, count }: Series): readonly string[] {
  const buckets = boundsOf(name).map((bound, at) =>
    line(`${name}_bucket`, { ...labels, le: String(bound) }, counts[at] ?? 0),
  );
  return [
    ...buckets,
    line(`${name}_bucket`, { ...labels, le: '+Inf' }, count),
    line(`${name}_sum`, labels, value),
    line(`${name}_count`, labels, count),
  ];
}

function line(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([key, text]) => `${key}="${quoted(text)}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`;
}

const quoted = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
