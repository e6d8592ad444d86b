// What a mutation report comes to: the score of each file, and which mutant lives on and why.

const NEEDED = 95;

/** `reasons` has for each mutant that may live on its file, its line, what it does, and why. */
export function judge(report, reasons) {
  const files = Object.entries(report.files);
  const mutants = files.flatMap(([file, { source, mutants }]) =>
    mutants.map((mutant) => ({ file, status: mutant.status, ...words(source, mutant) })),
  );
  const alive = mutants.filter((one) => counts(one).valid && !counts(one).killed);
  const same = (one) => (other) =>
    ['file', 'line', 'mutant'].every((part) => one[part] === other[part]);
  const unexplained = alive.filter((one) => !reasons.some(same(one)));
  const idle = reasons.filter((one) => one.file in report.files && !alive.some(same(one)));
  const score = scoreOf(mutants);
  const lines = [
    ...files.map(([file]) =>
      line(
        file,
        mutants.filter((one) => one.file === file),
      ),
    ),
    line('all', mutants),
    ...unexplained.map((one) => `\nlives on without a reason: ${place(one)}`),
    ...idle.map((one) => `\nexplained, but dead or gone: ${place(one)}`),
    `\n${alive.length} live on, ${alive.length - unexplained.length} of them for a reason in ` +
      'scripts/mutation/survivors.json',
    `mutation score ${score.toFixed(2)}%, ${NEEDED}% needed`,
  ];
  return { lines, good: score >= NEEDED && unexplained.length === 0 && idle.length === 0 };
}

/** The line that a mutant changes, and what it makes of which part of it. */
function words(source, { location: { start, end }, replacement }) {
  const lines = source.split('\n').slice(start.line - 1, end.line);
  const line = lines[0].trim();
  lines[lines.length - 1] = lines.at(-1).slice(0, end.column - 1);
  lines[0] = lines[0].slice(start.column - 1);
  const flat = (text) => text.replace(/\s+/g, ' ').trim();
  return { line, mutant: `${flat(lines.join('\n'))} => ${flat(replacement)}` };
}

/** One that no test reaches lives on; one that does not load, or that types forbid, is none. */
function counts({ status }) {
  const killed = status === 'Killed' || status === 'Timeout';
  return { killed, valid: killed || status === 'Survived' || status === 'NoCoverage' };
}

function scoreOf(mutants) {
  const valid = mutants.filter((one) => counts(one).valid);
  return (100 * valid.filter((one) => counts(one).killed).length) / Math.max(1, valid.length);
}

function line(name, mutants) {
  const count = (status) => mutants.filter((one) => one.status === status).length;
  const killed = count('Killed') + count('Timeout');
  const living = count('Survived') + count('NoCoverage');
  const notes = [
    `${killed} of ${killed + living}`,
    ...(count('Timeout') > 0 ? [`${count('Timeout')} by not coming back`] : []),
    ...(count('RuntimeError') > 0 ? [`${count('RuntimeError')} do not load`] : []),
  ];
  return `${name.padEnd(28)}${scoreOf(mutants).toFixed(2).padStart(7)}%  ${notes.join(', ')}`;
}

const place = ({ file, line, mutant }) => `${file}\n  ${line}\n  ${mutant}`;
