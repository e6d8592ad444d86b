/** A stock Keystone on SQLite, on the loopback: users, roles, projects, tokens, a catalog. */
import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ensurePackages } from './packages.ts';
import { Daemon, freePort, run, waitFor } from './processes.ts';

export interface Person {
  readonly id: string;
  readonly name: string;
  readonly password: string;
  readonly project: string;
}

export interface Credential {
  readonly id: string;
  readonly secret: string;
}

/** What Keystone answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: foreign JSON, read by tests only
  readonly body: any;
}

const ADMIN = { name: 'admin', password: 'lab-admin', project: 'admin' };
const DOMAIN = { id: 'default' };

export class Keystone implements AsyncDisposable {
  readonly #dir: string;
  readonly #port: number;
  #daemon: Daemon | null = null;
  #admin = '';

  private constructor(dir: string, port: number) {
    this.#dir = dir;
    this.#port = port;
  }

  static async start(dir: string): Promise<Keystone> {
    await ensurePackages({ cinder: true, keystone: true });
    const keystone = new Keystone(dir, await freePort());
    await mkdir(dir, { recursive: true });
    await keystone.#prepare();
    await keystone.run();
    keystone.#admin = await keystone.token(ADMIN);
    return keystone;
  }

  /** As in `auth_url`, without a version. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** keystoneauth's options, as a service's configuration has them, of a person in `service`. */
  plugin({ name, password }: Person): string {
    return `auth_type = password
auth_url = ${this.url}
username = ${name}
password = ${password}
user_domain_name = Default
project_name = service
project_domain_name = Default
`;
  }

  /** Starts it with tokens that live so long. */
  async run(tokenSeconds = 3600): Promise<void> {
    await this.stop();
    await this.#configure(tokenSeconds);
    const files = { OS_KEYSTONE_CONFIG_FILES: this.#conf, PYTHONDONTWRITEBYTECODE: '1' };
    const args = ['--host', '127.0.0.1', '--port', `${this.#port}`];
    const daemon = Daemon.start('keystone', '/usr/bin/keystone-wsgi-public', args, {
      log: join(this.#dir, 'keystone.out'),
      env: { ...process.env, ...files },
    });
    this.#daemon = daemon;
    await waitFor('keystone', async () => {
      daemon.mustRun();
      return (await fetch(`${this.url}/v3`)).ok;
    });
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop(0);
    this.#daemon = null;
  }

  async project(name: string): Promise<string> {
    const body = { project: { name, domain_id: DOMAIN.id } };
    return (await this.admin('POST', '/projects', body)).body.project.id;
  }

  /** A user with these roles in a project, which it is made for when it is not there. */
  async person(name: string, project: string, ...roles: readonly string[]): Promise<Person> {
    const password = randomUUID();
    const body = { user: { name, password, domain_id: DOMAIN.id } };
    const { id } = (await this.admin('POST', '/users', body)).body.user;
    for (const role of roles) {
      const path = `/projects/${project}/users/${id}/roles/${await this.#role(role)}`;
      await this.admin('PUT', path);
    }
    return { id, name, password, project };
  }

  /** An endpoint of the catalog, under three interfaces. */
  async service(type: string, url: string): Promise<void> {
    const { id } = (await this.admin('POST', '/services', { service: { type, name: type } })).body
      .service;
    for (const face of ['public', 'internal', 'admin']) {
      const endpoint = { service_id: id, interface: face, url, region_id: 'lab' };
      await this.admin('POST', '/endpoints', { endpoint });
    }
  }

  /** A token of this person's. */
  async token({ name, password, project }: Omit<Person, 'id'>): Promise<string> {
    const user = { name, domain: DOMAIN, password };
    const identity = { methods: ['password'], password: { user } };
    const scope = { project: /^[0-9a-f]{32}$/.test(project) ? { id: project } : named(project) };
    return (await this.#login({ identity, scope })).headers.get('x-subject-token') ?? '';
  }

  async tokenBy({ id, secret }: Credential): Promise<string> {
    const methods = ['application_credential'];
    const identity = { methods, application_credential: { id, secret } };
    return (await this.#login({ identity })).headers.get('x-subject-token') ?? '';
  }

  /** Good for what the person may, or for requests that fit one of the rules. */
  async credential(person: Person, rules?: readonly object[]): Promise<Credential> {
    const token = await this.token(person);
    const body = {
      application_credential: { name: randomUUID(), ...(rules && { access_rules: rules }) },
    };
    const path = `/users/${person.id}/application_credentials`;
    const made = await this.ask('POST', path, token, body);
    if (made.status !== 201) throw new Error(`a credential: ${JSON.stringify(made.body)}`);
    return made.body.application_credential;
  }

  async revoke(token: string): Promise<void> {
    await this.admin('DELETE', '/auth/tokens', undefined, { 'X-Subject-Token': token });
  }

  /** What a token is, or null; a service of the cloud asks so. */
  // biome-ignore lint/suspicious/noExplicitAny: foreign JSON, read by tests only
  async look(token: string): Promise<any> {
    const headers = { 'X-Subject-Token': token };
    const { status, body } = await this.ask('GET', '/auth/tokens', this.#admin, undefined, headers);
    return status === 200 ? body.token : null;
  }

  async admin(
    method: string,
    path: string,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const answer = await this.ask(method, path, this.#admin, body, headers);
    if (answer.status < 300) return answer;
    throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }

  async ask(
    method: string,
    path: string,
    token: string | null,
    body?: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answer> {
    const answer = await fetch(`${this.url}/v3${path}`, {
      method,
      headers: {
        'Content-Type': 'application/json',
        ...(token !== null && { 'X-Auth-Token': token }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return {
      status: answer.status,
      headers: answer.headers,
      body: text === '' ? null : JSON.parse(text),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  get #conf(): string {
    return join(this.#dir, 'keystone.conf');
  }

  async #configure(tokenSeconds: number): Promise<void> {
    const dir = this.#dir;
    await writeFile(
      this.#conf,
      `[DEFAULT]
log_file = ${join(dir, 'keystone.log')}
[database]
connection = sqlite:///${join(dir, 'keystone.sqlite')}
sqlite_synchronous = false
[token]
expiration = ${tokenSeconds}
[fernet_tokens]
key_repository = ${join(dir, 'fernet')}
[credential]
key_repository = ${join(dir, 'credential')}
[identity]
password_hash_rounds = 4
`,
    );
  }

  async #prepare(): Promise<void> {
    await this.#configure(3600);
    const manage = (...args: readonly string[]) =>
      run('keystone-manage', ['--config-file', this.#conf, ...args], {
        env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1' },
      });
    const { uid, gid } = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    const owner = ['--keystone-user', `${uid}`, '--keystone-group', `${gid}`];
    await Promise.all([
      manage('db_sync'),
      manage('fernet_setup', ...owner).then(() => manage('credential_setup', ...owner)),
    ]);
    // It reads in one connection while it writes in another, which SQLite refuses without.
    using database = new DatabaseSync(join(this.#dir, 'keystone.sqlite'));
    database.exec('PRAGMA journal_mode = WAL');
    const urls = ['admin', 'public', 'internal'].flatMap((it) => [
      `--bootstrap-${it}-url`,
      `${this.url}/v3`,
    ]);
    const account = ['--bootstrap-password', ADMIN.password, '--bootstrap-region-id', 'lab'];
    await manage('bootstrap', ...account, ...urls);
  }

  async #role(name: string): Promise<string> {
    const { roles } = (await this.admin('GET', `/roles?name=${name}`)).body;
    if (roles.length > 0) return roles[0].id;
    return (await this.admin('POST', '/roles', { role: { name } })).body.role.id;
  }

  async #login(auth: object): Promise<Answer> {
    const answer = await this.ask('POST', '/auth/tokens', null, { auth });
    if (answer.status !== 201) throw new Error(`login: ${JSON.stringify(answer.body)}`);
    return answer;
  }
}

const named = (name: string) => ({ name, domain: DOMAIN });
