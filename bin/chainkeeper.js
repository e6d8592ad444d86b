#!/usr/bin/env node
// Starts the program from the sources of a checkout, or from dist/ of the package. Plain
// JavaScript that an old Node can parse, so that it gets a sentence instead of a syntax error.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import Module from 'node:module';
import { fileURLToPath } from 'node:url';

// What `serve` gives up a tenth of its processor time for: Node lets the young generation grow to
// 128 MB, and the old one to twice of what is in use, before it collects; glibc keeps an arena of its
// own for each thread that waits for libvirt, and gives nothing back once it was given back more
// (docs/PERFORMANCE.md).
const LEAN = ['--max-semi-space-size=4'];
// Of the V8 of Node 24: a later one may not know them, and would not begin.
const LEAN_24 = [...LEAN, '--heap-growing-percent=30', '--memory-saver-mode'];
const MALLOC = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '65536',
  MALLOC_TRIM_THRESHOLD_: '131072',
};
const serving = process.argv[2] === 'serve';

if (Number(process.versions.node.split('.')[0]) < 24) {
  // A checkout has Node 24 among its development dependencies.
  const node = fileURLToPath(new URL('../node_modules/node/bin/node', import.meta.url));
  if (existsSync(node)) {
    // The channel is how the child learns that this process was killed without a word.
    const stdio = ['inherit', 'inherit', 'inherit', 'ipc'];
    if (serving) tellMalloc();
    const args = [...(serving ? LEAN_24 : []), ...process.argv.slice(1)];
    const child = spawn(node, args, { stdio });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.on(signal, () => child.kill(signal));
    }
    child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 143)));
  } else {
    const at = `this is ${process.versions.node} at ${process.execPath}`;
    process.stderr.write(`chainkeeper: Node 24 or later is needed; ${at}.\n`);
    process.exit(1);
  }
} else start();

function start() {
  if (process.channel) {
    process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
    process.channel.unref();
  }

  // libuv makes its threads when the first of them has work, and never more; a call into libvirt
  // that does not return keeps one.
  // Of fewer than this libvirt's events and calls would have all, and a file would wait for them.
  if (!(Number(process.env.UV_THREADPOOL_SIZE) >= 12)) process.env.UV_THREADPOOL_SIZE = '32';

  if (serving && !process.channel) becomeLean();

  const sim = process.argv[2] === 'sim';
  // `node sim/main.ts` in a checkout sees the same words.
  if (sim) process.argv.splice(2, 1);

  const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
  const source = at(sim ? 'sim/main.ts' : 'src/main.ts');
  const built = at(sim ? 'dist/sim/main.js' : 'dist/main.js');
  // As `node FILE` would: both act only when import.meta.main is true, which import() leaves false.
  Module.runMain(existsSync(source) ? source : built);
}

/**
 * Whether whoever started this handed it more than the three standard descriptors: a configuration
 * as /dev/fd/3, say, or a lock. Node has each of those closed by an execve (measured: all up to the
 * first free number above 15), and the heap is not worth that. What Node opens for itself has no
 * name, is both ends of a pipe, or /dev/null.
 */
function isHandedMore() {
  let found;
  try {
    found = readdirSync('/proc/self/fd').map(Number);
  } catch {
    return false;
  }
  const links = new Map();
  for (const fd of found) {
    try {
      links.set(fd, readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // It was the folder itself.
    }
  }
  const all = [...links].filter(([fd]) => fd > 2).map(([, link]) => link);
  for (let fd = 3; fd <= 15 || links.has(fd); fd++) {
    const link = links.get(fd);
    if (link === undefined || link === '/dev/null' || link.startsWith('anon_inode:')) continue;
    const ends = all.filter((other) => other === link).length;
    if (!link.startsWith('pipe:') || ends < 2) return true;
  }
  return false;
}

/** The same process once more, for the heap and glibc read all of that when they begin. */
function becomeLean() {
  const told = [process.env.NODE_OPTIONS ?? '', ...process.execArgv].join(' ');
  if (typeof process.execve !== 'function' || /semi[-_]space[-_]size/.test(told)) return;
  if (isHandedMore()) return;
  tellMalloc();
  const lean = process.versions.node.startsWith('24.') ? LEAN_24 : LEAN;
  const args = [...process.execArgv, ...lean, ...process.argv.slice(1)];
  process.execve(process.execPath, [process.execPath, ...args], process.env);
}

/** glibc reads it when a process begins; what somebody has set is not overruled. */
function tellMalloc() {
  for (const [name, value] of Object.entries(MALLOC)) process.env[name] ||= value;
}
