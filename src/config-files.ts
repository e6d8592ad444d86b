import { readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { codeOf, whyNot } from '#adapters/system/access.ts';
import { readText } from './config-text.ts';
import { mergeSections, parseOslo, type Sections } from './oslo-config.ts';

/** The files of a configuration, read. */
export interface Read {
  readonly sections: Sections;
  /** What could not be read, or is no INI; then nothing is known of what the rest would say. */
  readonly mistakes: readonly string[];
  /** Of the first file: what is named without a folder lies there. */
  readonly folder: string;
  readonly places: Places;
}

/** Where a configuration was looked for, and which files there were. */
export interface Places {
  readonly sought: readonly string[];
  readonly found: readonly string[];
  /** There was none, and none that could not be read. */
  readonly none: boolean;
}

const ETC = '/etc/chainkeeper';

/** The files that were named, or `chainkeeper.conf` and `chainkeeper.conf.d/*.conf` in `etc`. */
export function readFiles(files: readonly string[] = [], etc = ETC): Read {
  const mistakes: string[] = [];
  const found: string[] = [];
  const named = files.length > 0;
  const sections = (named ? files : defaultFiles(etc, mistakes)).flatMap((file) => {
    const text = readText(file);
    if (!text.ok) {
      const { code, sentence } = text.error;
      if (named || code !== 'ENOENT') mistakes.push(`${file}: ${sentence}`);
      return [];
    }
    found.push(file);
    const parsed = parseOslo(text.value, file);
    if (parsed.ok) return [parsed.value];
    mistakes.push(...parsed.error);
    return [];
  });
  const usual = [join(etc, 'chainkeeper.conf'), join(etc, 'chainkeeper.conf.d/*.conf')];
  return {
    sections: mergeSections(sections),
    mistakes,
    folder: dirname(resolve(files[0] ?? join(etc, '_'))),
    places: { sought: named ? files : usual, found, none: found.length + mistakes.length === 0 },
  };
}

/** A folder that is there and cannot be listed is a mistake: what is in it would be missed. */
function defaultFiles(etc: string, mistakes: string[]): readonly string[] {
  const folder = join(etc, 'chainkeeper.conf.d');
  try {
    const names = readdirSync(folder).filter((name) => /^[^.].*\.conf$/.test(name));
    return [join(etc, 'chainkeeper.conf'), ...names.sort().map((name) => join(folder, name))];
  } catch (error) {
    const code = codeOf(error);
    if (code !== 'ENOENT') mistakes.push(`${folder}: cannot be read: ${whyNot(code)}`);
    return [join(etc, 'chainkeeper.conf')];
  }
}
