import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, tail, waitFor } from '../test/live/lab/processes.ts';
import { Phases } from './phases.ts';

const BIN = join(import.meta.dirname, '../bin/chainkeeper.js');
/** USER_HZ, the same on every Linux that Node runs on. */
const TICK_MS = 10;

/** `chainkeeper serve` as a process of its own, as an operator would start it. */
export class Served implements AsyncDisposable {
  readonly url: string;
  readonly socket: string;
  readonly #child: ChildProcess;
  readonly #folder: string;

  static async start(folder: string, cinder: string, program = BIN): Promise<Served> {
    const port = await freePort();
    await mkdir(folder, { recursive: true });
    const conf = join(folder, 'chainkeeper.conf');
    const socket = join(folder, 'admin.sock');
    const log = join(folder, 'chainkeeper.log');
    await writeFile(
      conf,
      `[DEFAULT]\nstate_path = ${folder}\nlog_file = ${log}\n` +
        `[api]\nauth_strategy = noauth\nbind_port = ${port}\nmax_queued = 1000\n` +
        '[libvirt]\nmax_chain_depth = 200\n' +
        `[cinder]\nauth_type = noauth\nendpoint = ${cinder}/v3\nuser_id = bench\n` +
        `project_id = bench\n[operator]\nsocket = ${socket}\n`,
    );
    const args = [program, 'serve', '--config-file', conf];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    const served = new Served(child, port, socket, folder);
    const answers = async () => (await fetch(`http://127.0.0.1:${port}/healthcheck`)).ok;
    await waitFor('chainkeeper to answer', answers, { everyMs: 20 });
    return served;
  }

  private constructor(child: ChildProcess, port: number, socket: string, folder: string) {
    this.#child = child;
    this.url = `http://127.0.0.1:${port}/v2.1`;
    this.socket = socket;
    this.#folder = folder;
  }

  /** What its operations have waited for, by its journal. */
  phases(): Phases {
    return new Phases(join(this.#folder, 'journal.sqlite'));
  }

  /** What it has used of the processor since it was started, in milliseconds. */
  cpuMs(): number {
    const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  }

  /** What it has in memory now, in MB. */
  residentMb(): number {
    return this.#memory('VmRSS');
  }

  /** The most that it had since it was asked last. */
  peakMb(): number {
    const most = this.#memory('VmHWM');
    // Proc's word for: count anew (proc(5), clear_refs).
    writeFileSync(`/proc/${this.#child.pid}/clear_refs`, '5');
    return most;
  }

  #memory(what: 'VmRSS' | 'VmHWM'): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    return (Number(new RegExp(`${what}:\\s+(\\d+)`).exec(status)?.[1]) * 1024) / 1e6;
  }

  lastWords(lines = 15): string {
    return tail(join(this.#folder, 'chainkeeper.log'), lines);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    const kill = setTimeout(() => child.kill('SIGKILL'), 15_000);
    child.kill('SIGTERM');
    await ended;
    clearTimeout(kill);
  }
}
