// npm run mutation [-- FILE...]: breaks one thing at a time in the domain and the runner, and counts
// how often a test goes red (Stryker). Fails below 95%, and when a mutant lives on for which
// survivors.json has no reason, or when a reason there has lost its mutant.
// Stryker is 61 MB that no other command needs, so it is installed apart, into build/mutation/.
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { judge } from './judge.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../..');
const build = join(root, 'build/mutation');

process.chdir(root);
process.exitCode = await main(process.argv.slice(2));

async function main(files) {
  if (!installed() && !install()) return 1;
  const begun = Date.now();
  rmSync(join(build, 'report.json'), { force: true });
  const code = await stryker(files);
  rmSync(join(build, 'sandbox'), { recursive: true, force: true }); // a stopped one leaves it
  if (code !== 0) return code;
  const report = JSON.parse(read(join(build, 'report.json')));
  const { lines, good } = judge(report, JSON.parse(read(join(here, 'survivors.json'))));
  const seconds = Math.round((Date.now() - begun) / 1000);
  process.stdout.write(`\n${lines.join('\n')}\nin ${seconds} s\n`);
  return good ? 0 : 1;
}

/** Whether build/ holds what the lockfile beside this script asks for: npm notes it there. */
function installed() {
  const noted = join(build, 'node_modules/.package-lock.json');
  if (!existsSync(noted)) return false;
  const found = JSON.parse(read(noted)).packages;
  const { '': _, ...wanted } = JSON.parse(read(join(here, 'package-lock.json'))).packages;
  return Object.entries(wanted).every(
    ([path, { integrity, optional }]) => found[path]?.integrity === integrity || optional,
  );
}

/** Without vitest, which Stryker is to find in the node_modules of chainkeeper. */
function install() {
  process.stderr.write('chainkeeper: installing Stryker into build/mutation (npm ci)\n');
  mkdirSync(build, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) {
    cpSync(join(here, name), join(build, name));
  }
  const npm = process.env.npm_execpath;
  const [command, ...before] = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm'];
  const flags = ['--ignore-scripts', '--legacy-peer-deps', '--no-audit', '--no-fund'];
  const done = spawnSync(command, [...before, 'ci', ...flags], { cwd: build, encoding: 'utf8' });
  if (done.status === 0) return true;
  process.stderr.write(`${done.stdout ?? ''}${done.stderr ?? ''}${done.error ?? ''}\n`);
  process.stderr.write('chainkeeper: npm ci did not install Stryker\n');
  return false;
}

function stryker(files) {
  const program = join(build, 'node_modules/@stryker-mutator/core/bin/stryker.js');
  const config = relative(root, join(here, 'stryker.config.json'));
  const only = files.length > 0 ? ['--mutate', files.join(',')] : [];
  const child = spawn(process.execPath, [program, 'run', config, ...only], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => child.kill(signal));
  }
  return new Promise((resolve) => child.on('close', (code) => resolve(code ?? 1)));
}

function read(file) {
  return readFileSync(file, 'utf8');
}
