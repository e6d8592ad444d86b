import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseOslo, substitute } from '#app/oslo-config.ts';
import { err, ok } from '#domain/result.ts';

/** Debian's python3-oslo.config, the original of src/oslo-config.ts. */
const there = existsSync('/usr/lib/python3/dist-packages/oslo_config');

const PYTHON = `
import json, sys
from oslo_config import cfg
out = []
for name, value in json.load(open(sys.argv[1])):
    sections = {}
    parser = cfg.ConfigParser(name, {})
    parser._add_normalized(sections)
    try:
        parser.parse()
    except cfg.ParseError:
        sections = None
    conf = cfg.ConfigOpts()
    conf.register_opts([cfg.StrOpt('a', default='A'), cfg.StrOpt('b', default='B')])
    conf.register_opts([cfg.StrOpt('a', default='GA'), cfg.StrOpt('v', default=value)], group='g')
    conf([], project='none', default_config_files=[], default_config_dirs=[])
    try:
        text = conf.g.v
    except (cfg.NoSuchOptError, cfg.NoSuchGroupError, cfg.TemplateSubstitutionError):
        text = None
    out.append([sections, text])
print(json.dumps(out))
`;

const word = fc.constantFrom(
  ...[
    '[g]',
    '[G]',
    '[DEFAULT]',
    '[',
    ']',
    'a',
    'b',
    ' = ',
    '=',
    ':',
    '\n',
    '\n',
    '\n',
    '\r\n',
    '\r',
  ],
  ...['\n ', '\n\t', '#', '\n# c', ';', '"', "'", ' ', 'é', '\u00a0', '\u0085', '\ufeff', '\u001c'],
);
const text = fc
  .array(word, { maxLength: 25 })
  .map((words) => words.join(''))
  .chain((body) => fc.constantFrom(body, `[g]\na = 1\n${body}`));
const value = fc
  .array(fc.constantFrom('$', '$', '{', '}', 'a', 'b', 'g.', 'A', '.', '\\', '-', '1', 'nope'), {
    minLength: 1,
    maxLength: 8,
  })
  .map((words) => words.join(''));

const OPTIONS: Readonly<Record<string, string>> = {
  'DEFAULT.a': 'A',
  'DEFAULT.b': 'B',
  'g.a': 'GA',
};

test.skipIf(!there)('any file and any value read as in python3-oslo.config', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ck-oslo-'));
  try {
    const cases = fc.sample(fc.tuple(text, value), { numRuns: 2_000, seed: 20_261_122 });
    const files = cases.map(([body, it], at) => {
      writeFileSync(join(folder, `${at}`), body);
      return [join(folder, `${at}`), it];
    });
    writeFileSync(join(folder, 'cases'), JSON.stringify(files));
    const options = { encoding: 'utf8', maxBuffer: 2 ** 27, env: { PYTHONUTF8: '1' } } as const;
    const said = execFileSync('/usr/bin/python3', ['-c', PYTHON, join(folder, 'cases')], options);
    const theirs: unknown[] = JSON.parse(said);
    for (const [at, [body, it]] of cases.entries()) {
      expect([read(body), replaced(it)], JSON.stringify([body, it])).toEqual(theirs[at]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function read(body: string) {
  const parsed = parseOslo(body, 'f');
  if (!parsed.ok) return null;
  return Object.fromEntries(
    [...parsed.value].map(([group, options]) => [
      group,
      Object.fromEntries([...options].map(([key, all]) => [key, all.map((one) => one.value)])),
    ]),
  );
}

function replaced(it: string): string | null {
  const found = substitute(it, 'g', (group, option) => {
    const value = OPTIONS[`${group}.${option}`];
    return value === undefined ? err('unknown') : ok(value);
  });
  return found.ok ? found.value : null;
}
