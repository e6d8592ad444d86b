// What `npm run X` starts: sees to node_modules, then runs the real thing on Node 24.
// Plain JavaScript without dependencies, for it must run on Node 20 in a fresh clone.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const at = (...parts) => join(root, ...parts);
const bin = at('node_modules/.bin');
const node = at('node_modules/node/bin/node');

const programs = {
  demo: 'demo/main.ts',
  start: 'sim/main.ts',
  sim: 'sim/seeds.ts',
  planted: 'test/planted/main.ts',
  mutation: 'scripts/mutation/main.mjs',
  bench: 'bench/main.ts',
  openapi: 'scripts/openapi.mjs',
  deb: 'scripts/deb.mjs',
};
const suites = {
  test: (args) => [
    ['node_modules/typescript/bin/tsc', '-b'],
    ['node_modules/@biomejs/biome/bin/biome', 'ci', ...plain(), '.'],
    vitest('test', args),
  ],
  'test:live': (args) => [vitest('test-live', ['--config', 'vitest.live.config.ts', ...args])],
};

const [what = '', ...args] = process.argv.slice(2);
process.chdir(root);
process.exit(await main());

async function main() {
  const program = programs[what];
  const suite = suites[what];
  if (!program && !suite) return complain(`first.mjs does not know "${what}"`, 2);
  if (program && !existsSync(at(program))) return complain(`npm run ${what} is not there yet.`, 2);
  if (!installed() && !install()) return 1;
  if (program) return run([program, ...args]);

  let worst = 0; // every check has its say, so that one red run shows all there is to mend
  for (const step of suite(args)) {
    const code = await run(step);
    if (code > 128) return code; // stopped by a signal
    worst = Math.max(worst, code);
  }
  return worst;
}

/** The report says how many tests passed and failed; .ci/run adds them up. */
function vitest(name, args) {
  mkdirSync(at('build'), { recursive: true });
  rmSync(at(`build/${name}.json`), { force: true });
  const report = ['--reporter=default', '--reporter=json', `--outputFile.json=build/${name}.json`];
  return ['node_modules/vitest/vitest.mjs', 'run', ...report, ...args];
}

/** Runs a script on Node 24. Resolves to its exit code, as a shell would count it. */
function run(command) {
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ''}` };
  // Over the channel those that stay until Ctrl-C learn that we were killed without a word.
  const stays = what === 'start' || what === 'demo';
  const stdio = ['inherit', 'inherit', 'inherit', ...(stays ? ['ipc'] : [])];
  const child = spawn(node, command, { stdio, env });
  // And we that npm was: its child is given to somebody else then.
  const parent = process.ppid;
  const watched = setInterval(() => {
    if (process.env.npm_lifecycle_event && process.ppid !== parent) child.kill('SIGTERM');
  }, 1000);
  // A terminal sends Ctrl-C to the child as well; anyone else only knows our pid.
  const forward = (signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, forward);
  return new Promise((resolve) => {
    const done = (code) => {
      clearInterval(watched);
      for (const signal of signals) process.off(signal, forward);
      resolve(code);
    };
    child.on('error', (error) => done(complain(`cannot run ${node}: ${error.message}`, 1)));
    child.on('exit', (code, signal) => done(code ?? 128 + constants.signals[signal]));
  });
}

/** Whether node_modules holds what the lockfile asks for: npm notes there what it installed. */
function installed() {
  if (!existsSync(node)) return false;
  const wanted = packages('package-lock.json');
  const found = packages('node_modules/.package-lock.json');
  return Object.entries(wanted).every(([path, { version, integrity, optional }]) => {
    const has = found[path];
    return path === '' || (has ? has.version === version && has.integrity === integrity : optional);
  });
}

function packages(lockfile) {
  return existsSync(at(lockfile)) ? JSON.parse(readFileSync(at(lockfile), 'utf8')).packages : {};
}

function install() {
  process.stderr.write('chainkeeper: installing what package-lock.json lists (npm ci)\n');
  const npm = process.env.npm_execpath;
  const [command, ...before] = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm'];
  const done = spawnSync(
    command,
    [...before, 'ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=notice'],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 2 ** 26,
    },
  );
  if (done.status === 0 && existsSync(node)) return true;
  process.stderr.write(`${done.stdout ?? ''}${done.stderr ?? ''}${done.error ?? ''}\n`);
  complain('npm ci did not install the packages, or not Node 24 (package "node")', 1);
  return false;
}

function plain() {
  return process.stdout.isTTY ? [] : ['--colors=off'];
}

function complain(sentence, code) {
  process.stderr.write(`chainkeeper: ${sentence}\n`);
  return code;
}
