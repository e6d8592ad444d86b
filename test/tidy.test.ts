import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { expect, test } from 'vitest';

/** A rule of the house that types cannot say. `broken` quotes the words that break it. */
interface Law {
  readonly name: string;
  readonly files: RegExp;
  readonly broken: (file: File) => readonly string[];
  /** One small file, `path: text`, for each way of breaking it. */
  readonly bad: readonly string[];
}
type File = { readonly path: string; readonly text: string };
type Import = { readonly from: string; readonly types: boolean; readonly target: string };

const root = dirname(import.meta.dirname);
const DOMAIN = /^src\/domain\/.*\.ts$/;
const SRC = /^src\/.*\.ts$/;
const SRC_AND_SIM = /^(src|sim)\/.*\.ts$/;
/** Without this page, whose samples break every law. */
const EVERYTHING = /^(?!test\/tidy\.test\.ts$)/;
const TYPESCRIPT = /^(?!test\/tidy\.test\.ts$).*\.ts$/;
/** Without the files that start the service on the sim: they simulate nothing. */
const SIMULATION = /^sim\/(?!(main|composition|simulated-host|seeds|world\/program)\.ts$).*\.ts$/;
const HOMES: Readonly<Record<string, RegExp>> = {
  inversify: /^(src|sim)\/composition\.ts$/,
  'reflect-metadata': /^(src|sim)\/composition\.ts$/,
  'fast-xml-parser': /^src\/adapters\/libvirt\/domain-xml\.ts$/,
  koffi:
    /^src\/adapters\/(libvirt\/(((events|stats|locks)-)?ffi|event-line)|system\/(memory|notify)-ffi)\.ts$/,
};

const laws: readonly Law[] = [
  noImport('the domain imports itself only', DOMAIN, ({ from }) => !from.startsWith('./'), [
    "src/domain/a.ts: import { z } from 'zod';",
    "src/domain/a.ts: export * from '../service.ts';",
    "src/domain/a.ts: const it = import('node:fs');",
  ]),
  noImport(
    'each foreign world has one home',
    SRC_AND_SIM,
    ({ from }, { path }) => HOMES[packageOf(from)]?.test(path) === false,
    [
      "src/runner.ts: import { Container } from 'inversify';",
      "sim/main.ts: import 'reflect-metadata';",
      "src/adapters/cinder/wire.ts: import { XMLParser } from 'fast-xml-parser';",
      "src/adapters/libvirt/hypervisor.ts: import koffi from 'koffi';",
    ],
  ),
  noImport(
    'node:http is imported in one way only, which does not load all of it',
    SRC,
    ({ from, types }) => from === 'node:http' && !types,
    ["src/a.ts: import { request } from 'node:http';"],
  ),
  noImport(
    'the sim knows the ports, and of the domain types, ids and results: never a rule',
    SIMULATION,
    ({ from, types }) =>
      /^#(app|adapters)\//.test(from) || (!types && /^#domain\/(?!(ids|result)\.ts$)/.test(from)),
    [
      "sim/disk.ts: import { afterMerge } from '#domain/chain.ts';",
      "sim/disk.ts: import { type Layer, afterMerge } from '#domain/chain.ts';",
      "sim/disk.ts: import type { Service } from '#app/service.ts';",
    ],
  ),
  noImport(
    'nothing in src looks at the sim or the tests',
    SRC,
    ({ target }) => /^(#sim|sim|test|demo|bench)\//.test(target),
    [
      "src/main.ts: import { disk } from '#sim/disk.ts';",
      "src/main.ts: const sim = await import('../sim/main.ts');",
    ],
  ),
  noImport(
    'an import from another layer says the layer',
    TYPESCRIPT,
    ({ from, target }, { path }) =>
      from.startsWith('.') && ![undefined, layerOf(path)].includes(layerOf(target)),
    [
      "src/service.ts: import { ok } from './domain/result.ts';",
      "src/adapters/cinder/rest.ts: import type { A } from '../../ports/volumes.ts';",
      "test/domain/chain.test.ts: import { ok } from '../../src/domain/result.ts';",
    ],
  ),
  noWord(
    'the domain never waits, throws, or asks the time or a die',
    DOMAIN,
    /\b(Date|async|await|Promise|throw|performance|Math\.random)\b/g,
    [
      'src/domain/a.ts: const now = Date.now();',
      'src/domain/a.ts: const die = Math.random();',
      'src/domain/a.ts: export async function a() {}',
      'src/domain/a.ts: const a: Promise<void> = b;',
      'src/domain/a.ts: if (a) throw new Defect(a);',
    ],
  ),
  noWord(
    'only config.ts reads the environment',
    /^(src\/(?!config\.ts$)|sim\/).*\.ts$/,
    /\bprocess\.env\b|\benv\b.*= process\b/g,
    ['src/main.ts: const home = process.env.HOME;', 'sim/main.ts: const { env } = process;'],
  ),
  noWord(
    'no enums, no decorators: Node runs the sources as they are',
    TYPESCRIPT,
    /\benum\s+\w+\s*\{|^\s*@\w+/gm,
    ['src/main.ts: enum A { B }', 'src/main.ts: @inject(a) class B {}'],
  ),
  noWord(
    'names say what a thing is',
    TYPESCRIPT,
    /\b(class|interface|type|function|const) \w*(Impl|Manager|Helper)s?\b|\binterface I[A-Z][a-z]/g,
    ['src/main.ts: class HypervisorImpl {}', 'src/main.ts: interface IHypervisor {}'],
  ),
  {
    name: 'files are named by kebab-case nouns',
    files: TYPESCRIPT,
    broken: ({ path }) => path.match(/(^|\/)(utils?|helpers?|index)\.ts$|[A-Z_][^/]*$/) ?? [],
    bad: ['src/utils.ts: ', 'test/support/index.ts: ', 'src/domain/deleteSaga.ts: '],
  },
  {
    name: 'no file is longer than 300 lines',
    files: SRC_AND_SIM,
    broken: ({ text }) => (text.trimEnd().split('\n').length > 300 ? ['too long'] : []),
    bad: [`src/main.ts: ${'a;\n'.repeat(301)}`],
  },
  {
    name: 'no line is longer than 100 columns',
    files: TYPESCRIPT,
    broken: ({ text }) => text.split('\n').filter((line) => [...line].length > 100),
    bad: [`test/a.test.ts: // ${'x'.repeat(98)}`],
  },
  {
    name: 'no file knows the machine it was written on',
    files: EVERYTHING,
    broken: ({ text }) => [
      ...(text.includes(`${root}/`) ? [root] : []),
      ...(text.match(
        /registry\.(npmjs|yarnpkg)|artifactory|(?<!keystone)_authToken|"resolved": "|facts\/\w+\.md/gi,
      ) ?? []),
    ],
    bad: [`README.md: see ${root}/README.md`, '.npmrc: registry=https://registry.npmjs.org/'],
  },
];

test.each(laws)('$name', (law) => {
  expect(checkout().flatMap((file) => judge(law, file))).toEqual([]);
});

test.each(laws)('would be seen to be broken: $name', (law) => {
  for (const sample of law.bad) {
    const [, path = '', text = ''] = /^(.*?): ([\s\S]*)$/.exec(sample) ?? [];
    expect(judge(law, { path, text }), sample).not.toEqual([]);
  }
});

test('words in comments and strings break no law', () => {
  const text = "// throws a Date\nconst a = 'async'; /* await */ import { b } from './b.ts';";
  expect(laws.flatMap((law) => judge(law, { path: 'src/domain/a.ts', text }))).toEqual([]);
});

function judge(law: Law, file: File): readonly string[] {
  if (!law.files.test(file.path)) return [];
  return law.broken(file).map((words) => `${file.path}: ${words}`);
}

function noWord(name: string, files: RegExp, words: RegExp, bad: readonly string[]): Law {
  return { name, files, bad, broken: ({ text }) => code(text).match(words) ?? [] };
}

function noImport(
  name: string,
  files: RegExp,
  forbidden: (it: Import, file: File) => boolean,
  bad: readonly string[],
): Law {
  const broken = (file: File) =>
    imports(file)
      .filter((it) => forbidden(it, file))
      .map(({ from }) => from);
  return { name, files, bad, broken };
}

/** The text without comments and without the words in strings; what a template computes stays. */
function code(text: string): string {
  const prose =
    /\/\*[\s\S]*?\*\/|\/\/.*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g;
  const kept = (it: string) => (it.startsWith('`') ? (it.match(/\$\{[^}]*\}/g) ?? []) : []);
  return text.replace(prose, (it) => kept(it).join(' '));
}

/** Every module a file names, and whether it takes nothing but types from it. */
function imports({ path, text }: File): readonly Import[] {
  const named = /^(?:import|export)\b([^;'"]*?)\bfrom\s*'([^']+)'|\bimport\s*\(?\s*()'([^']+)'/gm;
  return [...text.matchAll(named)].map(([, what = '', static_ = '', , other = '']) => {
    const from = static_ || other;
    const target = from.startsWith('.') ? posix.join(posix.dirname(path), from) : from;
    return { from, target, types: /^\s*type\b|^\s*\{(\s*type\s[^,}]*,?)+\s*\}\s*$/.test(what) };
  });
}

function packageOf(from: string): string {
  return from.split('/', from.startsWith('@') ? 2 : 1).join('/');
}

function layerOf(path: string): string | undefined {
  return /^src\/(domain|ports|adapters)\/|^(src|sim)\//.exec(path)?.[0];
}

function checkout(): readonly File[] {
  const made = ['.git', 'node_modules', 'dist', 'build', 'coverage'];
  return readdirSync(root, { withFileTypes: true })
    .filter(({ name }) => !made.includes(name))
    .flatMap((top) => (top.isDirectory() ? under(top.name) : [top.name]))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

function under(folder: string): readonly string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => posix.join(entry.parentPath.slice(root.length + 1), entry.name));
}
