import { err, ok, type Result } from '#domain/result.ts';
import { type Assigned, nearest, type Sections, substitute } from './oslo-config.ts';

/** Known options with their defaults, by group; null is an option that has none. */
export type Known = Readonly<Record<string, Readonly<Record<string, string | null>>>>;

/** Options whose values nobody may be shown (the names that oslo.config and keystoneauth hide). */
const SECRET = /password|secret|token$/;

/**
 * The values of known options: from the environment (`OS_<GROUP>__<OPTION>`), else the files, else
 * the default. Reading one that does not fit its type writes down a mistake and goes on, so that a
 * person hears of all of them at once. An option that is set to nothing is as good as not set.
 */
export class Options {
  readonly mistakes: string[] = [];
  /** The groups in which there is a mistake. */
  readonly doubtful = new Set<string>();
  readonly #known: Known;
  readonly #files: Sections;
  readonly #env: Environment;

  constructor(known: Known, files: Sections, env: Environment) {
    this.#known = known;
    this.#files = files;
    this.#env = env;
  }

  text(group: string, option: string): string | null {
    const found = this.#resolve(group, option, []);
    if (!found.ok) this.#mistake(group, `${this.#name(group, option)}: ${found.error}`);
    // oslo.config takes it; no path, name or password of ours can have one.
    if (found.ok && found.value.includes('\0')) {
      this.wrong(group, option, 'has a NUL byte in it: save the file as UTF-8 text');
      return null;
    }
    return found.ok && found.value !== '' ? found.value : null;
  }

  whole(group: string, option: string, least: number, most: number): number {
    const text = this.text(group, option);
    if (text === null) return least;
    const value = /^\s*[+-]?\d+\s*$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    this.wrong(group, option, `is '${text}': give a whole number from ${least} to ${most}`);
    return least;
  }

  /** The words of oslo_config/types.py Boolean. */
  flag(group: string, option: string): boolean {
    const text = (this.text(group, option) ?? 'false').toLowerCase();
    if (!['true', '1', 'on', 'yes', 'false', '0', 'off', 'no'].includes(text)) {
      this.wrong(group, option, `is '${text}': give true or false`);
    }
    return ['true', '1', 'on', 'yes'].includes(text);
  }

  oneOf<const T extends string>(group: string, option: string, choices: readonly T[]): T | null {
    const text = this.text(group, option);
    const found = choices.find((choice) => choice === text);
    if (found !== undefined) return found;
    const given = text === null ? 'is not set' : `is '${text}'`;
    this.wrong(group, option, `${given}: give one of ${choices.join(', ')}`);
    return null;
  }

  list(group: string, option: string): readonly string[] {
    const text = this.text(group, option)?.trim().replace(/,+$/, '') ?? '';
    return text === '' ? [] : text.split(',').map((item) => item.trim());
  }

  /** Writes down what is wrong with an option, with the place where it was set. */
  wrong(group: string, option: string, sentence: string): void {
    this.#mistake(group, `${this.#name(group, option)} ${sentence}`);
  }

  /** A sentence for every option and group that nobody knows. */
  unknown(): readonly string[] {
    const sentences: string[] = [];
    const groups = Object.keys(this.#known);
    const judge = (group: string, option: string, where: string) => {
      const options = this.#known[group];
      if (options !== undefined && Object.hasOwn(options, option)) return;
      const near = options ? nearest(option, Object.keys(options)) : null;
      const hint = near ? `: did you mean ${near}?` : this.#elsewhere(option);
      sentences.push(`${where}: unknown option [${group}] ${option}${hint}`);
    };
    for (const [group, options] of this.#files) {
      if (this.#known[group] === undefined) {
        const [first] = [...options.values()].flat();
        const near = nearest(group, groups);
        const hint = near ? `: did you mean [${near}]?` : this.#all();
        const names = options.size === 0 ? '' : `, so ${[...options.keys()].join(', ')} is not set`;
        const where = first === undefined ? '' : `${first.where}: `;
        sentences.push(`${where}unknown group [${group}]${names}${hint}`);
        continue;
      }
      for (const [option, [first]] of options) judge(group, option, first?.where ?? '');
    }
    for (const name of Object.keys(this.#env)) {
      const [, upper = '', option = ''] = /^OS_(.+?)__(.+)$/.exec(name) ?? [];
      const group = upper === 'DEFAULT' ? upper : upper.toLowerCase();
      if (this.#known[group] !== undefined) judge(group, option.toLowerCase(), name);
      // Others have variables of this form too; a slip in one of ours is near to its name.
      const near = this.#known[group] || group === '' ? null : nearest(group, groups);
      if (near !== null)
        sentences.push(`${name}: unknown group [${group}]: did you mean [${near}]?`);
    }
    return sentences;
  }

  /** An option under the wrong heading, or with a slip in its name under any. */
  #elsewhere(option: string): string {
    const groups = Object.entries(this.#known);
    const exact = groups.find(([, options]) => Object.hasOwn(options, option));
    if (exact !== undefined) return `: it belongs to [${exact[0]}]`;
    for (const [group, options] of groups) {
      const near = nearest(option, Object.keys(options));
      if (near !== null) return `: did you mean [${group}] ${near}?`;
    }
    return '';
  }

  #all(): string {
    return `: there are ${Object.keys(this.#known).join(', ')}`;
  }

  /** A value that was put elsewhere (`$password`), and does not fit there, would be quoted. */
  #mistake(group: string, sentence: string): void {
    const masked = this.#secrets().reduce((text, it) => {
      // A short one is part of any word.
      return it.length < 4 ? text.replaceAll(`'${it}'`, "'***'") : text.replaceAll(it, '***');
    }, sentence);
    this.mistakes.push(masked);
    this.doubtful.add(group);
  }

  #secrets(): readonly string[] {
    return Object.entries(this.#known).flatMap(([group, options]) =>
      Object.keys(options)
        .filter((option) => SECRET.test(option))
        .map((option) => this.#resolve(group, option, []))
        .flatMap((it) => (it.ok && it.value !== '' ? [it.value] : [])),
    );
  }

  #resolve(group: string, option: string, seen: readonly string[]): Result<string, string> {
    const options = this.#known[group];
    if (options === undefined || !Object.hasOwn(options, option)) {
      return err(`there is no option [${group}] ${option} to put here ($$ is a dollar sign)`);
    }
    const me = `[${group}] ${option}`;
    if (seen.includes(me)) return err(`${[...seen, me].join(' refers to ')}`);
    const raw = this.#raw(group, option);
    if (raw === null) return ok('');
    return substitute(raw.value, group, (g, o) => this.#resolve(g, o, [...seen, me]));
  }

  #raw(group: string, option: string): Assigned | null {
    const name = `OS_${group}__${option}`.toUpperCase();
    const env = this.#env[name];
    if (env !== undefined) return { value: env, where: name };
    const inFiles = this.#files.get(group)?.get(option)?.at(-1);
    if (inFiles !== undefined && inFiles.value !== '') return inFiles;
    const fallback = this.#known[group]?.[option] ?? null;
    return fallback === null ? null : { value: fallback, where: 'by default' };
  }

  #name(group: string, option: string): string {
    const raw = this.#raw(group, option);
    return `${raw === null ? '' : `${raw.where}: `}[${group}] ${option}`;
  }
}

export type Environment = Readonly<Record<string, string | undefined>>;
