// Builds dist/ for the published package. tsc leaves `#domain/chain.ts` as it is, so dist gets an
// imports map of its own; and what is not TypeScript (the page) is copied over.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');

const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const imports = Object.fromEntries(
  [
    ['#domain', './domain'],
    ['#ports', './ports'],
    ['#adapters', './adapters'],
    ['#app', '.'],
    ['#sim', './sim'],
  ].flatMap(([layer, folder]) => [
    [`${layer}/*.ts`, `${folder}/*.js`],
    [`${layer}/*`, `${folder}/*`],
  ]),
);

rmSync(dist, { recursive: true, force: true });
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const built = spawnSync(process.execPath, [tsc, '-b', 'src', 'sim'], {
  cwd: root,
  stdio: 'inherit',
});
if (built.status !== 0) process.exit(built.status ?? 1);

const manifest = { name, version, private: true, type: 'module', imports };
writeFileSync(join(dist, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);

for (const [from, to] of [
  ['src', dist],
  ['sim', join(dist, 'sim')],
]) {
  if (existsSync(join(root, from))) {
    cpSync(join(root, from), to, { recursive: true, filter: isAsset });
  }
}

// The manual pages and the completion, made by the commands themselves.
mkdirSync(join(dist, 'share'));
for (const [file, ...args] of [
  ['chainkeeper.1', 'manual', '1'],
  ['chainkeeper.conf.5', 'manual', '5'],
  ['chainkeeper.bash', 'completion', 'bash'],
  ['chainkeeper.conf.sample', 'config', 'sample'],
]) {
  const made = spawnSync(process.execPath, [join(dist, 'main.js'), ...args], { cwd: root });
  if (made.status !== 0) throw new Error(`${args.join(' ')}: ${made.stderr}`);
  writeFileSync(join(dist, 'share', file), made.stdout);
}

function isAsset(path) {
  return (
    statSync(path).isDirectory() || (extname(path) !== '.ts' && !path.endsWith('tsconfig.json'))
  );
}
