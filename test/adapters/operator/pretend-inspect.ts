import { systemClock } from '#adapters/system/clock.ts';
import type { OperationId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Answer, AssistedSnapshots, Caller, Trouble } from '#ports/assisted-snapshots.ts';
import type { ChainReport, Diagnosis, Inspect, PlanReport, Progress } from '#ports/inspect.ts';
import type { Change, Operation } from '#ports/journal.ts';
import type { Measures } from '#ports/measures.ts';
import type { Operate } from '#ports/operate.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { chain, file, format } from '../../support/chains.ts';
import { disk, header, headersOf, SERVER, SNAPSHOT, VOLUME } from '../../support/sights.ts';

export const CHAIN: ChainReport = {
  volume: VOLUME,
  guest: disk(chain('s2', 's1', 'v')),
  headers: headersOf(chain('s2', 's1', 'v')),
  cinder: 's2',
  snapshots: [],
  findings: [],
};
export const DIAGNOSED: Diagnosis = {
  volume: VOLUME,
  server: SERVER,
  guest: 'instance-00000001',
  target: 'vda',
  report: ok(CHAIN),
};
export const LYING: ChainReport = {
  ...CHAIN,
  headers: { s2: header()('/etc/\u001b[2Jpasswd', 'raw'), s1: header()('v', 'qcow2') },
  cinder: 's1',
  findings: [
    { code: 'header-lies', severity: 'error', saw: 'the header of s2 lies', todo: 'mend it' },
    { code: 'chain-deep', severity: 'warning', saw: 'it is deep', todo: 'delete' },
  ],
};
export const PLAN: PlanReport = {
  action: 'commit s1 into v',
  before: chain('s2', 's1', 'v'),
  after: chain('s2', 'v'),
  fileFormat: [{ file: file('v'), format: format('raw'), provenance: 'reported' }],
  mend: null,
  by: {
    server: SERVER,
    target: 'vda',
    directory: '/mnt',
    size: 2 ** 30,
    running: true,
    encrypted: false,
  },
  merge: { kind: 'commit', top: file('s1'), into: file('v') },
  mends: null,
};
const request = { volume: VOLUME, snapshot: SNAPSHOT, server: SERVER };
export const ENDED: Operation = {
  id: 'op-1' as OperationId,
  saga: {
    kind: 'delete',
    request: { ...request, fileToMerge: file('s1'), mergeTarget: file('v') },
    at: 'end',
    outcome: 'merged',
    reason: 'the chain is s2 on v',
    formats: PLAN.fileFormat,
    gone: file('s1'),
  },
  accepted: true,
  requestId: 'req-1',
  globalRequestId: null,
  askedAt: 1_700_000_000_000,
  updatedAt: 1_700_000_001_500,
  trace: { preflight: 2.125, event: 40 },
};
export const OPEN: Operation = {
  ...ENDED,
  id: 'op-2' as OperationId,
  saga: {
    kind: 'create',
    request: { ...request, newFile: file('new') },
    at: 'accepted',
    limits: { maxChainDepth: 8 },
  },
};
export const ROTTEN: Trouble = {
  kind: 'refused',
  refusal: { kind: 'not-attached', volume: VOLUME },
};
export const AWAY: Trouble = {
  kind: 'fault',
  fault: { kind: 'unreachable', who: 'libvirt', detail: 'no socket' },
};
export const SAID_NO: Trouble = {
  kind: 'fault',
  fault: { kind: 'rejected', who: 'libvirt', code: 1, detail: 'internal error' },
};

export interface Pretended {
  readonly inspect: Inspect;
  /** What was asked, in order. */
  readonly asked: unknown[];
  /** What the next questions about chains and plans get. */
  chain: Result<ChainReport, Trouble>;
  plan: Result<PlanReport, Trouble>;
  diagnoses: Result<readonly Diagnosis[], Trouble>;
  changes: Change[];
  progress: Progress | null;
}

export function pretendInspect(): Pretended {
  const asked: unknown[] = [];
  const it: Pretended = {
    asked,
    chain: ok(CHAIN),
    plan: ok(PLAN),
    diagnoses: ok([DIAGNOSED]),
    changes: [],
    progress: null,
    inspect: {
      chain: async (ref) => note({ ref }, ref === 'gone' ? err(ROTTEN) : it.chain),
      diagnoses: async () => it.diagnoses,
      formats: async () => PLAN.fileFormat,
      planCreate: async (plan) => note(plan, it.plan),
      planDelete: async (plan) => note(plan, it.plan),
      changes: async (after) => {
        note({ changes: after }, null);
        if (after === null) return { last: 7, operations: [{ seq: 7, operation: OPEN }] };
        const operations = it.changes.filter(({ seq }) => seq > after);
        return { last: operations.at(-1)?.seq ?? after, operations };
      },
      progress: () => it.progress,
      operations: async (state, limit) => note({ state, limit }, [OPEN, ENDED]),
      operation: async (id) => {
        if (id === 'bug') throw new Error('we contradict ourselves');
        if (id === OPEN.id) return { operation: OPEN, evidence: [], notices: [] };
        if (id !== ENDED.id) return null;
        return {
          operation: ENDED,
          evidence: [{ seq: 1, at: ENDED.askedAt, kind: 'decided', detail: 'commit\ns1 into v' }],
          notices: [
            {
              seq: 4,
              operation: ENDED.id,
              snapshot: SNAPSHOT,
              update: { kind: 'deleted', formats: PLAN.fileFormat },
              state: 'accepted',
              tookMs: 12.5,
            },
          ],
        };
      },
    },
  };
  const note = <T>(what: unknown, answer: T): T => {
    asked.push(what);
    return answer;
  };
  return it;
}

/** What the next orders get, and what was ordered. */
export function pretendOperate() {
  const it = {
    ordered: [] as unknown[],
    answer: ok(ENDED) as Result<Operation, Trouble> | null,
  };
  const operate: Operate = {
    abort: async (id) => {
      it.ordered.push({ abort: id });
      return it.answer;
    },
    ended: async (id, withinMs) => {
      if (withinMs > 0) it.ordered.push({ ended: id, withinMs });
    },
    settle: async (id, as) => {
      it.ordered.push({ settle: id, as });
      return it.answer;
    },
  };
  return Object.assign(it, { operate });
}

/** What Cinder's requests get, and what was asked by whom. */
export function pretendAssisted() {
  const it = { asked: [] as unknown[], answer: ok({ operation: OPEN.id }) as Answer };
  const note = async (request: object, caller: Caller) => {
    it.asked.push({ ...request, ...caller });
    return it.answer;
  };
  const assisted: AssistedSnapshots = { create: note, delete: note };
  return Object.assign(it, { assisted });
}

export const pretendClock = {
  uuid: () => '6ba7b810-9dad-41d1-80b4-00c04fd430c8',
  now: () => ENDED.updatedAt + 60_000,
  monotonic: () => performance.now(),
  sleep: systemClock.sleep,
};

export function pretendTelemetry(): Telemetry & { readonly lines: string[] } {
  const lines: string[] = [];
  return { lines, log: (level, message) => lines.push(`${level} ${message}`) };
}

export const pretendMeasures: Measures = { exposition: async () => 'chainkeeper_a_total 1\n' };
