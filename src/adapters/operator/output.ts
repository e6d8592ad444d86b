import { stringify } from 'yaml';
import { err, ok, type Result } from '#domain/result.ts';
import { escapeJson, escapeText } from './escape.ts';

/**
 * The forms in which openstackclient prints (cliff/formatters): a prettytable, JSON, YAML, bare
 * values. A list is a row per thing, a show a row per field; JSON and YAML keep what is nested.
 */
export const FORMATS = ['table', 'json', 'yaml', 'value'] as const;
export type Form = (typeof FORMATS)[number];

export interface Look {
  readonly format: Form;
  /** The columns asked for; none means all that the form shows by itself. */
  readonly columns: readonly string[];
}

export type Fields = Readonly<Record<string, unknown>>;

/** Rows of which every key in `known` can be asked for and those in `usual` are in the table. */
export interface List {
  readonly rows: readonly Fields[];
  readonly known: readonly string[];
  readonly usual: readonly string[];
}

export function renderList({ rows, known, usual }: List, look: Look): Result<string, string> {
  const problem = unknownColumn(look.columns, known);
  if (problem !== null) return err(problem);
  const asked = look.columns.length > 0;
  if (look.format === 'json' || look.format === 'yaml') {
    return ok(renderData(asked ? rows.map((row) => pick(row, look.columns)) : rows, look.format));
  }
  const columns = asked ? look.columns : usual;
  const cells = rows.map((row) => columns.map((column) => row[column]));
  if (look.format === 'value') {
    return ok(cells.map((row) => `${row.map(word).map(escapeText).join(' ')}\n`).join(''));
  }
  const right = columns.map((_, at) => typeof cells[0]?.[at] === 'number');
  return ok(rows.length === 0 ? '\n' : table(columns, cells, right));
}

/** `plain` says a nested value in words, for the table and the bare values. */
export function renderShow(fields: Fields, plain: Fields, look: Look): Result<string, string> {
  const keys = look.columns.length > 0 ? look.columns : Object.keys(fields);
  const problem = unknownColumn(keys, Object.keys(fields));
  if (problem !== null) return err(problem);
  if (look.format === 'json' || look.format === 'yaml') {
    return ok(renderData(pick(fields, keys), look.format));
  }
  const values = keys.map((key) => (Object.hasOwn(plain, key) ? plain[key] : fields[key]));
  if (look.format === 'value') {
    return ok(values.map((value) => `${escapeText(word(value))}\n`).join(''));
  }
  const rows = keys.map((key, at) => [key, values[at]]);
  return ok(table(['Field', 'Value'], rows, [false, false]));
}

export function renderData(data: unknown, format: 'json' | 'yaml'): string {
  if (format === 'json') return `${escapeJson(JSON.stringify(data, null, 2))}\n`;
  return escapeJson(stringify(data, { lineWidth: 0 }));
}

function pick(row: Fields, columns: readonly string[]): Fields {
  return Object.fromEntries(columns.map((column) => [column, row[column] ?? null]));
}

function unknownColumn(columns: readonly string[], known: readonly string[]): string | null {
  const stranger = columns.find((column) => !known.includes(column));
  return stranger === undefined ? null : `no column '${stranger}': there are ${known.join(', ')}.`;
}

/** As Python's str() would say it, which is what cliff prints. */
function word(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function table(
  head: readonly string[],
  rows: readonly (readonly unknown[])[],
  right: readonly boolean[],
): string {
  const cells = rows.map((row) => row.map((value) => word(value).split('\n').map(escapeText)));
  const widths = head.map((name, at) =>
    Math.max(name.length, ...cells.flatMap((row) => (row[at] ?? []).map((line) => line.length))),
  );
  const rule = `+${widths.map((width) => '-'.repeat(width + 2)).join('+')}+`;
  const line = (texts: readonly string[]) =>
    `|${texts.map((text, at) => ` ${pad(text, widths[at] ?? 0, right[at])} `).join('|')}|`;
  const body = cells.flatMap((row) => {
    const height = Math.max(...row.map((lines) => lines.length));
    return Array.from({ length: height }, (_, at) => line(row.map((lines) => lines[at] ?? '')));
  });
  return `${[rule, line(head), rule, ...body, rule].join('\n')}\n`;
}

const pad = (text: string, width: number, right: boolean | undefined): string =>
  right ? text.padStart(width) : text.padEnd(width);
