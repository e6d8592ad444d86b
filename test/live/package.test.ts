/** The published package: packed, installed elsewhere, and run from there. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort, run, waitFor } from './lab/processes.ts';

/** The machine's own npm needs its own Node; Node 24 comes first on the path of the tests. */
const NPM = ['/usr/bin/npm', '/usr/local/bin/npm'].find((path) => existsSync(path)) ?? 'npm';
const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` };

let place: string;
let chainkeeper: string;

beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), 'chainkeeper-package-'));
  await run(NPM, ['pack', '--silent', '--pack-destination', place], { env });
  writeFileSync(join(place, 'package.json'), '{"private":true}');
  const tarball = join(place, 'chainkeeper-0.1.0.tgz');
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  await run(NPM, ['install', '--prefix', place, ...flags, tarball], { env });
  chainkeeper = join(place, 'node_modules/chainkeeper/bin/chainkeeper.js');
}, 300_000);
afterAll(() => rmSync(place, { recursive: true, force: true }));

test('holds what runs and nothing else', () => {
  const at = (path: string) => existsSync(join(place, 'node_modules/chainkeeper', path));
  expect(at('dist/main.js')).toBe(true);
  expect(at('dist/sim/main.js')).toBe(true);
  expect(at('LICENSE')).toBe(true);
  expect(at('contrib/libvirt/chainkeeper')).toBe(true);
  expect(at('contrib/cinder/test_chainkeeper_api.py')).toBe(false);
  expect(at('docs/INTEGRATION.md')).toBe(true);
  for (const file of ['chainkeeper.1', 'chainkeeper.conf.5', 'chainkeeper.bash']) {
    expect(at(`dist/share/${file}`), file).toBe(true);
  }
  expect(at('src')).toBe(false);
  expect(at('test')).toBe(false);
});

test('says its version', async () => {
  const said = await run(process.execPath, [chainkeeper, '--version']);
  expect(said.trim()).toBe('0.1.0');
});

test('serves the simulated cloud', async () => {
  const port = await freePort();
  const child = spawn(process.execPath, [chainkeeper, 'sim', '--port', `${port}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  try {
    const healthy = () => fetch(`http://127.0.0.1:${port}/healthcheck`);
    await waitFor('chainkeeper sim to answer', async () => (await healthy()).status === 200);
    const volume = /chain show (\S+) --socket (\S+)/.exec(said);
    const [, id = '', socket = ''] = volume ?? [];
    const args = ['chain', 'show', id, '--socket', socket, '-f', 'json'];
    const shown = JSON.parse(await run(process.execPath, [chainkeeper, ...args]));
    expect(shown.volume).toBe(id);
  } finally {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT');
    expect(await ended).toBe(0);
  }
});

test('is a library too, with its types', async () => {
  const program = join(place, 'plan.ts');
  writeFileSync(program, LIBRARY);
  const said = await run(process.execPath, [program]);
  expect(JSON.parse(said)).toEqual({
    after: ['volume-1.s2', 'volume-1.s1', 'volume-1'],
    body: {
      status: 'creating_compute_complete',
      progress: '90%',
      file_format: { 'volume-1.s2': 'qcow2' },
    },
    boot: { kind: 'below', active: 'volume-1.s2' },
  });
  const tsc = join(import.meta.dirname, '../../node_modules/typescript/bin/tsc');
  const strict = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--module',
    'nodenext',
    '--target',
    'es2024',
  ];
  const lib = ['--lib', 'es2024,esnext.disposable'];
  const types = ['--types', 'node', '--typeRoots', join(import.meta.dirname, TYPES)];
  await run(process.execPath, [tsc, ...strict, ...lib, ...types, program]);
});

/** What somebody writes who has his own way to libvirt. */
const LIBRARY = `
import {
  afterCreate, type FileName, filesOf, judgeBoot, type Layer, QCOW2, RAW, speak,
} from 'chainkeeper';
const name = (text: string) => text as FileName;
const reported = { provenance: 'reported' } as const;
const base: Layer = { file: name('volume-1'), format: RAW, on: null, ...reported };
const active: Layer = { file: name('volume-1.s1'), format: QCOW2, on: base, ...reported };
const after = afterCreate(active, name('volume-1.s2'));
if (!after.ok) throw new Error(after.error.kind);
const files = filesOf(after.value);
const formats = [{ file: after.value.file, format: after.value.format, ...reported }];
const body = speak({ kind: 'created', formats }, 'spec');
const known = { directory: '/mnt', files, held: 'nothing', process: null } as const;
const disk = { directory: '/mnt', file: active.file };
const boot = judgeBoot(known, disk, () => true);
process.stdout.write(JSON.stringify({ after: files, body, boot }));
`;
const TYPES = '../../node_modules/@types';

test('serve refuses the default configuration in a sentence', async () => {
  const conf = join(place, 'empty.conf');
  writeFileSync(conf, '');
  const args = [chainkeeper, 'serve', '--config-file', conf];
  await expect(run(process.execPath, args)).rejects.toThrow(/keystone/);
});
