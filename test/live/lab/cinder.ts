/** Stock Cinder on one machine: its three services, what they lean on, and a share for files. */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CinderClient } from './cinder-client.ts';
import {
  type ApiFilter,
  cinderConf,
  filtered,
  mountPoint,
  SHARE,
  STOCK_DRIVER,
  STOCK_PASTE,
  type VolumeDriver,
} from './cinder-conf.ts';
import { type Database, startDatabase } from './database.ts';
import { Daemon, freePort, removeFolder, run, waitFor } from './processes.ts';
import { type RabbitMq, startRabbitMq } from './rabbitmq.ts';

export interface CinderOptions {
  /** A folder of its own; QEMU's user must be able to walk through it. */
  readonly dir: string;
  /** What Cinder calls instead of Nova; nothing needs to listen there yet. */
  readonly novaEndpoint: string;
  readonly apiPort?: number;
  /** Left out it is stock Cinder. */
  readonly filter?: ApiFilter;
  readonly driver?: VolumeDriver;
}

const byNone = (endpoint: string): string => `auth_type = none\nendpoint = ${endpoint}`;

const SERVICES = ['api', 'scheduler', 'volume'] as const;
type Service = (typeof SERVICES)[number];

export class Cinder extends CinderClient implements AsyncDisposable {
  /** Where the share is mounted; `<mount>/<name>` is a volume's file. */
  readonly mount: string;
  readonly dir: string;
  readonly #rabbit: RabbitMq;
  #database: Database | null = null;
  readonly #apiPort: number;
  readonly #daemons = new Map<Service, Daemon>();
  #novaEndpoint: string;
  #nova: string;
  readonly #filter: ApiFilter | null;
  readonly #driver: VolumeDriver | null;

  private constructor(options: CinderOptions, apiPort: number, rabbit: RabbitMq) {
    super(`http://127.0.0.1:${apiPort}`, mountPoint(options.dir));
    this.dir = options.dir;
    this.mount = mountPoint(options.dir);
    this.#apiPort = apiPort;
    this.#rabbit = rabbit;
    this.#novaEndpoint = options.novaEndpoint;
    this.#nova = byNone(options.novaEndpoint);
    this.#filter = options.filter ?? null;
    this.#driver = options.driver ?? null;
  }

  /**
   * Everything that can overlap does: the broker boots while the tables are made, and the
   * services load their Python while it finishes booting (they retry the broker each second).
   */
  static async start(options: CinderOptions): Promise<Cinder> {
    for (const part of ['state', 'mnt', 'share', 'locks', 'log']) {
      await mkdir(join(options.dir, part), { recursive: true });
    }
    const { rabbit, ready } = await startRabbitMq(options.dir);
    const cinder = new Cinder(options, options.apiPort ?? (await freePort()), rabbit);
    try {
      await Promise.all([cinder.#mountShare(), cinder.#makeTables()]);
      for (const service of SERVICES) cinder.#launch(service);
      await ready;
      await cinder.#apiAnswers();
      await cinder.makeVolumeType('nfs', 'nfs1');
      await Promise.all([cinder.#serves('scheduler'), cinder.#serves('volume')]);
    } catch (error) {
      await cinder[Symbol.asyncDispose]();
      throw error;
    }
    return cinder;
  }

  get novaEndpoint(): string {
    return this.#novaEndpoint;
  }

  /** Cinder reads it only at its start, so cinder-volume is restarted. */
  async setNovaEndpoint(url: string): Promise<void> {
    this.#novaEndpoint = url;
    await this.setNova(byNone(url));
  }

  /** The same, with these lines for [nova]. */
  async setNova(lines: string): Promise<void> {
    this.#nova = lines;
    await this.#writeConf();
    await this.restartVolume();
  }

  /**
   * One more cinder-api, whose callers bring Keystone's tokens, as [keystone_authtoken] has it in
   * these lines. Its URL is without version and project.
   */
  async keystoneApi(lines: string): Promise<{ readonly url: string } & AsyncDisposable> {
    const port = await freePort();
    const conf = join(this.dir, 'keystone-api.conf');
    const ours = `auth_strategy = keystone\nosapi_volume_listen_port = ${port}\n`;
    await writeFile(conf, `[DEFAULT]\n${ours}[keystone_authtoken]\n${lines}\n`);
    const args = ['--config-file', join(this.dir, 'cinder.conf'), '--config-file', conf];
    const log = join(this.dir, 'log', 'keystone-api.out');
    const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' };
    const daemon = Daemon.start('cinder-api', 'cinder-api', args, { log, env });
    const url = `http://127.0.0.1:${port}`;
    await waitFor('the other cinder-api', async () => {
      daemon.mustRun();
      return (await fetch(`${url}/healthcheck`)).ok;
    });
    return { url, [Symbol.asyncDispose]: () => daemon.stop(0) };
  }

  /** SIGKILL: what cinder-volume was waiting for is forgotten, as in a crash. */
  async restartVolume(): Promise<void> {
    await this.#daemons.get('volume')?.stop(0);
    const last = (await this.serviceReports('cinder-volume')).at(-1);
    this.#launch('volume');
    await this.#serves('volume', last);
  }

  async stopApi(): Promise<void> {
    await this.#daemons.get('api')?.stop(0);
    this.#daemons.delete('api');
  }

  async startApi(): Promise<void> {
    if (!this.#daemons.has('api')) this.#launch('api');
    await this.#apiAnswers();
  }

  /** What Cinder believes: `{ active, <snapshot id>: file }`; {} while the base is active. */
  async infoFile(volumeId: string): Promise<Record<string, string>> {
    const file = join(this.mount, `volume-${volumeId}.info`);
    return JSON.parse(await readFile(file, 'utf8').catch(() => '{}'));
  }

  logOf(service: Service): string {
    return join(this.dir, 'log', `cinder-${service}.log`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#daemons.values()].map((daemon) => daemon.stop(0)));
    await this.#rabbit[Symbol.asyncDispose]();
    await this.#database?.[Symbol.asyncDispose]();
    await unmount(this.mount);
    await removeFolder(this.dir);
  }

  async #writeConf(): Promise<void> {
    const { dir } = this;
    const paste = this.#filter === null ? STOCK_PASTE : join(dir, 'api-paste.ini');
    if (this.#filter !== null) {
      await writeFile(paste, filtered(await readFile(STOCK_PASTE, 'utf8'), this.#filter));
    }
    const conf = cinderConf({
      dir,
      paste,
      driver: this.#driver?.name ?? STOCK_DRIVER,
      apiPort: this.#apiPort,
      rabbitPort: this.#rabbit.port,
      database: this.#database?.connection ?? '',
      nova: this.#nova,
    });
    await writeFile(join(dir, 'nfs_shares'), `${SHARE}\n`);
    await writeFile(join(dir, 'cinder.conf'), conf);
  }

  /** The driver finds its share already mounted and asks no NFS server. */
  async #mountShare(): Promise<void> {
    await mkdir(this.mount, { recursive: true });
    await chmod(join(this.dir, 'share'), 0o777);
    await run('mount', ['--bind', join(this.dir, 'share'), this.mount]);
  }

  async #makeTables(): Promise<void> {
    this.#database = await startDatabase(this.dir);
    await this.#writeConf();
    await run('cinder-manage', ['--config-file', join(this.dir, 'cinder.conf'), 'db', 'sync']);
  }

  #launch(service: Service): void {
    const name = `cinder-${service}`;
    const log = join(this.dir, 'log', `${name}.out`);
    const args = ['--config-file', join(this.dir, 'cinder.conf')];
    const ours = [this.#filter, this.#driver].flatMap((it) => it?.folder ?? []);
    const path = ours.length === 0 ? {} : { PYTHONPATH: ours.join(':') };
    const env = { ...process.env, ...path, PYTHONDONTWRITEBYTECODE: '1' };
    this.#daemons.set(service, Daemon.start(name, name, args, { log, env }));
  }

  async #apiAnswers(): Promise<void> {
    await waitFor('cinder-api', async () => {
      this.#daemons.get('api')?.mustRun();
      return (await fetch(`${this.endpoint}/healthcheck`)).ok;
    });
  }

  /**
   * A service reports for the first time when it takes messages; one sent earlier is lost,
   * for its queue does not exist. A restarted one also touches its record while it starts,
   * so there the second new report counts.
   */
  async #serves(service: 'scheduler' | 'volume', last?: string): Promise<void> {
    const seen = new Set<string>();
    await waitFor(`cinder-${service}`, async () => {
      this.#daemons.get(service)?.mustRun();
      for (const at of await this.serviceReports(`cinder-${service}`)) seen.add(at);
      if (last !== undefined) seen.delete(last);
      return seen.size >= (last === undefined ? 1 : 2);
    });
  }
}

export async function startCinder(options: CinderOptions): Promise<Cinder> {
  return Cinder.start(options);
}

/** A QEMU that somebody forgot keeps the mount busy; then it goes when that QEMU goes. */
export async function unmount(path: string): Promise<void> {
  const mounts = await readFile('/proc/mounts', 'utf8');
  if (!mounts.includes(` ${path} `)) return;
  await run('umount', [path]).catch(() => run('umount', ['--lazy', path]));
}
