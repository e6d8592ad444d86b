import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '#adapters/system/clock.ts';
import { compose, type Hexagon } from '#app/composition.ts';
import { type Config, loadConfig } from '#app/config.ts';
import { listen } from '#app/listen.ts';
import { CinderHttp } from './cinder-http.ts';
import { SimCloud, type SimCloudOptions } from './cloud.ts';
import { simulated } from './composition.ts';
import { Life } from './faulty.ts';
import { HttpAssist } from './http-assist.ts';
import { ownFolder } from './leftovers.ts';

const PROJECT = '0123456789abcdef0123456789abcdef';

export interface SimulatedHostOptions extends Partial<Omit<SimCloudOptions, 'clock'>> {
  /** 0 takes any free port. */
  readonly port: number;
  /** Of the page and the metrics, which are on the socket anyway; 0 takes any free one. */
  readonly pagePort?: number;
  /** Kept when it is given, removed with everything else when it is not. */
  readonly statePath?: string;
  /** What the service says to Cinder to be let in; else Cinder believes whoever comes. */
  readonly password?: string;
  readonly debug?: boolean;
}

/**
 * The program as it is, on a machine that is not there: its API, its journal on disk, its client
 * of Cinder are the real ones; the guest, the files and Cinder itself are simulated, in real time.
 * `crash` is a power cut of the program alone.
 */
export class SimulatedHost implements AsyncDisposable {
  readonly cloud: SimCloud;
  readonly folder: string;
  readonly config: Config;
  /** Cinder's API as the service reaches it. */
  readonly http: CinderHttp;
  readonly #temporary: boolean;
  #life = new Life();
  #hexagon: Hexagon | null = null;
  #listening: AsyncDisposable | null = null;
  #journal: Partial<AsyncDisposable> = {};

  private constructor(cloud: SimCloud, http: CinderHttp, options: SimulatedHostOptions) {
    this.cloud = cloud;
    this.http = http;
    this.#temporary = options.statePath === undefined;
    this.folder = options.statePath ?? mkdtempSync(ownFolder());
    mkdirSync(this.folder, { recursive: true });
    this.config = this.#configure(options);
  }

  static async open(options: SimulatedHostOptions): Promise<SimulatedHost> {
    const { port: _port, pagePort, statePath: _path, password, debug: _debug, ...rest } = options;
    const cloud = new SimCloud({ clock: systemClock, ...rest });
    const token = password === undefined ? { token: `admin:${PROJECT}` } : {};
    const http = await CinderHttp.open(cloud.cinder, token);
    const port = options.port === 0 ? await freePort() : options.port;
    const page = pagePort === 0 ? { pagePort: await freePort() } : {};
    const host = new SimulatedHost(cloud, http, { ...options, port, ...page });
    try {
      await host.boot();
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
    return host;
  }

  /** Where Cinder calls it. */
  get url(): string {
    return `http://127.0.0.1:${this.config.api.bindPort}/v2.1`;
  }

  /** Where a browser finds the page. */
  get page(): string {
    return `http://127.0.0.1:${this.config.operator.bindPort}/ui/`;
  }

  get hexagon(): Hexagon {
    if (this.#hexagon === null) throw new Error('the service is down');
    return this.#hexagon;
  }

  async boot(): Promise<void> {
    const life = new Life();
    const die = (defect: unknown) => {
      throw defect;
    };
    const hold = <T extends object>(name: string, port: T): T => {
      if (name === 'journal') this.#journal = port;
      return life.holds(name, port);
    };
    this.#life = life;
    this.#hexagon = await compose(simulated({ cloud: this.cloud, config: this.config, die, hold }));
    this.#listening = await listen(this.#hexagon, this.config);
    this.cloud.serve(new HttpAssist(this.url));
  }

  /** Nothing that the program does from now on has an effect; only its sockets and files close. */
  async crash(): Promise<void> {
    this.#life.end();
    this.cloud.serve(null);
    await this.#listening?.[Symbol.asyncDispose]();
    await this.#journal[Symbol.asyncDispose]?.();
    this.#listening = this.#hexagon = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#listening?.[Symbol.asyncDispose]();
    await this.#hexagon?.[Symbol.asyncDispose]();
    await this.http[Symbol.asyncDispose]();
    if (this.#temporary) rmSync(this.folder, { recursive: true, force: true });
  }

  #configure({ port, pagePort, password, debug = false }: SimulatedHostOptions): Config {
    const file = join(this.folder, 'chainkeeper.conf');
    const lines = [
      '[DEFAULT]',
      `state_path = ${this.folder}`,
      `log_file = ${join(this.folder, 'chainkeeper.log')}`,
      `debug = ${debug}`,
      '[api]',
      'auth_strategy = noauth',
      `bind_port = ${port}`,
      '[cinder]',
      ...(password === undefined
        ? ['auth_type = noauth', `endpoint = ${this.http.endpoint}`, 'user_id = admin']
        : ['auth_type = http_basic', `endpoint = ${this.http.endpoint}/${PROJECT}`]),
      ...(password === undefined
        ? [`project_id = ${PROJECT}`]
        : ['username = chainkeeper', `password = ${password}`]),
      '[operator]',
      `socket = ${join(this.folder, 'chainkeeper.sock')}`,
      ...(pagePort === undefined ? [] : [`bind_port = ${pagePort}`]),
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const config = loadConfig({ files: [file], env: {} });
    if (!config.ok) throw new Error(config.error.join('\n'));
    return config.value;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
