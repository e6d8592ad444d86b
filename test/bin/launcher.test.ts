import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';

/** This Node, which says that it is an old one: the launcher then looks for a newer. */
const OLD = 'Object.defineProperty(process.versions,"node",{value:"20.19.0"})';

let launcher: ChildProcess | null = null;
let service = 0;
afterEach(() => {
  launcher?.kill('SIGKILL');
  if (service > 0 && alive(service)) process.kill(service, 'SIGKILL');
});

/** The service over a simulated cloud, started by an old Node: it has a child that serves. */
async function serving(): Promise<{ readonly launcher: ChildProcess; readonly folder: string }> {
  const args = ['--import', `data:text/javascript,${OLD}`, 'bin/chainkeeper.js', 'sim'];
  const child = spawn(process.execPath, [...args, '--port', '0'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  launcher = child;
  let said = '';
  child.stderr.on('data', (piece) => {
    said += piece;
  });
  await expect.poll(() => said, { timeout: 30_000 }).toContain('Ctrl-C ends it');
  const { pid } = child;
  service = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
  const [, folder = ''] = /(\S+)\/chainkeeper\.sock/.exec(said) ?? [];
  return { launcher: child, folder };
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('a launcher that is killed leaves no service behind', async () => {
  const { launcher, folder } = await serving();
  expect([alive(service), existsSync(folder)]).toEqual([true, true]);
  launcher.kill('SIGKILL');
  await expect.poll(() => alive(service), { timeout: 15_000 }).toBe(false);
  // It ended in order, and not by the same kill.
  expect(existsSync(folder)).toBe(false);
});

test('a launcher that is asked to stop hands that on, and the exit code back', async () => {
  const { launcher } = await serving();
  launcher.kill('SIGTERM');
  expect(await once(launcher, 'exit')).toEqual([0, null]);
  expect(alive(service)).toBe(false);
});

/** `serve` with no configuration ends at once; until then each beginning says what it has. */
async function beginnings(...node: string[]): Promise<readonly [pid: number, string][]> {
  const say =
    'const {MALLOC_ARENA_MAX:a,MALLOC_MMAP_THRESHOLD_:m,MALLOC_TRIM_THRESHOLD_:t}=process.env;' +
    'console.error("began",process.pid,...process.execArgv,a,m,t)';
  const args = [...node, '--import', `data:text/javascript,${say}`, 'bin/chainkeeper.js', 'serve'];
  const env = { ...process.env, MALLOC_ARENA_MAX: '', MALLOC_TRIM_THRESHOLD_: '262144' };
  const child = spawn(process.execPath, [...args, '--config-file', '/nowhere'], {
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  launcher = child;
  let said = '';
  child.stderr.on('data', (piece) => {
    said += piece;
  });
  expect((await once(child, 'close'))[0]).toBe(2);
  // Node would say on stderr that execve is an experiment.
  expect(said).not.toContain('Warning');
  const lines = [...said.matchAll(/^began (\d+) (.*)$/gm)];
  expect(lines.map(([, pid]) => Number(pid))).toEqual(lines.map(() => child.pid));
  return lines.map(([, pid, words = '']) => [Number(pid), words]);
}

test('what serves has little room for garbage, and is the process that was started', async () => {
  const [first, second, ...others] = await beginnings();
  expect([first?.[0], others]).toEqual([second?.[0], []]);
  expect(first?.[1]).not.toContain('semi-space');
  expect(second?.[1]).toMatch(
    /--max-semi-space-size=4 --heap-growing-percent=30 --memory-saver-mode 2 65536 262144$/,
  );
});

test('what more it was handed it keeps, at the price of the garbage', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'chainkeeper-handed-'));
  const file = join(folder, 'secret.conf');
  writeFileSync(file, '[no_such_group]\nan_option = of the file that was handed over\n');
  const handed = openSync(file, 'r');
  const say = 'console.error("began", process.pid)';
  const node = ['--import', `data:text/javascript,${say}`, 'bin/chainkeeper.js'];
  const child = spawn(process.execPath, [...node, 'serve', '--config-file', '/dev/fd/3'], {
    stdio: ['ignore', 'ignore', 'pipe', handed],
  });
  closeSync(handed);
  rmSync(folder, { recursive: true });
  launcher = child;
  let said = '';
  child.stderr?.on('data', (piece) => {
    said += piece;
  });
  expect((await once(child, 'close'))[0]).toBe(2);
  expect(said).toContain('no_such_group');
  expect(said.match(/^began \d+$/gm)).toHaveLength(1);
});

test('a pipe that it was handed twice is no pipe of its own', async () => {
  const say = 'console.error("began", process.pid)';
  const args = ['--import', `data:text/javascript,${say}`, 'bin/chainkeeper.js', 'serve'];
  // What Node calls a pipe is a socket.
  const line = '"$0" "$@" --config-file /nowhere 2>&1 3>&1 | cat >&2';
  const shell = ['-c', line, process.execPath, ...args];
  const child = spawn('sh', shell, { stdio: ['ignore', 'ignore', 'pipe'] });
  launcher = child;
  let said = '';
  child.stderr?.on('data', (piece) => {
    said += piece;
  });
  await once(child, 'close');
  expect(said.match(/^began \d+$/gm)).toHaveLength(1);
});

test('and as much as it is told to have', async () => {
  const all = await beginnings('--max-semi-space-size=32');
  expect(all).toHaveLength(1);
  expect(all[0]?.[1]).not.toContain('growing');
});
