import { err, ok, type Result } from '#domain/result.ts';

/**
 * oslo.config's INI files, as oslo_config 9.0 reads them (iniparser.py, cfg.py ConfigParser and
 * _substitute). Comments stand at the start of a line only, so `password=a;b#c` is the whole value;
 * an indented line continues the value above it; a key may be repeated. The npm package `ini`
 * cuts that password and loses the other two. test/live/oslo-config.test.ts compares with the
 * original.
 */

/** One value in a file, and where it stands: `file:line`. */
export interface Assigned {
  readonly value: string;
  readonly where: string;
}

/** By group and option: every value given, in order. Groups but DEFAULT are in lower case. */
export type Sections = ReadonlyMap<string, ReadonlyMap<string, readonly Assigned[]>>;

/** Reads a whole file, or says everything that is wrong with it, as `file:line: sentence`. */
export function parseOslo(text: string, file: string): Result<Sections, readonly string[]> {
  const reader = new Reader(file);
  // Python opens files with universal newlines.
  for (const line of reader.unmarked(text).split(/\r\n|\r|\n/)) reader.take(line);
  reader.flush();
  return reader.errors.length > 0 ? err(reader.errors) : ok(reader.sections);
}

/** All values of several files in order: the last one of a key is the one that counts. */
export function mergeSections(files: readonly Sections[]): Sections {
  const all = new Map<string, Map<string, readonly Assigned[]>>();
  for (const file of files) {
    for (const [group, options] of file) {
      const into = all.get(group) ?? new Map<string, readonly Assigned[]>();
      for (const [key, values] of options) into.set(key, [...(into.get(key) ?? []), ...values]);
      all.set(group, into);
    }
  }
  return all;
}

/** The text of an option, or why there is none. */
export type Lookup = (group: string, option: string) => Result<string, string>;

/**
 * Replaces `$name`, `${name}` and `${group.name}`; `$$` and `\$` are a dollar sign, and a `$` that
 * names nothing stays. A bare name is looked up in the option's own group, then in DEFAULT
 * (cfg.py StrSubWrapper); a name that is no option is an error there too.
 */
export function substitute(value: string, group: string, lookup: Lookup): Result<string, string> {
  const errors: string[] = [];
  const text = value.replaceAll('\\$', '$$$$').replace(TEMPLATE, (all, escaped, bare, braced) => {
    if (escaped !== undefined) return '$';
    const name: string | undefined = bare ?? braced;
    if (name === undefined) return all;
    const found = find(name, group, lookup);
    if (!found.ok) errors.push(found.error);
    return found.ok ? found.value : all;
  });
  return errors.length > 0 ? err(errors.join('; ')) : ok(text);
}

/** The known name nearest to `name`, when it is near enough to be a slip of the finger. */
export function nearest(name: string, known: readonly string[]): string | null {
  const ranked = known
    .map((it) => ({ it, far: distance(name.toLowerCase(), it) }))
    .sort((a, b) => a.far - b.far);
  const [best] = ranked;
  return best !== undefined && best.far <= Math.max(2, name.length / 3) ? best.it : null;
}

/** Python's string.Template with oslo's idpattern, ignoring case. */
const TEMPLATE = /\$(?:(\$)|([_a-z][._a-z0-9]*)|\{([_a-z][._a-z0-9]*)\})/gi;

function find(name: string, group: string, lookup: Lookup): Result<string, string> {
  const dot = name.indexOf('.');
  if (dot >= 0) return lookup(name.slice(0, dot), name.slice(dot + 1));
  const own = lookup(group, name);
  return own.ok || group === 'DEFAULT' ? own : lookup('DEFAULT', name);
}

/** The lines of one file, one after the other. */
class Reader {
  readonly sections = new Map<string, Map<string, Assigned[]>>();
  readonly errors: string[] = [];
  readonly #file: string;
  #line = 0;
  #group: string | null = null;
  #open: { readonly key: string; readonly line: number; readonly values: string[] } | null = null;

  constructor(file: string) {
    this.#file = file;
  }

  /** Python takes the mark for a part of the first line; so does nobody who looks at the file. */
  unmarked(text: string): string {
    if (!text.startsWith('\uFEFF')) return text;
    this.#error(1, 'it begins with a byte order mark: save it as UTF-8 without one');
    return text.slice(1);
  }

  take(raw: string): void {
    this.#line += 1;
    const line = trimEnd(raw);
    const continues = line.startsWith(' ') || line.startsWith('\t');
    if (!continues) this.flush();
    if (line === '' || line.startsWith('#') || line.startsWith(';')) return;
    if (continues) this.#continue(line);
    else if (line.startsWith('[')) this.#section(line);
    else this.#assign(line);
  }

  flush(): void {
    const open = this.#open;
    this.#open = null;
    if (open === null) return;
    if (this.#group === null) {
      this.#error(open.line, `'${open.key}' stands before the first [group]`);
      return;
    }
    const options = this.sections.get(this.#group) ?? new Map<string, Assigned[]>();
    const values = options.get(open.key) ?? [];
    values.push({ value: open.values.join('\n'), where: `${this.#file}:${open.line}` });
    options.set(open.key, values);
    this.sections.set(this.#group, options);
  }

  #continue(line: string): void {
    if (this.#open === null) {
      this.#error(this.#line, 'an indented line continues nothing: remove the indent');
      return;
    }
    this.#open.values.push(trim(line));
  }

  #section(line: string): void {
    if (!line.endsWith(']')) {
      this.#error(this.#line, 'a group must end with ]');
      return;
    }
    if (line.length <= 2) {
      this.#error(this.#line, 'the group has no name');
      return;
    }
    const name = line.slice(1, -1);
    this.#group = name === 'DEFAULT' ? name : name.toLowerCase();
    if (!this.sections.has(this.#group)) this.sections.set(this.#group, new Map());
  }

  #assign(line: string): void {
    const at = line.search(/[=:]/);
    if (at < 0) {
      this.#error(this.#line, "neither '=' nor ':' in the line");
      return;
    }
    const key = trim(line.slice(0, at));
    if (key === '') {
      this.#error(this.#line, 'the option has no name');
      return;
    }
    this.#open = { key, line: this.#line, values: [unquote(trim(line.slice(at + 1)))] };
  }

  #error(line: number, sentence: string): void {
    this.errors.push(`${this.#file}:${line}: ${sentence}`);
  }
}

/** iniparser.py: the same quote at both ends, of the first line only; a lone quote is both. */
function unquote(value: string): string {
  const quoted = /^["']/.test(value) && value.at(0) === value.at(-1);
  return quoted ? value.slice(1, -1) : value;
}

/** Python's idea of white space: with the separators 0x1c to 0x1f and NEL, without the BOM. */
const SPACE = '(?:(?!\\ufeff)[\\s\\x1c-\\x1f\\x85])+';
const START = new RegExp(`^${SPACE}`);
const END = new RegExp(`${SPACE}$`);
const trimEnd = (text: string): string => text.replace(END, '');
const trim = (text: string): string => trimEnd(text).replace(START, '');

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (const [i, left] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, right] of [...b].entries()) {
      const swap = (row[j] ?? 0) + (left === right ? 0 : 1);
      next.push(Math.min(swap, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
