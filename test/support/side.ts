import type { Result } from '#domain/result.ts';
import type { OnDisk } from './tables.ts';

/** What became of an act: `ok` or libvirt's error code, and what was told of jobs meanwhile. */
export interface Outcome {
  readonly code: number | string;
  readonly heard: readonly string[];
  readonly state: State;
  /** Of a job that is held up: how many clusters it has done. */
  readonly done: number | null;
}

/** All there is to see of a guest's disk. */
export interface State {
  /** What libvirt shows: the active layer first, each with its format. */
  readonly chain: readonly string[];
  readonly clusters: number;
  readonly job: string;
  /** What the guest reads, or null while it is off. */
  readonly guest: readonly string[] | null;
  readonly files: Readonly<Record<string, OnDisk>>;
}

/** What cannot be said of a cluster: it reads as whatever the bytes are taken for. */
export const ANYTHING = '?';

/** Where the two sides differ, one line for each thing; empty when nowhere. */
export function differences(ours: Outcome, theirs: Outcome): readonly string[] {
  const [sim, real] = [ours.state, theirs.state];
  const lines: string[] = [];
  const compare = (what: string, one: unknown, other: unknown) => {
    const [ours, theirs] = [JSON.stringify(one), JSON.stringify(other)];
    if (ours !== theirs) lines.push(`${what}: sim ${ours}, QEMU ${theirs}`);
  };
  const cells = (what: string, one: readonly string[], other: readonly string[]) => {
    const same =
      one.length === other.length &&
      one.every((it, at) => [it, other[at]].includes(ANYTHING) || it === other[at]);
    if (!same) lines.push(`${what}:\n    sim  ${one.join(' ')}\n    QEMU ${other.join(' ')}`);
  };
  compare('answer', ours.code, theirs.code);
  compare('events', ours.heard, theirs.heard);
  compare('chain', sim.chain, real.chain);
  compare('clusters', sim.clusters, real.clusters);
  compare('job', sim.job, real.job);
  if (sim.guest === null || real.guest === null) compare('guest', sim.guest, real.guest);
  else if (real.guest.some((one) => one !== ANYTHING)) cells('guest reads', sim.guest, real.guest);
  for (const name of new Set([...Object.keys(sim.files), ...Object.keys(real.files)])) {
    const [one, other] = [sim.files[name], real.files[name]];
    compare(`header of ${name}`, one?.header, other?.header);
    cells(`tables of ${name}`, one?.cells ?? [], other?.cells ?? []);
  }
  return lines;
}

/** libvirt's code in an answer; or `ok`, or why there is none. */
export function codeOf(answer: Result<unknown, object>): number | string {
  if (answer.ok) return 'ok';
  const { code, kind } = answer.error as { code?: number | string; kind?: string };
  return code ?? kind ?? 'no code';
}
