import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { programFor } from '#adapters/operator/cli.ts';
import { type CliIo, Run } from '#adapters/operator/cli-run.ts';
import { commandFacts } from '#adapters/operator/command-facts.ts';
import { FAMILIES, type Family } from '#adapters/operator/prometheus.ts';

const COMMANDS = commandFacts(programFor(new Run({} as CliIo))).map(({ name }) => name);
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
