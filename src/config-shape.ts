import type { Wanted } from '#adapters/cinder/catalog.ts';
import type { Login } from '#adapters/keystone/login.ts';
import type { Policy } from '#adapters/nova-api/policy.ts';
import type { TlsFiles } from '#adapters/nova-api/tls.ts';
import type { Quiesce } from '#domain/quiesce.ts';
import { Secret } from './config-secret.ts';
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
  /** Set when `api.authStrategy` is keystone. */
  readonly keystone: KeystoneConfig | null;
}

export interface ApiConfig {
  readonly bindHost: string;
  readonly bindPort: number;
  readonly authStrategy: 'keystone' | 'http_basic' | 'noauth';
  /** Set when `authStrategy` is http_basic. */
  readonly httpBasicAuthUserFile: string | null;
  readonly publicEndpoint: string | null;
  /** The chainkeepers of other hosts, by the name that Cinder has for the host. */
  readonly hostEndpoints: Readonly<Record<string, string>>;
  readonly maxQueued: number;
  /** Null is HTTP. */
  readonly tls: TlsFiles | null;
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

/** Certificates for what we ask of others. */
export interface TlsConfig {
  readonly caFile: string | null;
  readonly certFile: string | null;
  readonly keyFile: string | null;
  readonly insecure: boolean;
}

export interface CinderConfig extends TlsConfig {
  /** Without a slash at its end. Null where the catalog says it. */
  readonly endpoint: string | null;
  readonly auth: CinderAuth;
  readonly statusDialect: 'auto' | 'spec' | 'format' | 'status' | 'stock';
  readonly createTimeoutMs: number;
  readonly deleteTimeoutMs: number;
  /** Of one HTTP request. */
  readonly timeoutMs: number;
}

/** [keystone_authtoken]: how the tokens of callers are judged. */
export interface KeystoneConfig extends TlsConfig {
  readonly login: Login;
  /** Where callers are sent for a token. */
  readonly wwwAuthenticateUri: string;
  readonly serviceTokenRoles: readonly string[];
  readonly serviceTokenRolesRequired: boolean;
  /** 0 or less is without a cache. */
  readonly tokenCacheMs: number;
  readonly timeoutMs: number;
  readonly policy: Policy;
}

/** keystoneauth's plugins by their names; noauth is python-cinderclient's. */
export type CinderAuth =
  | { readonly type: 'none' }
  | { readonly type: 'noauth'; readonly userId: string; readonly projectId: string }
  | { readonly type: 'http_basic'; readonly username: string; readonly password: Secret }
  | { readonly type: 'keystone'; readonly login: Login; readonly wanted: Wanted };

export interface OperatorConfig {
  readonly socket: string;
  readonly bindHost: string;
  /** 0 is off. */
  readonly bindPort: number;
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

/** Names of keystoneauth and Nova that a pasted section has; not all of them are used. */
const KEYSTONE = Object.fromEntries(
  (
    'auth_section auth_url username user_id password user_domain_name user_domain_id ' +
    'project_name project_id project_domain_name project_domain_id domain_name domain_id ' +
    'default_domain_name default_domain_id system_scope trust_id ' +
    'application_credential_id application_credential_name application_credential_secret ' +
    'token region_name interface www_authenticate_uri service_token_roles ' +
    'service_token_roles_required service_type memcached_servers token_cache_time ' +
    'auth_type cafile certfile keyfile insecure collect_timing split_loggers catalog_info ' +
    'endpoint_template os_region_name http_retries timeout debug ' +
    'service_name valid_interfaces endpoint_override cross_az_attach'
  )
    .split(' ')
    .map((name) => [name, null]),
);

/** Those of keystonemiddleware (auth_token/_opts.py) besides. */
const MIDDLEWARE = Object.fromEntries(
  (
    'auth_uri auth_version cache delay_auth_decision enforce_token_bind ' +
    'http_connect_timeout http_request_max_retries include_service_catalog ' +
    'memcache_pool_conn_get_timeout memcache_pool_dead_retry memcache_pool_maxsize ' +
    'memcache_pool_socket_timeout memcache_pool_unused_timeout memcache_secret_key ' +
    'memcache_security_strategy memcache_use_advanced_pool'
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
  keystone_authtoken: {
    ...KEYSTONE,
    ...MIDDLEWARE,
    insecure: 'false',
    http_connect_timeout: '10',
    service_token_roles: 'service',
    service_token_roles_required: 'true',
    token_cache_time: '300',
  },
  operator: {
    socket: '/run/chainkeeper/chainkeeper.sock',
    bind_host: '127.0.0.1',
    bind_port: '0',
  },
  oslo_policy: { policy_file: 'policy.yaml' },
};
