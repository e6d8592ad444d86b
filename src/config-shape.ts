import { inspect } from 'node:util';
import type { Quiesce } from '#domain/quiesce.ts';
import type { Known } from './oslo-options.ts';

/** All that an operator can set, checked; frozen. */
export interface Config {
  readonly host: string;
  readonly statePath: string;
  readonly debug: boolean;
  readonly logFile: string | null;
  readonly useJson: boolean;
  readonly api: ApiConfig;
  readonly libvirt: LibvirtConfig;
  readonly cinder: CinderConfig;
  readonly operator: OperatorConfig;
  readonly policyFile: string;
}

export interface ApiConfig {
  readonly bindHost: string;
  readonly bindPort: number;
  readonly authStrategy: 'http_basic' | 'noauth';
  /** Set when `authStrategy` is http_basic. */
  readonly httpBasicAuthUserFile: string | null;
  readonly publicEndpoint: string | null;
  /** The chainkeepers of other hosts, by the name that Cinder has for the host. */
  readonly hostEndpoints: Readonly<Record<string, string>>;
  readonly maxQueued: number;
}

export interface LibvirtConfig {
  readonly connectionUri: string;
  readonly quiesce: Quiesce;
  readonly agentTimeoutMs: number;
  /** 0 is without limit. */
  readonly bandwidthMib: number;
  readonly maxChainDepth: number;
  /** Where volumes may lie; empty is wherever the live XML says. */
  readonly volumeDirectories: readonly string[];
}

export interface CinderConfig {
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly auth: CinderAuth;
  readonly statusDialect: 'auto' | 'spec' | 'format' | 'status' | 'stock';
  readonly createTimeoutMs: number;
  readonly deleteTimeoutMs: number;
  /** Of one HTTP request. */
  readonly timeoutMs: number;
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  readonly insecure: boolean;
}

/** keystoneauth's plugins by their names; noauth is python-cinderclient's. */
export type CinderAuth =
  | { readonly type: 'none' }
  | { readonly type: 'noauth'; readonly userId: string; readonly projectId: string }
  | { readonly type: 'http_basic'; readonly username: string; readonly password: Secret };

export interface OperatorConfig {
  readonly socket: string;
  readonly bindHost: string;
  /** 0 is off. */
  readonly bindPort: number;
}

/** A value that no log and no answer may show. */
export class Secret {
  readonly #value: string;
  constructor(value: string) {
    this.#value = value;
  }
  reveal(): string {
    return this.#value;
  }
  toString(): string {
    return '***';
  }
  toJSON(): string {
    return '***';
  }
  [inspect.custom](): string {
    return '***';
  }
}

export function freeze<T extends object>(it: T): T {
  for (const value of Object.values(it)) {
    if (typeof value === 'object' && value !== null) freeze(value);
  }
  return Object.freeze(it);
}

/** The configuration as lines for a log, secrets masked. */
export function describe(config: Config): readonly string[] {
  const lines = (it: object, path: string): string[] =>
    Object.entries(it).flatMap(([key, value]) => {
      const name = `${path}${key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
      const nested = typeof value === 'object' && value !== null && !Array.isArray(value);
      if (nested && !(value instanceof Secret)) return lines(value, `${name}.`);
      return [`${name} = ${JSON.stringify(value)}`];
    });
  return lines(config, '');
}

/** Names of keystoneauth that a section pasted from nova.conf has, and that are not read yet. */
const KEYSTONE = Object.fromEntries(
  (
    'auth_section auth_url username user_id password user_domain_name user_domain_id ' +
    'project_name project_id project_domain_name project_domain_id domain_name domain_id ' +
    'default_domain_name default_domain_id system_scope trust_id ' +
    'application_credential_id application_credential_name application_credential_secret ' +
    'token region_name interface www_authenticate_uri service_token_roles ' +
    'service_token_roles_required service_type memcached_servers token_cache_time ' +
    'auth_type cafile certfile keyfile insecure collect_timing split_loggers catalog_info ' +
    'endpoint_template os_region_name http_retries timeout debug'
  )
    .split(' ')
    .map((name) => [name, null]),
);

/** Every option there is, with its default. */
export const OPTIONS: Known = {
  DEFAULT: {
    host: null,
    state_path: '/var/lib/chainkeeper',
    debug: 'false',
    log_file: null,
    use_json: 'false',
  },
  api: {
    bind_host: '127.0.0.1',
    bind_port: '8797',
    auth_strategy: 'keystone',
    http_basic_auth_user_file: null,
    public_endpoint: null,
    host_endpoints: null,
    cert_file: null,
    key_file: null,
    ca_file: null,
    max_queued: '512',
  },
  libvirt: {
    connection_uri: 'qemu:///system',
    quiesce: 'auto',
    agent_timeout: '30',
    bandwidth_mib: '0',
    max_chain_depth: '64',
    volume_directories: null,
  },
  cinder: {
    ...KEYSTONE,
    endpoint: null,
    timeout: '30',
    insecure: 'false',
    status_dialect: 'auto',
    create_timeout: '540',
    delete_timeout: '7200',
  },
  keystone_authtoken: KEYSTONE,
  operator: {
    socket: '/run/chainkeeper/chainkeeper.sock',
    bind_host: '127.0.0.1',
    bind_port: '0',
  },
  oslo_policy: { policy_file: 'policy.yaml' },
};
