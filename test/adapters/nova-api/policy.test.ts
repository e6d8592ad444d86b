import { describe, expect, test } from 'vitest';
import { type Policy, parsePolicy, passes, ruleOf } from '#adapters/nova-api/policy.ts';

const CREATE = ruleOf('create');
const of = (rules: object): Policy => {
  const policy = parsePolicy(JSON.stringify(rules));
  if (!policy.ok) throw new Error(policy.error.join('\n'));
  return policy.value;
};
const problems = (text: string): readonly string[] => {
  const policy = parsePolicy(text);
  return policy.ok ? [] : policy.error;
};

describe.each([
  ['an empty file', ''],
  ['comments alone', '# nothing\n'],
  ["other people's rules alone", '"os_compute_api:servers:create": "project_id:%(project_id)s"'],
])('by default, with %s', (_, text) => {
  const policy = parsePolicy(text);
  test.each([
    [['service'], true],
    [['admin'], true],
    [['Admin', 'member'], true],
    [['member', 'reader'], false],
    [['services', 'administrator'], false],
    [[], false],
  ])('%j: %s', (roles, may) => {
    if (!policy.ok) throw new Error(policy.error.join());
    expect(passes(policy.value.create, roles)).toBe(may);
    expect(passes(policy.value.delete, roles)).toBe(may);
    expect(passes(policy.value.read, roles)).toBe(may);
  });
});

test('who reads what the operator sees may do nothing else', () => {
  const policy = of({ 'chainkeeper:operations:get': 'role:reader' });
  expect([passes(policy.read, ['reader']), passes(policy.create, ['reader'])]).toEqual([
    true,
    false,
  ]);
  expect(problems('chainkeeper:operations:gte: "@"')).toHaveLength(1);
});

test('an override is of one rule, and of what others name', () => {
  const one = of({ [CREATE]: 'role:cinder' });
  expect([passes(one.create, ['cinder']), passes(one.create, ['admin'])]).toEqual([true, false]);
  expect([passes(one.delete, ['cinder']), passes(one.delete, ['admin'])]).toEqual([false, true]);
  const base = of({ context_is_admin: 'role:root' });
  expect([passes(base.create, ['root']), passes(base.create, ['admin'])]).toEqual([true, false]);
});

/** The language of oslo_policy/_parser.py; test/live/keystone.test.ts asks oslo.policy itself. */
test.each<[string, string, boolean]>([
  ['@', '', true],
  ['!', 'a b c', false],
  ['role:A', 'a', true],
  ['role:a or role:b and role:c', 'a', true],
  ['role:a or role:b and role:c', 'b', false],
  ['role:a and role:b or role:c', 'c', true],
  ['(role:a or role:b) and role:c', 'a', false],
  ['(role:a or role:b) and role:c', 'b c', true],
  ['not role:a and role:b', 'b', true],
  ['not role:a and role:b', 'a b', false],
  ['not (role:a and role:b)', 'a', true],
  ['not not role:a', 'a', true],
  ['NOT role:a OR role:b', 'a b', true],
  ['((role:a))', 'a', true],
  ['( role:a )', 'a', true],
  ['rule:mine and role:b', 'a b', true],
  ['rule:mine and role:b', 'b', false],
])('%j lets %j in: %s', (rule, roles, may) => {
  const { create } = of({ [CREATE]: rule, mine: 'role:a' });
  expect(passes(create, roles.split(' '))).toBe(may);
});

describe('what it does not understand is a mistake', () => {
  test.each([
    ['project_id:%(project_id)s', "at 'project_id:%(project_id)s'"],
    ['is_admin:True', "at 'is_admin:True'"],
    ['role:%(role)s', "at 'role:%(role)s'"],
    ["'service':%(roles)s", "at ''service':%(roles)s'"],
    ['http://example/check', "at 'http://example/check'"],
    ['service', "at 'service'"],
    ['role:', "at 'role:'"],
    ['"role:a"', `at '"role:a"'`],
    ['role:a role:b', "at 'role:b'"],
    ['role:a and', 'at its end'],
    ['and role:a', "at 'and'"],
    ['(role:a', "where a ')' is missing"],
    ['role:a)', "at ')'"],
    ['()', "at ')'"],
    ['not', 'at its end'],
    ['role:a && role:b', "at '&&'"],
  ])('%j', (rule, where) => {
    expect(problems(JSON.stringify({ [CREATE]: rule }))).toEqual([
      `'${CREATE}' is '${rule}', not understood ${where}: it may hold role:NAME, rule:NAME, and, ` +
        'or, not, parentheses, @ and !',
    ]);
  });

  test.each([
    [`"${CREATE}": ""`, `'${CREATE}' is empty: write '@' for everybody, '!' for nobody`],
    [`"${CREATE}":`, `'${CREATE}' is no text: write '@' for everybody, '!' for nobody`],
    [`"${CREATE}": []`, `'${CREATE}' is no text: write '@' for everybody, '!' for nobody`],
    [`"${CREATE}": "rule:gone"`, `'${CREATE}' names the rule 'gone', which is nowhere`],
    [`"${CREATE}": "rule:toString"`, `'${CREATE}' names the rule 'toString', which is nowhere`],
    [
      `"${CREATE}": "rule:a"\na: "rule:b"\nb: "not rule:a"`,
      `'${CREATE}' leads to 'a' leads to 'b' leads to 'a'`,
    ],
    [
      '"os_compute_api:os-assisted-volume-snapshot:create": "@"',
      "'os_compute_api:os-assisted-volume-snapshot:create' is no rule of ours: there are " +
        `${CREATE}, ${ruleOf('delete')}, ${ruleOf('read')}`,
    ],
    ['- a', 'it is no list of names and rules'],
    ['text', 'it is no list of names and rules'],
  ])('%j', (text, problem) => {
    expect(problems(text)).toEqual([problem]);
  });

  test('YAML that is none, and a rule that is given twice', () => {
    expect(problems('a: [')).toHaveLength(1);
    expect(problems(`"${CREATE}": "!"\n"${CREATE}": "@"`)).toHaveLength(1);
  });
});
