import { spawn } from 'node:child_process';
import { err, ok, type Result } from '#domain/result.ts';
import { codeOf } from '../system/access.ts';

/** Why a tool of QEMU's failed: `locked` when somebody else has a file open, else its exit code. */
export interface Failure {
  readonly code: string;
  readonly detail: string;
}

interface Running {
  readonly cwd?: string;
  /** In ms; left out: however long it takes. */
  readonly timeout?: number;
}

export const qemuImg = (
  args: readonly string[],
  fds: readonly number[],
  options?: Running,
): Promise<Failure | null> => runQemu('qemu-img', args, fds, options);

/**
 * Runs a tool of QEMU's with `fds` as its descriptors from 3 on; null when it succeeded. The
 * process can outlive ours, which its locks then tell.
 */
export function runQemu(
  tool: 'qemu-img' | 'qemu-io',
  args: readonly string[],
  fds: readonly number[],
  options: Running = {},
): Promise<Failure | null> {
  return new Promise((resolve) => {
    const child = spawn(tool, args, {
      stdio: ['ignore', 'ignore', 'pipe', ...fds],
      env: ENVIRONMENT,
      ...options,
    });
    let said = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4096);
    });
    child.on('error', (error) => resolve({ code: codeOf(error), detail: error.message }));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(null);
      const detail = said.trim().split('\n').at(-1) ?? '';
      if (/Failed to get .*lock/.test(said)) return resolve({ code: 'locked', detail });
      resolve({ code: signal === null ? String(code) : 'timeout', detail });
    });
  });
}

/** qemu-io at its prompt: what it says to a command comes before the next prompt. */
export const talkToQemuIo = (args: readonly string[]) =>
  spawn('qemu-io', args, { stdio: ['pipe', 'pipe', 'pipe'], env: ENVIRONMENT });

/** qemu-img's answer to that question, or why it cannot be run. */
export function qemuImgVersion(command = 'qemu-img'): Promise<Result<string, string>> {
  return new Promise((resolve) => {
    const child = spawn(command, ['--version'], {
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: VERSION_TIMEOUT_MS,
      env: ENVIRONMENT,
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(0, 4096);
    });
    child.on('error', (error) => resolve(err(error.message)));
    child.on('close', (code) =>
      resolve(code === 0 ? ok(said.split('\n')[0] ?? '') : err(`it ended with ${code}`)),
    );
  });
}

const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C' };
const VERSION_TIMEOUT_MS = 30_000;
