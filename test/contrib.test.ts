import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parsePolicy, passes } from '#adapters/nova-api/policy.ts';
import { EXIT, programFor } from '#adapters/operator/cli.ts';
import { type CliIo, Run } from '#adapters/operator/cli-run.ts';
import { commandFacts } from '#adapters/operator/command-facts.ts';
import { FAMILIES, type Family } from '#adapters/operator/prometheus.ts';
import { loadConfig } from '#app/config.ts';
import { describedOptions } from '#app/config-sample.ts';

const COMMANDS = commandFacts(programFor(new Run({} as CliIo))).map(({ name }) => name);
const OPTIONS = Object.fromEntries(describedOptions().map((it) => [it.name, it.fallback]));
const read = (file: string) => readFileSync(`contrib/${file}`, 'utf8');

/** The metrics that a PromQL expression names, with the labels that it compares or sums by. */
function named(expression: string): readonly string[] {
  return expression.match(/\b(chainkeeper|process)_[a-z_]+/g) ?? [];
}

/** Whether there is a series of this name; a histogram has three, and none of its own. */
function exists(name: string): boolean {
  const [, base = '', part = ''] = /^(.*?)(_bucket|_sum|_count)?$/.exec(name) ?? [];
  const families: Readonly<Record<string, Family>> = FAMILIES;
  if (families[base]?.type === 'histogram') return part !== '';
  return families[name] !== undefined;
}

/** `chainkeeper chain show VOLUME`: the words in small letters. */
const commandsIn = (text: string): readonly string[] =>
  [...text.matchAll(/chainkeeper ((?:[a-z]+ ?){1,2})/g)].map(([, words = '']) => words.trim());

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}
const rules: readonly Rule[] = parse(read('prometheus/chainkeeper.rules.yml')).groups.flatMap(
  (group: { rules: readonly Rule[] }) => group.rules,
);
const dashboard = JSON.parse(read('prometheus/chainkeeper.dashboard.json'));
type Panel = { readonly title: string; readonly targets: readonly { readonly expr: string }[] };
const panels: readonly Panel[] = dashboard.panels;

describe('contrib/prometheus', () => {
  test.each(rules.map((rule) => [rule.alert, rule] as const))('the alert %s', (_, rule) => {
    const names = named(rule.expr);
    expect(rule.expr.startsWith('up{') ? 1 : names.length).toBeGreaterThan(0);
    expect(names.filter((name) => !exists(name))).toEqual([]);
    expect(['warning', 'critical']).toContain(rule.labels.severity);
    expect(rule.annotations.description.length).toBeGreaterThan(20);
    for (const command of commandsIn(rule.annotations.description)) {
      expect(COMMANDS, command).toContain(command);
    }
  });

  test.each(panels.map((panel) => [panel.title, panel] as const))('the panel %s', (_, panel) => {
    const names = panel.targets.flatMap(({ expr }) => named(expr));
    expect(names.length).toBeGreaterThan(0);
    expect(names.filter((name) => !exists(name))).toEqual([]);
  });

  test('the dashboard shows every metric that there is', () => {
    const shown = panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => named(expr)));
    const families = new Set(shown.map((name) => name.replace(/_(bucket|sum|count)$/, '')));
    expect([...families].toSorted()).toEqual(Object.keys(FAMILIES).toSorted());
  });

  test('a name that is not there would be noticed', () => {
    expect(
      ['chainkeeper_chain_depth', 'chainkeeper_operations', 'process_cpu'].map(exists),
    ).toEqual([false, false, false]);
  });
});

describe('contrib/systemd', () => {
  const unit = read('systemd/chainkeeper.service');
  const settings = new Map(
    unit
      .split('\n')
      .filter((line) => /^[A-Z]\w+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );

  test('is told by the service when it is ready, and that it lives', () => {
    expect(settings.get('Type')).toBe('notify');
    expect(Number(settings.get('WatchdogSec'))).toBeGreaterThan(20);
    expect(COMMANDS).toContain(settings.get('ExecStart')?.replace('/usr/bin/chainkeeper ', ''));
  });

  test('makes the folders that the configuration names by default', () => {
    const folder = (option: string) => String(OPTIONS[option]).replace(/\/[^/]*$/, '');
    expect(`/var/lib/${settings.get('StateDirectory')}`).toBe(OPTIONS.state_path);
    expect(`/run/${settings.get('RuntimeDirectory')}`).toBe(folder('socket'));
  });

  test('forbids nothing that Node or the service cannot do without', () => {
    expect(settings.has('MemoryDenyWriteExecute')).toBe(false);
    expect(settings.has('ProtectProc')).toBe(false);
    expect(settings.get('ProtectSystem')).not.toBe('strict');
    expect(settings.get('RestartPreventExitStatus')).toBe(String(EXIT.usage));
  });

  test('leaves no heap behind on the disk: tokens and passwords are in it', () => {
    expect(settings.get('LimitCORE')).toBe('0');
  });

  test.skipIf(!existsSync('/usr/bin/systemd-analyze'))('systemd understands it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'ck-unit-'));
    const file = join(folder, 'chainkeeper.service');
    writeFileSync(file, unit.replace('=/usr/bin/chainkeeper', `=${process.execPath}`));
    const args = ['verify', '--man=no', '--recursive-errors=no', file];
    const { status, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
    rmSync(folder, { recursive: true });
    expect([status, stderr]).toEqual([0, '']);
  });
});

test('contrib/haproxy takes the assisted snapshots, under every path that they have', () => {
  const [, rule = ''] = /path_reg (\S+)/.exec(read('haproxy/chainkeeper.cfg')) ?? [];
  const takes = (path: string) => new RegExp(rule).test(path);
  const project = '0123456789abcdef0123456789abcdef';
  const ours = 'os-assisted-volume-snapshots';
  for (const path of [`/v2.1/${ours}`, `/v2/${project}/${ours}/id`, `/v2.1/${project}/${ours}/`]) {
    expect(takes(path), path).toBe(true);
  }
  const others = [
    '/v2.1/servers',
    `/v2.1/servers/${ours}`,
    `/v2.1/${ours}-x`,
    '/v2.1/os-server-external-events',
  ];
  for (const path of others) expect(takes(path), path).toBe(false);
});

test('contrib/kolla starts the service, with a configuration that it can use', () => {
  const { command, config_files } = JSON.parse(read('kolla/config.json'));
  expect(COMMANDS).toContain(command.replace('chainkeeper ', ''));
  expect(config_files[0].dest).toBe('/etc/chainkeeper/chainkeeper.conf');
  const files = ['contrib/kolla/chainkeeper.conf'];
  const env = { OS_DEFAULT__LOG_FILE: join(tmpdir(), 'chainkeeper.log') };
  expect(loadConfig({ files, env })).toMatchObject({ ok: true, warnings: [] });
});

describe('contrib/debian', () => {
  test('the sample of the policy says what holds without it', () => {
    const sample = read('debian/policy.yaml');
    const said = sample.replaceAll(/^#(?=")/gm, '');
    expect(Object.keys(parse(said))).toHaveLength(6);
    expect(parsePolicy(said)).toEqual(parsePolicy(''));
    expect(parse(sample)).toBeNull();
  });

  test('the policy that SECURITY.md recommends lets readers in, and nobody else', () => {
    const [, rule = ''] =
      /`("chainkeeper:operations:get": "[^`]*")`/.exec(readFileSync('SECURITY.md', 'utf8')) ?? [];
    const policy = parsePolicy(rule);
    const may = (role: string) =>
      policy.ok &&
      (['read', 'create', 'delete'] as const).filter((it) => passes(policy.value[it], [role]));
    expect(may('chainkeeper_reader')).toEqual(['read']);
    expect(may('admin')).toEqual(['create', 'delete']);
  });

  test('the configuration that is installed sets nothing, and its commands are there', () => {
    const installed = read('debian/chainkeeper.conf');
    expect(installed.split('\n').filter((line) => /^[^#]/.test(line))).toEqual([]);
    for (const command of commandsIn(installed.replaceAll(/^# /gm, ''))) {
      if (!command.startsWith('config ')) continue;
      expect(COMMANDS, command).toContain(command);
    }
  });

  /** What a maintainer script does where these commands are others. */
  function scripted(
    script: string,
    args: readonly string[],
    commands: Readonly<Record<string, string>>,
  ) {
    const folder = mkdtempSync(join(tmpdir(), 'ck-maintainer-'));
    for (const [name, text] of Object.entries(commands)) {
      writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
    }
    const { status, stdout, stderr } = spawnSync('/bin/sh', [`contrib/debian/${script}`, ...args], {
      encoding: 'utf8',
      env: { PATH: `${folder}:/usr/bin:/bin`, DPKG_MAINTSCRIPT_PACKAGE: 'chainkeeper-nova' },
    });
    rmSync(folder, { recursive: true });
    return { status, stdout: stdout.split('\n').filter(Boolean), stderr };
  }

  /** Its exit code, and what of others chainkeeper-nova's postinst runs where these users are. */
  function maintained(args: readonly string[], users: Readonly<Record<string, string>>) {
    const groups = Object.entries(users).map(([user, of]) => `${user}) echo '${of}';;`);
    const { status, stdout } = scripted('chainkeeper-nova.postinst', args, {
      getent: `case " ${Object.keys(users).join(' ')} " in *" $2 "*) ;; *) exit 2 ;; esac`,
      id: `case "$2" in ${groups.join(' ')} *) exit 1 ;; esac`,
      adduser: `echo "adduser $*"`,
      py3compile: `echo "py3compile $*"`,
    });
    return [status, ...stdout];
  }

  test('whoever removes the service is told of what is not finished, and nothing keeps it', () => {
    const asked = 'ops list --state open -f value -c id';
    const removed = (action: string, chainkeeper: string) =>
      scripted('chainkeeper.prerm', [action], {
        chainkeeper,
        'deb-systemd-invoke': 'echo "deb-systemd-invoke $*"',
      });
    const open = (...ids: readonly string[]) =>
      `[ "$*" = '${asked}' ] || exit 2; printf '%s' '${ids.map((id) => `${id}\n`).join('')}'`;
    const stops = existsSync('/run/systemd/system')
      ? ['deb-systemd-invoke stop chainkeeper.service']
      : [];
    const two = removed('remove', open('one', 'two'));
    expect(two).toMatchObject({ status: 0, stdout: stops });
    expect(two.stderr).toMatch(/^chainkeeper: 2 operation\(s\) are not finished\./);
    const quiet = { status: 0, stdout: stops, stderr: '' };
    expect(removed('remove', open())).toEqual(quiet);
    // A service that does not run is not asked for what its journal has.
    expect(removed('remove', 'echo "nobody answers" >&2; exit 5')).toEqual(quiet);
    // The next postinst restarts it.
    for (const action of ['upgrade', 'deconfigure', 'failed-upgrade']) {
      expect(removed(action, open('one')), action).toEqual({ ...quiet, stdout: [] });
    }
    expect(COMMANDS).toContain('ops list');
  });

  test('nova gets into the group, whichever comes first, and once', () => {
    const joins = 'adduser --quiet nova chainkeeper';
    const compiles = 'py3compile -p chainkeeper-nova';
    const later = ['triggered', '/usr/bin/nova-manage'];
    expect(maintained(['configure', ''], {})).toEqual([0, compiles]);
    expect(maintained(later, { nova: 'nova libvirt' })).toEqual([0, joins]);
    expect(maintained(['configure', ''], { nova: 'nova' })).toEqual([0, compiles, joins]);
    expect(maintained(later, { nova: 'nova chainkeeper' })).toEqual([0]);
    expect(maintained(later, {})).toEqual([0]);
    const asked = read('debian/chainkeeper-nova.triggers');
    expect(read('debian/chainkeeper.triggers')).toContain(asked);
    expect(asked).toBe(`interest-noawait ${later[1]}\n`);
  });
});
