import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { isAbsolute } from 'node:path';
import { err, ok, type Result } from '#domain/result.ts';
import { withCloud } from './config-cloud.ts';
import { type Places, readFiles } from './config-files.ts';
import {
  DEFAULT_POLICY,
  KEYSTONE_TYPES,
  keystoneIn,
  loginIn,
  sectionOf,
  wantedIn,
} from './config-keystone.ts';
import { absolute, readable, tlsIn, tlsOfApi, urlOf, writable } from './config-places.ts';
import { Secret } from './config-secret.ts';
import type {
  ApiConfig,
  CinderAuth,
  CinderConfig,
  Config,
  LibvirtConfig,
  OperatorConfig,
} from './config-shape.ts';
import { freeze, OPTIONS } from './config-shape.ts';
import { type Environment, type Known, Options } from './oslo-options.ts';
import type { Supervisor } from './supervision.ts';

export { Secret } from './config-secret.ts';
export type * from './config-shape.ts';
export { describe } from './config-shape.ts';

export interface Sources {
  /** What `--config-file` named; none means `chainkeeper.conf` and `chainkeeper.conf.d/*.conf`. */
  readonly files?: readonly string[];
  readonly env?: Environment;
  /** Other defaults than the ones below, by group and option. */
  readonly defaults?: Known;
  /** The folder of the default files. */
  readonly etc?: string;
  /** Instead of who [cinder] says that we are: see src/adapters/keystone/clouds.ts. */
  readonly cloud?: string;
}

/** The configuration or every mistake in it. */
export type Loaded = Result<Config, readonly string[]> & {
  /** What looks like a mistake and does no harm. */
  readonly warnings: readonly string[];
  readonly places: Places;
  /** As it would be, with the default where a value is wrong: good for looking around only. */
  readonly draft: Config;
  /** The groups of which the draft does not say what was meant. */
  readonly doubtful: ReadonlySet<string>;
};

/** Reads files and environment: once, at the start. */
export function loadConfig(sources: Sources = {}): Loaded {
  const { cloud } = sources;
  const env = sources.env ?? process.env;
  const read = withCloud(readFiles(sources.files, sources.etc), cloud, env);
  const options = new Options(known(sources), read.sections, cloud ? withoutCinder(env) : env);
  const config: Config = {
    host: options.text('DEFAULT', 'host') ?? '',
    statePath: absolute(options, 'DEFAULT', 'state_path') ?? '',
    debug: options.flag('DEFAULT', 'debug'),
    logFile: writable(options, 'DEFAULT', 'log_file'),
    useJson: options.flag('DEFAULT', 'use_json'),
    api: api(options),
    libvirt: libvirt(options),
    cinder: cinder(options),
    operator: operator(options),
    keystone: keystoneIn(options, read.folder),
  };
  const warnings = [...options.unknown(), ...policyWarning(options), ...freezeWarning(config)];
  // Of a file that was not read nobody knows what it sets, so that nothing is missing or unset.
  const unread = read.mistakes.length > 0;
  const mistakes = unread ? read.mistakes : options.mistakes;
  const doubtful = unread ? new Set(Object.keys(OPTIONS)) : options.doubtful;
  const about = { warnings, places: read.places, draft: freeze(config), doubtful };
  return mistakes.length > 0 ? { ...err(mistakes), ...about } : { ...ok(about.draft), ...about };
}

/** What was named on the command line counts. */
const withoutCinder = (env: Environment): Environment =>
  Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('OS_CINDER__')));

/** Where the service listens for its operators: all that a command needs to know. */
export function findSocket(sources: Sources = {}): Result<string, string> {
  const read = readFiles(sources.files, sources.etc);
  const options = new Options(known(sources), read.sections, sources.env ?? process.env);
  const socket = options.text('operator', 'socket') ?? '';
  // The default file holds passwords, so that whoever may use the socket may be unable to read it.
  const mistakes = sources.files?.length ? [...read.mistakes, ...options.mistakes] : [];
  return mistakes[0] === undefined ? ok(socket) : err(mistakes[0]);
}

/**
 * What systemd tells a service in its environment (sd_notify(3), sd_watchdog_enabled(3)); null
 * where nobody wants to know, or it is another process that is watched.
 */
export function supervisor(
  env: Environment = process.env,
  pid: number = process.pid,
): Supervisor | null {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: usec, WATCHDOG_PID: watched } = env;
  if (socket === undefined || !/^[/@]./.test(socket)) return null;
  const mine = watched === undefined || watched === String(pid);
  const asked = mine && usec !== undefined && /^[1-9]\d{0,14}$/.test(usec);
  return { socket, watchdogMs: asked ? Number(usec) / 1000 : null };
}

function api(options: Options): ApiConfig {
  const auth = options.oneOf('api', 'auth_strategy', ['keystone', 'http_basic', 'noauth']);
  const bindHost = host(options, 'api', auth);
  const users = readable(options, 'api', 'http_basic_auth_user_file');
  if (auth === 'http_basic' && users === null) {
    options.wrong('api', 'http_basic_auth_user_file', 'is needed when auth_strategy is http_basic');
  }
  return {
    bindHost,
    bindPort: options.whole('api', 'bind_port', 0, 65535),
    authStrategy: auth ?? 'noauth',
    httpBasicAuthUserFile: users,
    publicEndpoint: urlOf(options, 'api', 'public_endpoint'),
    hostEndpoints: hostEndpoints(options),
    maxQueued: options.whole('api', 'max_queued', 1, 100_000),
    tls: tlsOfApi(options),
  };
}

/** As oslo.config's DictOpt: `name:value`, by the first colon, with commas between. */
function hostEndpoints(options: Options): Readonly<Record<string, string>> {
  const endpoints: [host: string, origin: string][] = [];
  for (const item of options.list('api', 'host_endpoints')) {
    const [, host = '', text = ''] = /^([^:]+):(.*)$/.exec(item) ?? [];
    const found = URL.canParse(text) ? new URL(text) : null;
    if (found === null || !/^https?:$/.test(found.protocol)) {
      const sentence = `has '${item}': give HOST:URL, as compute2:http://compute2:8797`;
      options.wrong('api', 'host_endpoints', sentence);
    } else if (found.pathname !== '/' || found.search !== '') {
      options.wrong('api', 'host_endpoints', `has '${item}': the URL has no path of its own`);
    } else endpoints.push([host.trim(), found.origin]);
  }
  return Object.fromEntries(endpoints);
}

/** The most layers that libvirt allows is 200 (qemu_block.c; error 84 beyond). */
function libvirt(options: Options): LibvirtConfig {
  const volumeDirectories = options.list('libvirt', 'volume_directories');
  const relative = volumeDirectories.find((folder) => !isAbsolute(folder));
  if (relative !== undefined) {
    options.wrong('libvirt', 'volume_directories', `names '${relative}': give absolute paths`);
  }
  return {
    connectionUri: options.text('libvirt', 'connection_uri') ?? '',
    quiesce: options.oneOf('libvirt', 'quiesce', ['auto', 'required', 'never']) ?? 'auto',
    agentTimeoutMs: options.whole('libvirt', 'agent_timeout', 1, 3600) * 1000,
    bandwidthMib: options.whole('libvirt', 'bandwidth_mib', 0, 1_000_000),
    maxChainDepth: options.whole('libvirt', 'max_chain_depth', 2, 200),
    volumeDirectories,
  };
}

function cinder(options: Options): CinderConfig {
  const auth = cinderAuth(options);
  const overrides = ['endpoint_override', 'endpoint', 'endpoint_template'] as const;
  const given = auth?.type === 'keystone' ? overrides : (['endpoint'] as const);
  const [endpoint = null] = given
    .map((option) => urlOf(options, 'cinder', option))
    .filter((it) => it !== null);
  if (endpoint === null && auth !== null && auth.type !== 'keystone') {
    options.wrong('cinder', 'endpoint', `is needed when auth_type is ${auth.type}`);
  }
  const dialects = ['auto', 'spec', 'format', 'status', 'stock'] as const;
  return {
    endpoint,
    auth: auth ?? { type: 'none' },
    statusDialect: options.oneOf('cinder', 'status_dialect', dialects) ?? 'auto',
    createTimeoutMs: options.whole('cinder', 'create_timeout', 1, 86_400) * 1000,
    deleteTimeoutMs: options.whole('cinder', 'delete_timeout', 1, 31_536_000) * 1000,
    timeoutMs: options.whole('cinder', 'timeout', 1, 600) * 1000,
    ...tlsIn(options, 'cinder'),
  };
}

function cinderAuth(options: Options): CinderAuth | null {
  const section = sectionOf(options, 'cinder');
  const type = options.text(section, 'auth_type');
  const need = (option: string): string => {
    const value = options.text(section, option);
    if (value === null) options.wrong(section, option, `is needed when auth_type is ${type}`);
    return value ?? '';
  };
  if (type !== null && KEYSTONE_TYPES.includes(type)) {
    const wanted = wantedIn(options, 'cinder');
    return { type: 'keystone', login: loginIn(options, section), wanted };
  }
  switch (type) {
    case 'none':
      return { type };
    case 'noauth':
      return { type, userId: need('user_id'), projectId: need('project_id') };
    case 'http_basic':
      return { type, username: need('username'), password: new Secret(need('password')) };
    default:
      options.wrong(
        section,
        'auth_type',
        `${type ? `is '${type}'` : 'is not set'}: ${CINDER_AUTH}`,
      );
      return null;
  }
}

function operator(options: Options): OperatorConfig {
  const auth = options.text('api', 'auth_strategy');
  const socket = absolute(options, 'operator', 'socket') ?? '';
  // sun_path of unix(7) holds 108 bytes with the zero at its end; Node cuts a longer name off.
  if (Buffer.byteLength(socket) > 107) {
    options.wrong('operator', 'socket', 'is longer than the 107 bytes that a socket name may have');
  }
  const bindPort = options.whole('operator', 'bind_port', 0, 65535);
  const bindHost = host(options, 'operator', bindPort === 0 ? null : auth);
  const taken = Number(options.text('api', 'bind_port')) === bindPort && bindPort !== 0;
  const hosts = [bindHost, options.text('api', 'bind_host') ?? ''];
  if (taken && (hosts[0] === hosts[1] || hosts.some((it) => EVERYWHERE.includes(it)))) {
    options.wrong('operator', 'bind_port', `is ${bindPort}, as that of [api]: name another`);
  }
  return { socket, bindHost, bindPort };
}

const CINDER_AUTH =
  'password or v3applicationcredential, or noauth, http_basic or none with an endpoint';

const EVERYWHERE: readonly string[] = ['0.0.0.0', '::'];

/** Whether only this machine can reach an address. */
export const isOwn = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && /^127\./.test(host));

/** An address to listen on; without any check of who is there, only the machine's own. */
function host(options: Options, group: string, auth: string | null): string {
  const text = options.text(group, 'bind_host') ?? '';
  if (auth === 'noauth' && !isOwn(text)) {
    const sentence = `is ${text}, and [api] auth_strategy noauth answers only on this machine`;
    options.wrong(group, 'bind_host', `${sentence}: set it to 127.0.0.1, or use http_basic`);
  }
  return text;
}

/** Cinder gives a create up after 600 s (remotefs.py), and a freeze may begin at the last. */
function freezeWarning({ cinder, libvirt }: Config): readonly string[] {
  const seconds = (cinder.createTimeoutMs + libvirt.agentTimeoutMs) / 1000;
  if (libvirt.quiesce === 'never' || seconds <= 600) return [];
  const sum = '[cinder] create_timeout and [libvirt] agent_timeout';
  return [`${sum} are ${seconds} s together: Cinder gives a create up after 600`];
}

/** Nobody has a role under http_basic and noauth; whoever wrote a policy should know. */
function policyWarning(options: Options): readonly string[] {
  const file = options.text('oslo_policy', 'policy_file');
  const strategy = options.text('api', 'auth_strategy');
  if (file === DEFAULT_POLICY || strategy === 'keystone') return [];
  return [
    `[oslo_policy] policy_file is ${file}, which is read with [api] auth_strategy keystone ` +
      'only: no rule of it applies',
  ];
}

function known({ defaults = {} }: Sources): Known {
  const groups = Object.entries({ ...OPTIONS, DEFAULT: { ...OPTIONS.DEFAULT, host: hostname() } });
  return Object.fromEntries(groups.map(([name, it]) => [name, { ...it, ...defaults[name] }]));
}
