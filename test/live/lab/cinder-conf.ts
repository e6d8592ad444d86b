/** Stock Cinder's configuration: noauth, and the NFS driver over a bind mount. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';

export const PROJECT = '0123456789abcdef0123456789abcdef';
export const SHARE = '127.0.0.1:/share';

/** Where Cinder looks for the share: mount base / md5 of its name (os-brick remotefs.py:70-82). */
export const mountPoint = (dir: string, share = SHARE): string =>
  join(dir, 'mnt', createHash('md5').update(share).digest('hex'));

export interface Settings {
  readonly dir: string;
  readonly apiPort: number;
  readonly rabbitPort: number;
  readonly database: string;
  /** What is in [nova]. */
  readonly nova: string;
  /** The pipelines of its REST API. */
  readonly paste: string;
  /** The class of the backend's driver. */
  readonly driver: string;
}

export const STOCK_PASTE = '/etc/cinder/api-paste.ini';
export const STOCK_DRIVER = 'cinder.volume.drivers.nfs.NfsDriver';

/** A filter of Python's, and where its module lies. */
export interface ApiFilter {
  readonly name: string;
  readonly factory: string;
  readonly folder: string;
}

/** A volume driver's class, and where its module lies. */
export interface VolumeDriver {
  readonly name: string;
  readonly folder: string;
}

/** The stock pipelines with a filter right before Cinder itself. */
export const filtered = (paste: string, { name, factory }: ApiFilter): string =>
  `${paste.replaceAll(/\bnoauth apiv3$/gm, `noauth ${name} apiv3`)}
[filter:${name}]
paste.filter_factory = ${factory}
`;

/**
 * - nas_secure_file_operations false: NFS snapshots demand it (cinder nfs.py:629-644).
 * - report_interval 1: how long we wait to know that a service serves.
 * - graceful_shutdown_timeout 3: a cinder-volume that waits for a snapshot would not stop.
 */
export function cinderConf(settings: Settings): string {
  const { dir, apiPort, rabbitPort, database, nova, paste, driver } = settings;
  return `[DEFAULT]
auth_strategy = noauth
transport_url = rabbit://guest:guest@127.0.0.1:${rabbitPort}/
enabled_backends = nfs1
state_path = ${dir}/state
log_dir = ${dir}/log
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = ${apiPort}
osapi_volume_workers = 1
my_ip = 127.0.0.1
host = lab
rootwrap_config = /etc/cinder/rootwrap.conf
api_paste_config = ${paste}
default_volume_type = nfs
quota_volumes = -1
quota_snapshots = -1
quota_gigabytes = -1
report_interval = 1
service_down_time = 60
graceful_shutdown_timeout = 3
[database]
connection = ${database}
[oslo_concurrency]
lock_path = ${dir}/locks
[oslo_messaging_rabbit]
rabbit_retry_backoff = 0
rabbit_interval_max = 1
[nfs1]
volume_driver = ${driver}
volume_backend_name = nfs1
nfs_shares_config = ${dir}/nfs_shares
nfs_mount_point_base = ${dir}/mnt
nfs_snapshot_support = true
nas_secure_file_operations = false
nas_secure_file_permissions = false
[nova]
${nova}
`;
}
