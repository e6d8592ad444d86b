/** chainkeeper itself for live tests: in this process with probes in it, or as a child to kill. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFailed } from 'vitest';
import { compose, type Hexagon, production } from '#app/composition.ts';
import { type Config, loadConfig } from '#app/config.ts';
import { listen } from '#app/listen.ts';
import type { Cinder } from './lab/cinder.ts';
import { TOKEN } from './lab/cinder-client.ts';
import { freePort, waitFor } from './lab/processes.ts';

type Module = ReturnType<typeof production>;

export interface Place {
  readonly dir: string;
  readonly port: number;
  readonly conf: string;
  readonly config: Config;
  /** What goes into `[nova] endpoint`. */
  readonly url: string;
  readonly socket: string;
}

/** A state folder and a configuration file that points at a Cinder. */
export async function place(dir: string, cinderEndpoint: string, more = ''): Promise<Place> {
  const port = await freePort();
  await mkdir(dir, { recursive: true });
  const conf = join(dir, 'chainkeeper.conf');
  const socket = join(dir, 'admin.sock');
  const [userId, projectId] = TOKEN.split(':');
  await writeFile(
    conf,
    `[DEFAULT]
state_path = ${dir}
log_file = ${join(dir, 'chainkeeper.log')}
debug = true
[api]
auth_strategy = noauth
bind_port = ${port}
[cinder]
auth_type = noauth
endpoint = ${cinderEndpoint}/v3
user_id = ${userId}
project_id = ${projectId}
[operator]
socket = ${socket}
${more}`,
  );
  const config = loadConfig({ files: [conf], env: {} });
  if (!config.ok) throw new Error(config.error.join('\n'));
  const url = `http://127.0.0.1:${port}/v2.1`;
  return { dir, port, conf, config: config.value, url, socket };
}

/** The production hexagon in this process; `modules` put probes between it and its ports. */
export async function inProcess(
  at: Place,
  ...modules: readonly Module[]
): Promise<Hexagon & AsyncDisposable> {
  await using parts = new AsyncDisposableStack();
  const die = (defect: unknown) => {
    throw defect;
  };
  const hexagon = parts.use(await compose(production(at.config, die), ...modules));
  parts.use(await listen(hexagon, at.config));
  const all = parts.move();
  return { ...hexagon, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** `chainkeeper serve` as a process of its own. */
export class Served implements AsyncDisposable {
  readonly #at: Place;
  #child: ChildProcess | null = null;
  #errors = '';

  constructor(at: Place) {
    this.#at = at;
  }

  /** Starts it and waits until it answers. */
  async start(): Promise<number> {
    const began = performance.now();
    const args = ['bin/chainkeeper.js', 'serve', '--config-file', this.#at.conf];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr?.on('data', (chunk) => {
      this.#errors += chunk;
    });
    this.#child = child;
    await waitFor('chainkeeper to answer', () => this.#answers(), { everyMs: 50 });
    return performance.now() - began;
  }

  async kill9(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Asks it to stop, and answers its exit code. */
  async stop(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  get errors(): string {
    return this.#errors;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
  }

  async #answers(): Promise<boolean> {
    if (this.#child?.exitCode != null) throw new Error(`it ended: ${this.#errors}`);
    const answer = await fetch(`http://127.0.0.1:${this.#at.port}/healthcheck`);
    return answer.status === 200;
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === null) return null;
    this.#child = null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    await Promise.race([ended, sleep(15_000)]);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    return child.exitCode;
  }
}

/** What a person would ask for first when a live test is red. */
export function tellOnFailure(at: Place, cinder?: Cinder): void {
  onTestFailed(() => {
    console.log(readFileSync(at.config.logFile ?? '', 'utf8').slice(-20_000));
    for (const service of cinder ? (['api', 'volume'] as const) : []) {
      console.log(readFileSync(cinder?.logOf(service) ?? '', 'utf8').slice(-6000));
    }
  });
}
