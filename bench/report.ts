import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, release } from 'node:os';
import type { Sample, Verb } from './cycle.ts';
import { median, type Summary, summarize } from './statistics.ts';

const VERBS: readonly Verb[] = ['create', 'commit', 'pull with base', 'pull all'];

interface Row {
  readonly verb: Verb;
  readonly bare: Summary;
  readonly ours: Summary;
  /** Of the two that followed each other in one round. */
  readonly ratio: Summary;
  readonly difference: Summary;
}

/** Prints what was measured, and writes it down with every sample. */
export function report(samples: readonly Sample[], rounds: number, file: string): void {
  const rows = VERBS.map((verb) => rowOf(verb, samples));
  const machine = {
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    kernel: release(),
    node: process.version,
    libvirt: versionOf('libvirtd'),
    qemu: versionOf('qemu-system-x86_64'),
  };
  console.log(`One paused guest, ${rounds} rounds, bare and ours in turn; milliseconds.\n`);
  console.log(table(rows.map(wordsOf)));
  console.log('\nratio and difference: median of the pairs (middle half)');
  console.log('bare: the libvirt call, its event, and for a pull the barrier (block resize)');
  console.log('ours: from the request to the last word to a Cinder that takes no time\n');
  console.log('Where our time goes: median milliseconds (and where the bare call spends its)\n');
  console.log(table(phaseWords(samples)));
  console.log('\nCalls to libvirt in one operation of ours: how many, and the median of one\n');
  console.log(table(callWords(samples)));
  const phases = VERBS.map((verb) => ({ verb, ...phasesOf(samples, verb) }));
  const result = { at: new Date().toISOString(), machine, rounds, rows, phases, samples };
  writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`);
}

function rowOf(verb: Verb, samples: readonly Sample[]): Row {
  const of = (side: Sample['side']) =>
    samples.filter((sample) => sample.verb === verb && sample.side === side).map(({ ms }) => ms);
  const [bare, ours] = [of('bare'), of('ours')];
  const pairs = ours.map((ms, index) => [ms, bare[index]!] as const);
  return {
    verb,
    bare: summarize(bare),
    ours: summarize(ours),
    ratio: summarize(pairs.map(([mine, theirs]) => mine / theirs)),
    difference: summarize(pairs.map(([mine, theirs]) => mine - theirs)),
  };
}

const wordsOf = ({ verb, bare, ours, ratio, difference }: Row) => ({
  operation: verb,
  n: `${ours.n}`,
  'bare median': ms(bare.median),
  'min..max': `${ms(bare.min)}..${ms(bare.max)}`,
  'ours median': ms(ours.median),
  'min..max ': `${ms(ours.min)}..${ms(ours.max)}`,
  'ours / bare': spread(ratio, 2),
  'ours - bare': spread(difference, 1),
});

type Medians = Record<string, number>;

function phasesOf(samples: readonly Sample[], verb: Verb): { bare: Medians; ours: Medians } {
  const of = (side: Sample['side']): Medians => {
    const mine = samples.filter((sample) => sample.verb === verb && sample.side === side);
    const names = [...new Set(mine.flatMap(({ phases }) => Object.keys(phases)))];
    const medians = names.map((name) => [
      name,
      median(mine.map(({ phases }) => phases[name] ?? 0)),
    ]);
    return Object.fromEntries(medians);
  };
  return { bare: of('bare'), ours: of('ours') };
}

function phaseWords(samples: readonly Sample[]): Record<string, string>[] {
  const by = VERBS.map((verb) => [verb, phasesOf(samples, verb)] as const);
  const found = new Set(by.flatMap(([, { ours }]) => Object.keys(ours)));
  const names = [...found].sort((one, other) => placeOf(one) - placeOf(other));
  return names.map((phase) => {
    const cells = by.map(([verb, { bare, ours }]) => {
      const theirs = bare[phase];
      const compared = theirs === undefined ? '' : ` (${ms(theirs)})`;
      return [verb, phase in ours ? `${ms(ours[phase]!)}${compared}` : ''];
    });
    return { phase, ...Object.fromEntries(cells) };
  });
}

/** As they follow each other. */
const placeOf = (phase: string): number =>
  ['accept:', 'before:', 'call', 'event', 'barrier', 'after:', ''].findIndex((it) =>
    phase.startsWith(it),
  );

function callWords(samples: readonly Sample[]): Record<string, string>[] {
  const ours = samples.filter(({ side }) => side === 'ours');
  const names = new Set(ours.flatMap(({ calls }) => Object.keys(calls)));
  return [...names].map((call) => {
    const cells = VERBS.map((verb) => {
      const mine = ours.filter((sample) => sample.verb === verb);
      const times = mine.flatMap(({ calls }) => calls[call] ?? []);
      const each = (times.length / mine.length).toFixed(1).replace('.0', '');
      return [verb, times.length === 0 ? '' : `${each} x ${ms(median(times))}`];
    });
    return { call, ...Object.fromEntries(cells) };
  });
}

/** Columns as wide as their widest cell; the first to the left, the others to the right. */
function table(rows: readonly Record<string, string>[]): string {
  const heads = Object.keys(rows[0] ?? {});
  const lines = [heads, ...rows.map((row) => heads.map((head) => row[head] ?? ''))];
  const widths = heads.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  const padded = (cell: string, at: number) =>
    at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0);
  return lines.map((line) => line.map(padded).join('  ').trimEnd()).join('\n');
}

const spread = ({ median, lower, upper }: Summary, digits: number): string =>
  `${median.toFixed(digits)} (${lower.toFixed(digits)}..${upper.toFixed(digits)})`;

const ms = (value: number): string => value.toFixed(1);

const versionOf = (program: string): string =>
  execFileSync(program, ['--version'], { encoding: 'utf8' }).split('\n')[0] ?? '';
