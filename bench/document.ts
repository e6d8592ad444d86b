import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PHASES } from '#ports/journal.ts';
import { SIDES, type SideName, type Verb } from './cycle.ts';
import { type Bar, bars, lineCharts } from './plot.ts';
import type { PointResult, Results, Row } from './results.ts';

const DOCS = join(import.meta.dirname, '../docs');
const BEGIN = '<!-- measured: `npm run bench` writes what follows -->';
const END = '<!-- end of what is measured -->';

/** Writes the plots, and the tables into docs/PERFORMANCE.md between its two marks. */
export function document(results: Results): void {
  const folder = join(DOCS, 'performance');
  mkdirSync(folder, { recursive: true });
  for (const [name, svg] of Object.entries(plots(results))) {
    writeFileSync(join(folder, `${name}.svg`), svg);
  }
  const file = join(DOCS, 'PERFORMANCE.md');
  const text = readFileSync(file, 'utf8');
  const [before = '', rest = ''] = text.split(BEGIN);
  const after = rest.split(END)[1];
  if (after === undefined) throw new Error(`${file} has no place for what is measured`);
  writeFileSync(file, `${before}${BEGIN}\n\n${tables(results)}\n${END}${after}`);
}

/** All of it as Markdown. */
export function tables(results: Results): string {
  const { points, load, curves, simulator } = results;
  const parts = [
    `${results.at.slice(0, 16).replace('T', ' ')} UTC${results.quick ? ', with --quick' : ''}. ` +
      `${Object.entries(results.machine)
        .map(([name, value]) => `${name}: ${value}`)
        .join('; ')}.`,
    ...points.map(pointTable),
  ];
  const base = points.find(isBase);
  if (base !== undefined) parts.push(phaseTable(base), callTable(base));
  if (results.residentMb !== null) {
    parts.push(`The service has ${results.residentMb.toFixed(0)} MB in memory after all of that.`);
  }
  if (load.length > 0) {
    parts.push(
      markdown(
        load.map((wave) => ({
          'at once': wave.what,
          requests: `${wave.requests}`,
          errors: `${wave.errors.length}`,
          'p50 ms': wave.latency.median.toFixed(0),
          'p99 ms': wave.latency.p99.toFixed(0),
          'longest ms': wave.latency.max.toFixed(0),
          'a second': wave.perSecond.toFixed(0),
          'CPU ms each': wave.cpuMs.toFixed(1),
          'event to yes: p50 ms': wave.afterEvent?.median.toFixed(0) ?? '',
          'p99 ms after it': wave.afterEvent?.p99.toFixed(0) ?? '',
          'resident MB': wave.residentMb.toFixed(0),
          'at most MB': wave.peakMb?.toFixed(0) ?? '',
        })),
      ),
    );
  }
  if (curves.length > 0) {
    parts.push(
      markdown(
        curves.map(({ name, of, unit, points: all, exponent }) => ({
          cost: name,
          of,
          smallest: `${short(all[0]!.x)}: ${amount(all[0]!.y)} ${unit}`,
          largest: `${short(all.at(-1)!.x)}: ${amount(all.at(-1)!.y)} ${unit}`,
          exponent: exponent.toFixed(2),
        })),
      ),
    );
  }
  if (simulator !== null) {
    parts.push(
      `Simulated worlds, one thread: ${simulator.operationsPerSecond.toFixed(0)} operations and ` +
        `${simulator.worldsPerSecond.toFixed(1)} worlds a second (${simulator.worlds} worlds).`,
    );
  }
  return `${parts.join('\n\n')}\n`;
}

export const isBase = ({ depth, guests, mib }: PointResult): boolean =>
  depth === 8 && guests === 1 && mib === 0;

function pointTable(point: PointResult): string {
  const { depth, guests, mib, rounds, rows } = point;
  const written = mib === 0 ? '64 KiB' : `${mib} MiB`;
  const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;
  const what = `${counted(depth, 'layer')}, ${counted(guests, 'guest')}, ${written} in a layer`;
  const how = `${rounds} rounds; medians in ms, ratio to bare with its middle half`;
  const title = `**${what}** (${how})`;
  const sides = SIDES.filter((side) => rows.some(({ ms }) => ms[side] !== undefined));
  const body = rows.map((row) => ({
    operation: row.verb,
    ...Object.fromEntries(sides.map((side) => [side, cell(row, side)])),
    'ours - bare': row.more.ours ? row.more.ours.median.toFixed(1) : '',
  }));
  const rates = sides.map((side) => `${side} ${point.rates[side]?.toFixed(1)}`).join(', ');
  const cpu = point.cpuMs === null ? '' : ` CPU of the service: ${point.cpuMs.toFixed(1)} ms each.`;
  const rate = `Operations a second, with the making of overlays: ${rates}.${cpu}`;
  return [title, markdown(body), rate].join('\n\n');
}

function cell({ ms, ratio, cinderMs }: Row, side: SideName): string {
  const mine = ms[side];
  if (mine === undefined) return '';
  if (side === 'bare')
    return `${mine.median.toFixed(1)} (${mine.lower.toFixed(1)}..${mine.upper.toFixed(1)})`;
  const { median = 0, lower = 0, upper = 0 } = ratio[side] ?? {};
  const cinder = cinderMs[side] ? `, Cinder ${cinderMs[side].toFixed(1)}` : '';
  const half = `(${lower.toFixed(2)}..${upper.toFixed(2)})`;
  return `${mine.median.toFixed(1)}${cinder}; ${median.toFixed(2)} ${half}`;
}

/** The order in which they follow each other. */
const ORDER: readonly string[] = [...PHASES, 'report'];
const placeOf = (phase: string): number => ORDER.indexOf(phase);
const FROM = 0.05;
const LEAST_MS = 0.05;

function phasesOf({ phases }: Row): [string, number][] {
  const all = Object.entries(phases.ours ?? {}).filter(([, ms]) => ms >= LEAST_MS);
  return all.sort(([one], [other]) => placeOf(one) - placeOf(other));
}

function phaseTable({ rows }: PointResult): string {
  const names = [...new Set(rows.flatMap((row) => phasesOf(row).map(([name]) => name)))];
  const body = names
    .sort((one, other) => placeOf(one) - placeOf(other))
    .map((name) => ({
      phase: name,
      ...Object.fromEntries(
        rows.map((row) => {
          const mine = row.phases.ours?.[name];
          if (mine === undefined) return [row.verb, ''];
          const whole = row.ms.ours?.median ?? 1;
          const much = mine / whole > FROM ? '**' : '';
          const beside = (['bare', 'http'] as const).flatMap((side) => {
            const theirs = row.phases[side]?.[name];
            return theirs === undefined ? [] : [`${side} ${theirs.toFixed(1)}`];
          });
          const others = beside.length === 0 ? '' : ` (${beside.join(', ')})`;
          return [row.verb, `${much}${mine.toFixed(1)}${much}${others}`];
        }),
      ),
    }));
  const title = 'Where our time goes, as the journal has it (median ms; bold above 5 %):';
  return `${title}\n\n${markdown(body)}`;
}

function callTable({ rows }: PointResult): string {
  const names = [...new Set(rows.flatMap(({ calls }) => Object.keys(calls)))];
  const body = names.map((name) => ({
    'call to libvirt': name,
    ...Object.fromEntries(
      rows.map(({ verb, calls }) => {
        const call = calls[name];
        return [
          verb,
          call && call.times > 0 ? `${Number(call.times.toFixed(1))} x ${call.ms.toFixed(1)}` : '',
        ];
      }),
    ),
  }));
  const title = 'Calls in one operation of ours (how many, and the median ms of one):';
  return `${title}\n\n${markdown(body)}`;
}

const shown = (phases: Row['phases'][SideName]): Bar['parts'] =>
  Object.entries(phases ?? {})
    .sort(([one], [other]) => placeOf(one) - placeOf(other))
    .map(([name, value]) => ({ name, value }))
    .filter(({ value }) => value >= LEAST_MS);

function plots({ points, curves }: Results): Record<string, string> {
  const made: Record<string, string> = {};
  const axis = (name: 'depth' | 'guests' | 'mib', x: string, least = 0) => {
    const on = points.filter((point) =>
      (['depth', 'guests', 'mib'] as const).every(
        (other) => other === name || point[other] === BASE[other],
      ),
    );
    if (on.length < 2) return;
    const sorted = on.toSorted((one, other) => one[name] - other[name]);
    const verbs: Verb[] = ['create', 'commit', 'pull with base'];
    const panels = verbs.map((verb) => ({
      title: verb,
      x,
      lines: SIDES.map((side) => ({
        name: side,
        points: sorted.flatMap((point) => {
          const y = point.rows.find((row) => row.verb === verb)?.ms[side]?.median;
          return y === undefined ? [] : [{ x: Math.max(point[name], least), y }];
        }),
      })).filter((line) => line.points.length > 0),
    }));
    made[name] = lineCharts(panels, 'ms');
  };
  axis('depth', 'layers');
  axis('guests', 'guests at once');
  axis('mib', 'MiB in a layer (64 KiB at the left)', 1 / 16);
  const base = points.find(isBase);
  if (base !== undefined) {
    const rows = base.rows.flatMap((row) =>
      (['bare', 'ours'] as const).map((side) => ({
        label: `${row.verb}, ${side}`,
        parts: shown(row.phases[side]),
      })),
    );
    made.phases = bars(rows, 'ms');
  }
  const groups = new Map<string, typeof curves>();
  for (const curve of curves) groups.set(curve.of, [...(groups.get(curve.of) ?? []), curve]);
  const panels = [...groups].map(([of, all]) => ({
    title: '',
    x: of,
    lines: all.map(({ name, unit, points: line }) => ({ name: `${name} (${unit})`, points: line })),
  }));
  if (panels.length > 0) made.curves = lineCharts(panels, '');
  return made;
}

export const BASE = { depth: 8, guests: 1, mib: 0 } as const;

function markdown(rows: readonly Record<string, string>[]): string {
  const heads = Object.keys(rows[0] ?? {});
  const lines = [
    heads,
    heads.map(() => '---'),
    ...rows.map((row) => heads.map((head) => row[head] ?? '')),
  ];
  return lines.map((line) => `| ${line.join(' | ')} |`).join('\n');
}

const short = (value: number): string =>
  value >= 1e6 ? `${value / 1e6}M` : value >= 1e3 ? `${value / 1e3}k` : `${value}`;
const amount = (value: number): string => Number(value.toPrecision(3)).toString();
