/** What the lab is made of: Debian's own packages, unmodified. */
import { existsSync } from 'node:fs';
import { run } from './processes.ts';

/** A file that proves each package; looking at files is 500 times faster than asking dpkg. */
const HYPERVISOR = {
  '/usr/sbin/libvirtd': ['libvirt-daemon-system'],
  '/usr/bin/virsh': ['libvirt-clients'],
  '/usr/bin/qemu-system-x86_64': ['qemu-system-x86'],
  '/usr/bin/qemu-img': ['qemu-utils'],
} as const;

/** For network disks, as Cinder's GlusterFS driver made them. */
const NETWORK = {
  '/usr/sbin/glusterd': ['glusterfs-server'],
  '/usr/lib/x86_64-linux-gnu/qemu/block-gluster.so': ['qemu-block-extra'],
  '/usr/lib/x86_64-linux-gnu/libvirt/storage-file/libvirt_storage_file_gluster.so': [
    'libvirt-daemon-driver-storage-gluster',
  ],
  '/usr/sbin/ip': ['iproute2'],
} as const;

/** mount.nfs is never run here, but Cinder's NFS driver refuses to start without it. */
const CINDER = {
  '/usr/bin/cinder-api': ['cinder-api'],
  '/usr/bin/cinder-volume': ['cinder-volume'],
  '/usr/bin/cinder-scheduler': ['cinder-scheduler'],
  '/usr/sbin/rabbitmq-server': ['rabbitmq-server'],
  '/usr/lib/postgresql/15/bin/postgres': ['postgresql-15'],
  '/usr/sbin/mount.nfs': ['nfs-common'],
} as const;

/** For comparison: the driver that Cinder's calls are made for. */
const NOVA = {
  '/usr/lib/python3/dist-packages/nova/virt/libvirt/driver.py': ['python3-nova'],
  '/usr/lib/python3/dist-packages/libvirt.py': ['python3-libvirt'],
} as const;

/** The package keystone would start one and ask for a database; the programs are in this one. */
const KEYSTONE = {
  '/usr/bin/keystone-manage': ['python3-keystone'],
} as const;

/** What people type. */
const CLIENTS = {
  '/usr/bin/openstack': ['python3-openstackclient'],
  '/usr/bin/cinder': ['python3-cinderclient'],
} as const;

/** For the operator's page. */
const BROWSER = {
  '/usr/bin/chromium': ['chromium'],
} as const;

/** For a Debian of its own, as it is right after its installation. */
const CLEAN = {
  '/usr/bin/mmdebstrap': ['mmdebstrap'],
  '/usr/bin/systemd-nspawn': ['systemd-container'],
  '/usr/bin/cinder': ['python3-cinderclient'],
  '/usr/bin/uuidgen': ['uuid-runtime'],
} as const;

export interface Wanted {
  readonly cinder: boolean;
  readonly nova?: boolean;
  readonly network?: boolean;
  readonly keystone?: boolean;
  readonly browser?: boolean;
  readonly clients?: boolean;
  readonly clean?: boolean;
}

/**
 * Installs what is missing and returns its names. RUNLEVEL=1 keeps invoke-rc.d from starting
 * services: the lab starts its own, and Debian's RabbitMQ would listen on every interface.
 */
export async function ensurePackages(wanted: Wanted): Promise<readonly string[]> {
  const table: Record<string, readonly string[]> = {
    ...HYPERVISOR,
    ...(wanted.cinder && CINDER),
    ...(wanted.nova && NOVA),
    ...(wanted.network && NETWORK),
    ...(wanted.keystone && KEYSTONE),
    ...(wanted.browser && BROWSER),
    ...(wanted.clients && CLIENTS),
    ...(wanted.clean && CLEAN),
  };
  const missing = Object.keys(table)
    .filter((file) => !existsSync(file))
    .flatMap((file) => table[file]!);
  if (missing.length === 0) return [];
  if (process.getuid?.() !== 0) throw new Error(`needs root to install ${missing.join(', ')}`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await run('apt-get', ['update', '-qq'], { env, timeoutMs: 300_000 });
  const install = ['install', '-y', '-qq', '--no-install-recommends', ...missing];
  await run('apt-get', install, { env: { ...env, RUNLEVEL: '1' }, timeoutMs: 900_000 });
  return missing;
}
