/**
 * Commands and daemons of the lab. A daemon is known by its pid and by nothing else: a name
 * would also match what somebody else runs on this machine.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface RunOptions {
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutMs?: number;
}

/** Runs a command to its end and returns its stdout; a failure carries the stderr. */
export function run(command: string, args: readonly string[], options: RunOptions = {}) {
  return new Promise<string>((resolve, reject) => {
    const child = execFile(
      command,
      [...args],
      {
        env: options.env ?? { ...process.env, LC_ALL: 'C.UTF-8' },
        timeout: options.timeoutMs ?? 120_000,
        maxBuffer: 256 * 1024 * 1024,
      },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        const said = stderr.trim() || stdout.trim() || error.message;
        reject(new Error(`${command} ${args.slice(0, 4).join(' ')}: ${said}`));
      },
    );
    child.stdin?.on('error', () => {}); // a command that died early: its exit says why
    child.stdin?.end(options.input ?? '');
  });
}

export interface DaemonOptions {
  readonly log: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/** In every daemon's environment: the test run that must stop it (see sweep.ts). */
export const OWNER = 'CHAINKEEPER_LAB_OWNER';

/** This run's pid and the pid namespace it counts in: elsewhere the number is another's. */
export const OWN_ID = `${process.pid}.${pidNamespace()}`;

/** Whether this id is of a run that ended; of one in another namespace we cannot know. */
export function isOrphan(id: string | undefined): boolean {
  const [pid, namespace] = id?.split('.') ?? [];
  return namespace === pidNamespace() && !alive(Number(pid));
}

/** The groups of daemons still running, killed when this process leaves without disposing. */
const groups = new Set<number>();
process.on('exit', () => {
  for (const pid of groups) signalGroup(pid, 'SIGKILL');
});

/** A child in a session of its own, so that Ctrl-C reaches us first and we stop it in order. */
export class Daemon implements AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  readonly log: string;
  readonly #child: ChildProcess;

  private constructor(name: string, pid: number, log: string, child: ChildProcess) {
    this.name = name;
    this.pid = pid;
    this.log = log;
    this.#child = child;
    groups.add(pid);
    child.once('exit', () => groups.delete(pid));
    child.unref();
  }

  static start(name: string, command: string, args: readonly string[], options: DaemonOptions) {
    const log = openSync(options.log, 'a');
    const child = spawn(command, [...args], {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...(options.env ?? process.env), [OWNER]: OWN_ID },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    closeSync(log);
    child.on('error', () => {}); // reported below: without a pid it never ran
    if (child.pid === undefined) throw new Error(`${name}: cannot run ${command}`);
    return new Daemon(name, child.pid, options.log, child);
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Throws, with the end of the log, when it is gone: a probe calls this to stop waiting. */
  mustRun(): void {
    if (this.running) return;
    throw new Gone(`${this.name} exited (${this.#child.exitCode}):\n${tail(this.log)}`);
  }

  /** SIGTERM, then SIGKILL to its whole group: Cinder's launchers may leave workers behind. */
  async stop(graceMs = 5000): Promise<void> {
    const ended = new Promise<void>((resolve) => this.#child.once('exit', () => resolve()));
    if (this.running) {
      this.#child.ref();
      this.#child.kill('SIGTERM');
      const kill = setTimeout(() => signalGroup(this.pid, 'SIGKILL'), graceMs);
      await ended;
      clearTimeout(kill);
    }
    signalGroup(this.pid, 'SIGKILL');
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** No use in waiting any longer. */
export class Gone extends Error {}

export interface WaitOptions {
  readonly timeoutMs?: number;
  readonly everyMs?: number;
}

/**
 * Asks until the answer is neither undefined, null nor false. Errors of the probe mean "not
 * yet", except `Gone`; the last one is told when the time is up.
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  { timeoutMs = 60_000, everyMs = 100 }: WaitOptions = {},
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeoutMs;
  for (let last = 'it never answered yes'; ; await sleep(everyMs)) {
    try {
      const answer = await probe();
      if (answer !== undefined && answer !== null && answer !== false) return answer;
    } catch (error) {
      if (error instanceof Gone) throw error;
      last = String(error);
    }
    if (Date.now() >= deadline) throw new Error(`${what}: not within ${timeoutMs} ms; ${last}`);
  }
}

/** A TCP port of the loopback that was free a moment ago; different in one call's answers. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(0, '127.0.0.1', resolve);
      });
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export async function freePort(): Promise<number> {
  return (await freePorts(1))[0]!;
}

/** A killed group dies when it likes: what it was writing may come after the folder was listed. */
export function removeFolder(dir: string): Promise<void> {
  return rm(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

/** Whether this pid is a process that still runs (a zombie does not). */
export function alive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

export function tail(file: string, lines = 15): string {
  try {
    return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return `(no ${file})`;
  }
}

function pidNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))![0];
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // nobody is left in it
  }
}
