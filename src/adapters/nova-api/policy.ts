import { parseDocument } from 'yaml';
import { err, ok, type Result } from '#domain/result.ts';

/** A rule with every name in it followed. */
export type Check =
  | { readonly kind: 'anyone' }
  | { readonly kind: 'nobody' }
  | { readonly kind: 'role'; readonly role: string }
  | { readonly kind: 'not'; readonly check: Check }
  | { readonly kind: 'and' | 'or'; readonly checks: readonly Check[] };

/** Who may ask for what. */
export interface Policy {
  readonly create: Check;
  readonly delete: Check;
  /** What the operator's port shows. */
  readonly read: Check;
}

const RULES = {
  create: 'os_compute_api:os-assisted-volume-snapshots:create',
  delete: 'os_compute_api:os-assisted-volume-snapshots:delete',
  read: 'chainkeeper:operations:get',
} as const satisfies Record<keyof Policy, string>;
export const ruleOf = (action: keyof Policy): string => RULES[action];

/** Nova's (nova/policies/base.py of 2026.1); the last two go by older names in older files. */
const DEFAULTS: Readonly<Record<string, string>> = {
  [ruleOf('create')]: 'rule:service_or_admin',
  [ruleOf('delete')]: 'rule:service_or_admin',
  [ruleOf('read')]: 'rule:service_or_admin',
  service_or_admin: 'rule:service_api or rule:context_is_admin',
  service_api: 'role:service',
  context_is_admin: 'role:admin',
  admin_api: 'rule:context_is_admin',
  admin_required: 'role:admin',
};

/**
 * The rules of policy.yaml that are ours, and all that they lead to. Of oslo.policy's language
 * it knows roles, rules, `and`, `or`, `not`, parentheses, `@` and `!`; a rule of ours that says
 * anything else is a mistake, and is never passed over. Rules of others may stand in the file.
 */
export function parsePolicy(text: string): Result<Policy, readonly string[]> {
  const document = parseDocument(text, { prettyErrors: false });
  const said: unknown = document.errors.length > 0 ? undefined : (document.toJS() ?? {});
  if (typeof said !== 'object' || said === null || Array.isArray(said)) {
    return err([document.errors[0]?.message ?? 'it is no list of names and rules']);
  }
  const strange = Object.keys(said)
    .filter((name) => /assisted.volume|^chainkeeper:/i.test(name) && !Object.hasOwn(DEFAULTS, name))
    .map((name) => `'${name}' is no rule of ours: there are ${Object.values(RULES).join(', ')}`);
  const rules = { ...DEFAULTS, ...said };
  const [create, remove, read] = [RULES.create, RULES.delete, RULES.read].map((name) =>
    follow(name, rules, []),
  );
  const problems = [create, remove, read].flatMap((it) => (it?.ok === false ? [it.error] : []));
  if (create?.ok && remove?.ok && read?.ok && strange.length === 0) {
    return ok({ create: create.value, delete: remove.value, read: read.value });
  }
  return err([...new Set([...strange, ...problems])]);
}

/** Whether these roles pass. Their case is of no account (oslo_policy/_checks.py RoleCheck). */
export function passes(check: Check, roles: readonly string[]): boolean {
  switch (check.kind) {
    case 'anyone':
      return true;
    case 'nobody':
      return false;
    case 'role':
      return roles.some((role) => role.toLowerCase() === check.role);
    case 'not':
      return !passes(check.check, roles);
    case 'and':
      return check.checks.every((it) => passes(it, roles));
    case 'or':
      return check.checks.some((it) => passes(it, roles));
  }
}

type Rules = Readonly<Record<string, unknown>>;

function follow(name: string, rules: Rules, from: readonly string[]): Result<Check, string> {
  if (from.includes(name)) return err(`'${[...from, name].join("' leads to '")}'`);
  const text = Object.hasOwn(rules, name) ? rules[name] : undefined;
  if (text === undefined) return err(`'${from.at(-1)}' names the rule '${name}', which is nowhere`);
  const hint = "write '@' for everybody, '!' for nobody";
  if (typeof text !== 'string') return err(`'${name}' is no text: ${hint}`);
  // oslo.policy lets everybody in.
  if (text.trim() === '') return err(`'${name}' is empty: ${hint}`);
  return new Parser(name, text, (it) => follow(it, rules, [...from, name])).whole();
}

/** oslo_policy/_parser.py: parentheses stand at the ends of words, `not` binds before `and`. */
class Parser {
  readonly #name: string;
  readonly #text: string;
  readonly #words: string[];
  readonly #follow: (name: string) => Result<Check, string>;

  constructor(name: string, text: string, followed: (name: string) => Result<Check, string>) {
    this.#name = name;
    this.#text = text;
    this.#words = text.split(/\s+/).flatMap(wordsIn);
    this.#follow = followed;
  }

  whole(): Result<Check, string> {
    const check = this.#joined('or');
    const left = this.#words[0];
    return check.ok && left !== undefined ? this.#wrong(`at '${left}'`) : check;
  }

  #joined(by: 'and' | 'or'): Result<Check, string> {
    const checks: Check[] = [];
    do {
      const next = by === 'or' ? this.#joined('and') : this.#single();
      if (!next.ok) return next;
      checks.push(next.value);
    } while (this.#takes(by));
    const [only] = checks;
    return ok(checks.length === 1 && only !== undefined ? only : { kind: by, checks });
  }

  #single(): Result<Check, string> {
    if (this.#takes('not')) {
      const check = this.#single();
      return check.ok ? ok({ kind: 'not', check: check.value }) : check;
    }
    if (this.#takes('(')) {
      const inner = this.#joined('or');
      if (inner.ok && !this.#takes(')')) return this.#wrong("where a ')' is missing");
      return inner;
    }
    const word = this.#words.shift();
    if (word === undefined) return this.#wrong('at its end');
    if (word === '@') return ok({ kind: 'anyone' });
    if (word === '!') return ok({ kind: 'nobody' });
    const [, kind, name = ''] = /^(role|rule):([^%()'"]+)$/.exec(word) ?? [];
    if (kind === 'role') return ok({ kind, role: name.toLowerCase() });
    if (kind === 'rule') return this.#follow(name);
    return this.#wrong(`at '${word}'`);
  }

  #takes(word: string): boolean {
    if (this.#words[0]?.toLowerCase() !== word) return false;
    this.#words.shift();
    return true;
  }

  #wrong(where: string): Result<Check, string> {
    const known = 'role:NAME, rule:NAME, and, or, not, parentheses, @ and !';
    return err(`'${this.#name}' is '${this.#text}', not understood ${where}: it may hold ${known}`);
  }
}

/** `((role:a)` is three words, and `%(name)s` is part of one (oslo_policy _parse_tokenize). */
function wordsIn(text: string): readonly string[] {
  const [, opening = '', rest = ''] = /^(\(*)(.*)$/s.exec(text) ?? [];
  const [, word = '', closing = ''] = /^(.*?)(\)*)$/s.exec(rest) ?? [];
  return [...opening, word, ...closing].filter(Boolean);
}
