/**
 * The pages for operators: their commands run, their tables have all that there is, and what they
 * show is what is printed. `test/live/docs.test.ts` runs what needs a real libvirt and Cinder.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { programFor } from '#adapters/operator/cli.ts';
import { type CliIo, Run } from '#adapters/operator/cli-run.ts';
import { commandFacts } from '#adapters/operator/command-facts.ts';
import { loadConfig } from '#app/config.ts';
import { explain } from '#domain/failure.ts';
import { SimulatedHost } from '#sim/simulated-host.ts';
import { type Block, blocksIn, difference, filled, iniIn } from './support/doc-blocks.ts';
import { ofEachKind } from './support/refusals.ts';

const ROOT = dirname(import.meta.dirname);
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const PAGES = [
  ...readdirSync(join(ROOT, 'docs'))
    .filter((it) => it.endsWith('.md'))
    .map((it) => `docs/${it}`),
  'README.md',
  'SECURITY.md',
];
const BLOCKS = PAGES.flatMap((page) => blocksIn(read(page)).map((block) => ({ page, block })));
const of = (where: Block['where']) => BLOCKS.filter(({ block }) => block.where === where);
const named = ({ page, block }: (typeof BLOCKS)[number]) => `${page}:${block.line}`;

test('few commands are by hand, and each says why', () => {
  expect(of('by-hand').length).toBeLessThanOrEqual(4);
  for (const it of of('by-hand')) expect(it.block.more, named(it)).not.toBe('');
  expect(of('lab').length).toBeGreaterThan(10);
});

describe('on a simulated host', () => {
  let host: SimulatedHost;
  let words: Record<string, string>;
  let path: string;
  beforeAll(async () => {
    host = await SimulatedHost.open({ port: 0 });
    path = join(host.folder, 'commands');
    mkdirSync(path);
    symlinkSync(join(ROOT, 'bin/chainkeeper.js'), join(path, 'chainkeeper'));
    writeFileSync(join(host.folder, 'raw-volume.img'), Buffer.alloc(65536));
    const { snapshot } = await host.cloud.cinder.createSnapshot(host.cloud.volume);
    words = { VOLUME: host.cloud.volume, SNAPSHOT: snapshot };
  });
  afterAll(() => host[Symbol.asyncDispose]());

  /** As a person types it; the host lives in this process, so it must not be waited for. */
  const type = (command: string) =>
    new Promise<{ readonly failed: boolean; readonly printed: string }>((resolve) => {
      const env = {
        ...process.env,
        PATH: [path, dirname(process.execPath), process.env.PATH].join(delimiter),
        OS_OPERATOR__SOCKET: host.config.operator.socket,
      };
      const args = ['-c', `{ ${command}; } 2>&1`];
      execFile('/bin/sh', args, { cwd: host.folder, env }, (error, printed) =>
        resolve({ failed: error !== null, printed }),
      );
    });

  test.each(of('simulated').map((it) => [named(it), it.block] as const))('%s', async (_, block) => {
    for (const { line, typed, output } of block.commands) {
      const { failed, printed } = await type(filled(typed, words));
      expect(failed, `line ${line}: ${printed}`).toBe(false);
      const shown = output.map((it) => filled(it, words));
      expect(difference(shown, printed), `line ${line}: shown is\n${shown.join('\n')}`).toBeNull();
    }
  });
});

describe('what the pages name', () => {
  const commands = commandFacts(programFor(new Run({} as CliIo)));

  /** In a block, in a code span, in a table: from the word on to where the command ends. */
  const typedIn = (text: string): readonly string[] =>
    [...text.matchAll(/\bchainkeeper ((?:[a-z]+ )?[a-z]+)((?: +[^\s`'|;&>]+)*)/g)].map(
      ([all]) => all,
    );

  test.each(PAGES)('%s: commands and options that there are', (page) => {
    const code = read(page).match(/^```[\s\S]*?^```$|`[^`\n]+`/gm) ?? [];
    for (const typed of code.flatMap(typedIn)) {
      const words = typed.split(/ +/).slice(1);
      const command = commands.find(({ name }) =>
        name.split(' ').every((word, at) => word === words[at]),
      );
      const name = words.slice(0, 2).join(' ');
      if (command === undefined) {
        expect(
          commands.map((it) => it.name.split(' ')[0]),
          `${page}: ${typed}`,
        ).toContain(words[0]);
        continue;
      }
      const known = command.options.flatMap(({ flags }) => flags.match(/--?[a-z-]+/g) ?? []);
      const used = words.filter((word) => /^--?[a-z]/.test(word));
      expect(known, `${name} in ${page}`).toEqual(expect.arrayContaining(used));
    }
  });

  test.each(PAGES)('%s: pages that are there', (page) => {
    for (const [, name = ''] of read(page).matchAll(/\b(?:docs\/)?([A-Z]+\.md)\b/g)) {
      expect(
        [...PAGES, 'CHANGELOG.md', 'ARCHITECTURE.md'].map((it) => it.split('/').at(-1)),
      ).toContain(name);
    }
  });

  test('a configuration that is understood', () => {
    const [text = ''] = iniIn(read('docs/INSTALL.md'), 'chainkeeper.conf');
    const folder = join(ROOT, 'build');
    mkdirSync(folder, { recursive: true });
    const file = join(folder, 'install.conf');
    writeFileSync(file, text);
    const loaded = loadConfig({ files: [file], env: {} });
    expect(loaded).toMatchObject({ ok: true, warnings: [] });
  });
});

describe('every code', () => {
  const refusals = read('docs/REFUSALS.md');
  const rows = (text: string) =>
    [...text.matchAll(/^\| `([a-z0-9-]+)` \| (.*?) \| (.*?) \|$/gm)].map(
      ([, code, says, helps]) => {
        return { code, says: says?.replaceAll('&lt;', '<'), helps };
      },
    );
  /** The members of a union of words. */
  const union = (file: string, name: string): readonly string[] => {
    const [, body = ''] = new RegExp(`^export type ${name} =([^;]*);`, 'm').exec(read(file)) ?? [];
    return [...body.matchAll(/^ *\| '([a-z0-9-]+)'/gm)].map(([, word = '']) => word);
  };

  test('of a refusal is there, in the words that the program has', () => {
    const flaws = union('src/domain/qcow2.ts', 'FlawKind');
    const written = rows(refusals).filter(({ code = '' }) => !flaws.includes(code));
    const told = written.map(({ code, says }) => ({ code, says }));
    const known = ofEachKind.map((it) => ({ code: it.kind, says: explain(it) }));
    expect(new Set(told)).toEqual(new Set(known));
    expect(told).toHaveLength(known.length);
    for (const { code, helps } of written) expect(helps, code).not.toBe('');
  });

  test('of a header is there', () => {
    const flaws = union('src/domain/qcow2.ts', 'FlawKind');
    const written = rows(refusals).filter(({ code = '' }) => flaws.includes(code));
    expect(flaws.length).toBeGreaterThan(15);
    expect(written.map(({ code }) => code).toSorted()).toEqual(flaws.toSorted());
    for (const { code, helps } of written) expect(helps, code).not.toBe('');
  });

  test('of a finding is in docs/RECOVERY.md, and no other one', () => {
    const codes = union('src/domain/diagnosis.ts', 'FindingCode');
    expect(codes.length).toBeGreaterThan(20);
    const written = rows(read('docs/RECOVERY.md')).map(({ code }) => code);
    expect(written.toSorted()).toEqual(codes.toSorted());
  });

  test('of HTTP is there', () => {
    const folder = 'src/adapters/nova-api';
    const sources = readdirSync(join(ROOT, folder)).map((it) => read(`${folder}/${it}`));
    const said = sources.flatMap((text) => text.match(/\b[345]\d\d(?=,|;| \||:)/g) ?? []);
    const [, section = ''] = /^## Of HTTP([\s\S]*?)^## /m.exec(refusals) ?? [];
    const written = section.match(/\b[345]\d\d\b/g) ?? [];
    const unsent = ['300', '429', '409', '501'];
    expect([...new Set(said)].filter((it) => !unsent.includes(it)).toSorted()).toEqual(
      [...new Set(written)].toSorted(),
    );
  });

  test('of the admin socket is there', () => {
    const folder = 'src/adapters/operator';
    const sources = readdirSync(join(ROOT, folder)).filter((it) => it.endsWith('.ts'));
    const said = sources.flatMap((it) => [
      ...read(`${folder}/${it}`).matchAll(/errorJson\([^)]*?'([a-z-]+)'(?: : '([a-z-]+)')?/g),
    ]);
    const kinds = new Set(said.flatMap(([, one, other]) => [one, other ?? one]));
    expect(kinds.size).toBeGreaterThan(3);
    for (const kind of [...kinds, 'rejected', 'unknown']) expect(refusals).toContain(`\`${kind}\``);
  });

  test('why it does not start is there', () => {
    const from = ['listen.ts', 'main.ts', 'composition.ts', 'adapters/nova-api/tls.ts'];
    const more = ['adapters/operator/admin-api.ts', 'adapters/sqlite/opening.ts'];
    const sentences = [...from, ...more].flatMap((file) => {
      const said = read(`src/${file}`).matchAll(
        /(?:Problem\(|err\(|return |^)\s*`([A-Za-z][^`$]{5,})/gm,
      );
      return [...said].map(([, start = '']) => start.trim());
    });
    expect(sentences.length).toBeGreaterThan(8);
    const [, section = ''] = refusals.split('## Of a start of the service');
    for (const start of sentences) expect(section).toContain(start);
  });

  test('of the journal: each user_version that there has been', async () => {
    const { SCHEMA_VERSION } = await import('#adapters/sqlite/schema.ts');
    const written = [...read('docs/UPGRADE.md').matchAll(/^\| (\d+) \| \d/gm)].map(([, it]) => it);
    const versions = Array.from({ length: SCHEMA_VERSION }, (_, at) => String(at + 1));
    expect(written).toEqual(expect.arrayContaining(versions));
  });
});
