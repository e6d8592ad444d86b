/** The commands that a page of the docs shows, and what it says that they print. */

/** A fenced block of the language `console`; after it, where it runs: `simulated` when left out. */
export interface Block {
  readonly where: 'simulated' | 'lab' | 'by-hand';
  /** For `lab` what must have happened before, for `by-hand` why no test runs it. */
  readonly more: string;
  readonly line: number;
  readonly commands: readonly Command[];
}

export interface Command {
  readonly line: number;
  readonly typed: string;
  readonly output: readonly string[];
}

const WORLDS = ['simulated', 'lab', 'by-hand'] as const;

export function blocksIn(page: string): readonly Block[] {
  const lines = page.split('\n');
  return lines.flatMap((fence, at) => {
    const [, word = 'simulated', more = ''] =
      /^```console(?: ([a-z-]+):? ?(.*))?$/.exec(fence) ?? [];
    if (!fence.startsWith('```console')) return [];
    const where = WORLDS.find((one) => one === word);
    if (where === undefined) throw new Error(`line ${at + 1}: nothing runs in '${word}'`);
    const end = lines.indexOf('```', at);
    return [{ where, more, line: at + 1, commands: commandsIn(lines.slice(at + 1, end), at + 2) }];
  });
}

function commandsIn(lines: readonly string[], first: number): readonly Command[] {
  const starts = lines.flatMap((line, at) => (line.startsWith('$ ') ? [at] : []));
  if (starts[0] !== 0) throw new Error(`line ${first}: a block begins with a command`);
  return starts.map((at, index) => {
    const output = lines.slice(at + 1, starts[index + 1]);
    return { line: first + at, typed: lines[at]?.slice(2) ?? '', output };
  });
}

/** Other pages' languages: a configuration file, by the name behind `ini`. */
export function iniIn(page: string, name: string): readonly string[] {
  const found = page.matchAll(/^```ini (\S+)\n([\s\S]*?)^```$/gm);
  return [...found].flatMap(([, file, text = '']) => (file === name ? [text] : []));
}

/** Puts what is real where the page has a word for it; longer words first. */
export function filled(text: string, words: Readonly<Record<string, string>>): string {
  const names = Object.keys(words).toSorted((one, other) => other.length - one.length);
  return names.reduce((all, name) => all.replaceAll(name, words[name] ?? ''), text);
}

/** Null when this is what the page shows; `...` stands for any lines, or for a part of one. */
export function difference(shown: readonly string[], printed: string): string | null {
  if (shown.length === 0 && printed.trim() === '') return null;
  const pattern = shown
    .map((line) => (line === '...' ? '(?:.*\\n)*?' : `${one(line)}\\n`))
    .join('');
  const tidy = printed.split('\n').map((line) => line.trimEnd());
  const text = tidy.join('\n').replace(/\n*$/, '\n');
  return new RegExp(`^${pattern}$`).test(text) ? null : text;
}

const one = (line: string): string =>
  line
    .trimEnd()
    .split('...')
    .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*');
