import { expect, test } from 'vitest';

/** Plain JavaScript, like all that runs before there is a Node 24. */
const { judge } = await import('../scripts/mutation/judge.mjs' as string);

const FILE = 'src/domain/a.ts';
const SOURCE = 'const one = 1;\nconst two = one + 1;\n';
const LINE = 'const two = one + 1;';
const REASON = { file: FILE, line: LINE, mutant: 'one + 1 => one - 1', why: 'nobody asks' };
const survivor = {
  status: 'Survived',
  replacement: 'one - 1',
  location: { start: { line: 2, column: 13 }, end: { line: 2, column: 20 } },
};
const killed = { ...survivor, status: 'Killed' };
const endless = { ...survivor, status: 'Timeout' };
const unloaded = { ...survivor, status: 'RuntimeError' };
const unreached = { ...survivor, status: 'NoCoverage' };

/** A report of this many dead mutants and these others. */
const report = (dead: number, ...others: readonly object[]) => ({
  files: { [FILE]: { source: SOURCE, mutants: [...Array(dead).fill(killed), ...others] } },
});

test('a report is good when what lives on has its reason', () => {
  expect(judge(report(19, survivor), [REASON]).good).toBe(true);
  expect(judge(report(19, unreached), [REASON]).good).toBe(true);
  expect(judge(report(18, endless, survivor), [REASON]).good).toBe(true);
  expect(judge(report(19), []).good).toBe(true);
});

test.each<[string, object, readonly object[], string]>([
  ['lives on without a reason', report(99, survivor), [], `${LINE}\n  one + 1 => one - 1`],
  ['has a reason for another one', report(99, survivor), [{ ...REASON, mutant: 'x' }], LINE],
  ['has a reason and is dead', report(99), [REASON], 'dead or gone'],
  ['lives on in too many places', report(18, survivor), [REASON], 'mutation score 94.74%'],
  ['counts only if it loads', report(18, survivor, unloaded), [REASON], 'mutation score 94.74%'],
])('no report is good of which a mutant %s', (_, one, reasons, said) => {
  const { good, lines } = judge(one, reasons);
  expect(good).toBe(false);
  expect(lines.join('\n')).toContain(said);
});

test('a reason for a file that was not tried is left alone', () => {
  expect(judge(report(20), [{ ...REASON, file: 'src/domain/b.ts' }]).good).toBe(true);
});
