import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { programFor, runCli } from '#adapters/operator/cli.ts';
import { type CliIo, Run } from '#adapters/operator/cli-run.ts';
import { commandFacts } from '#adapters/operator/command-facts.ts';
import { configurationPage } from '#adapters/operator/manual.ts';
import { describedOptions } from '#app/config-sample.ts';

async function printed(...argv: string[]): Promise<string> {
  let out = '';
  const io = {
    stdout: { write: (text: string) => (out += text) },
    stderr: { write: (text: string) => expect.unreachable(text) },
    config: { options: describedOptions },
  };
  expect(await runCli(argv, io as unknown as CliIo)).toBe(0);
  return out;
}

const commands = commandFacts(programFor(new Run({} as CliIo)));
/** roff's words, as a reader has them. */
const plain = (page: string) => page.replaceAll('\\-', '-').replaceAll('\\(aq', "'");

describe('chainkeeper(1)', () => {
  test('has every command, every argument and every option that there is', async () => {
    const page = plain(await printed('manual', '1'));
    for (const { name, takes, options } of commands) {
      const [, section = ''] = page.split(new RegExp(`^\\.SS ${name}\\n`, 'm'));
      const own = section.split('\n.S')[0] ?? '';
      expect(section, name).not.toBe('');
      for (const { flags, choices } of options) {
        expect(own, name).toContain(`.TP\n.B ${flags}\n`);
        for (const choice of choices) expect(own, flags).toContain(choice);
      }
      expect(page).toContain(`.B chainkeeper ${name}\n`);
      for (const it of takes) expect(own, it.name).toContain(`.I ${it.name}\n`);
    }
  });

  test('every command and option says what it is for', () => {
    for (const { name, says, options } of commands) {
      expect(says, name).not.toBe('');
      for (const { long, says } of options) expect(says, `${name} ${long}`).not.toBe('');
    }
  });
});

test('chainkeeper.conf(5) has every option, with its default and its limits', async () => {
  const page = plain(await printed('manual', '5'));
  for (const { group, name, fallback, choices = [], most } of describedOptions()) {
    const [, section = ''] = page.split(`.SH [${group}]\n`);
    const [, entry = ''] = section.split(`.TP\n.BR ${name} `);
    const own = entry.split('\n.TP')[0] ?? '';
    expect(own, name).not.toBe('');
    for (const word of [...choices, String(most ?? ''), fallback ?? '']) {
      expect(own, name).toContain(word);
    }
  }
});

test('no text of ours is a request of roff', () => {
  const says = '.so /etc/passwd \\n[x]';
  const option = { group: 'g', name: 'o', fallback: null, type: 'string', says } as const;
  const page = configurationPage([option], { version: '1' });
  expect(page).toContain('\n\\&.so /etc/passwd \\en[x]\n');
});

test.skipIf(!existsSync('/usr/bin/groff'))('groff has nothing to say against them', async () => {
  for (const section of ['1', '5']) {
    const input = await printed('manual', section);
    const made = spawnSync('groff', ['-man', '-Tutf8', '-ww', '-b'], { input, encoding: 'utf8' });
    expect([made.status, made.stderr]).toEqual([0, '']);
    expect(made.stdout).toContain(section === '1' ? 'snapshots of Cinder volumes' : 'oslo.config');
  }
});

describe('the completion', () => {
  /** What bash would offer for the last of these words. */
  async function offered(...words: string[]): Promise<readonly string[]> {
    const script = await printed('completion', 'bash');
    const line = ['chainkeeper', ...words].map((word) => `'${word}'`).join(' ');
    const ask = `${script}\nCOMP_WORDS=(${line})\nCOMP_CWORD=${words.length}\n_chainkeeper
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const ended = spawnSync('bash', ['--norc', '-c', ask], { encoding: 'utf8' });
    expect(ended.stderr).toBe('');
    return ended.stdout.split('\n').filter((word) => word !== '');
  }

  test.each<[string[], string[]]>([
    [['o'], ['ops']],
    [
      ['ops', ''],
      ['list', 'show', 'abort', 'settle', 'watch', '--help'],
    ],
    [['ops', 'se'], ['settle']],
    [['ops', 'settle', 'op-1', '--a'], ['--as']],
    [
      ['ops', 'settle', '--as', ''],
      ['done', 'failed'],
    ],
    [['chain', 'show', '-f', 'j'], ['json']],
    [['plan', 'create', '--volume', ''], []],
    [['serve', '--config-file', 'package.j'], ['package.json']],
    [['header', 'LIC'], ['LICENSE']],
    [['nonsense', 'o'], ['ops']],
    [
      ['manual', ''],
      ['1', '5', '--help'],
    ],
    [['manual', '5'], ['5']],
    [['completion', 'b'], ['bash']],
    [['hel'], ['help']],
    [['--v'], ['--version']],
    [['ops', 'list', '--format', '=', 'y'], ['yaml']],
    [
      ['ops', 'list', '--state', '='],
      ['open', 'ended', 'all'],
    ],
  ])('%j', async (words, offers) => {
    expect(await offered(...words)).toEqual(offers);
  });

  test('a name with a space is one word', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'ck-completion-'));
    for (const name of ['a b.conf', 'a c.conf']) writeFileSync(join(folder, name), '');
    const names = [join(folder, 'a b.conf'), join(folder, 'a c.conf')];
    const sorted = async (...words: string[]) => [...(await offered(...words))].sort();
    expect(await sorted('serve', '--config-file', join(folder, 'a '))).toEqual(names);
    expect(await sorted('header', join(folder, 'a '))).toEqual(names);
    rmSync(folder, { recursive: true });
  });

  test('whatever a value may be is offered, of each option and of each argument', async () => {
    const asked: Promise<unknown>[] = [];
    for (const { name, takes, options } of commands) {
      for (const { long, choices } of options.filter(({ choices }) => choices.length > 0)) {
        asked.push(expect(offered(...name.split(' '), long, '')).resolves.toEqual(choices));
      }
      const choices = takes.flatMap(({ choices }) => choices);
      const words = offered(...name.split(' '), '');
      asked.push(expect(words).resolves.toEqual(expect.arrayContaining(choices)));
    }
    expect(asked.length).toBeGreaterThan(20);
    await Promise.all(asked);
  });

  test('every command is offered, and every option of it', async () => {
    for (const { name, options } of commands) {
      const words = name.split(' ');
      const last = words.at(-1) ?? '';
      expect(await offered(...words.slice(0, -1), ''), name).toContain(last);
      const flags = await offered(...words, '--');
      for (const { long } of options) expect(flags, name).toContain(long);
    }
  });
});
