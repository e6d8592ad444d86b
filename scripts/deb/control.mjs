// The control file of each Debian package.
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './root.mjs';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
export const VERSION = `${version}-1`;
export const ARCHITECTURE = { x64: 'amd64', arm64: 'arm64' }[process.arch] ?? process.arch;

/** In seconds since 1970: the time that everything in the packages has. */
export const when = Number(process.env.SOURCE_DATE_EPOCH ?? lastCommit());

function lastCommit() {
  const { status, stdout } = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: root });
  if (status === 0) return stdout.toString().trim();
  return Math.floor(statSync(join(root, 'package.json')).mtimeMs / 1000);
}

// As Debian's own tools have it; nobody reads mail at the name that stands here without.
const { DEBFULLNAME = 'chainkeeper maintainers', DEBEMAIL = 'maintainers@chainkeeper.invalid' } =
  process.env;
control.maintainer = `${DEBFULLNAME} <${DEBEMAIL}>`;

const PACKAGES = {
  chainkeeper: {
    // Versions: what the Node binary asks of the C and C++ libraries. python3 is what the boot guard
    // is run by: without it libvirt would start no guest at all.
    Depends:
      'adduser, libc6 (>= 2.28), libgcc-s1, libstdc++6 (>= 8), libvirt0 (>= 6.0), procps, python3, qemu-utils',
    Recommends: 'libvirt-daemon-system, libvirt-clients',
    Suggests: 'chainkeeper-nova, prometheus',
    Description: `snapshots of Cinder volumes attached to running guests
 Takes and deletes snapshots of Cinder's file-backed volumes (NFS and kin) that
 are attached to guests of this host's libvirt, and reports the format of every
 file it leaves behind. Cinder calls it as it calls Nova's assisted volume
 snapshots; beside Nova it is called by the driver in chainkeeper-nova.
 .
 The service, its command, and the boot guard, a hook for libvirt.`,
  },
  'chainkeeper-nova': {
    Depends: `adduser, chainkeeper (>= ${version}), python3, python3-nova (>= 2:26), python3-nova (<< 2:27~)`,
    Enhances: 'nova-compute',
    Description: `libvirt driver for Nova that leaves snapshots of volumes to chainkeeper
 For the Nova of a compute host: compute_driver = chainkeeper.LibvirtDriver in
 nova.conf hands what Cinder asks for over to the chainkeeper of the same host,
 and refreshes Nova's copy of the attachment when that is done.`,
  },
  'chainkeeper-cinder': {
    Depends: 'python3, python3-cinder',
    Enhances: 'cinder-api, cinder-volume',
    Description: `filter and NFS driver for Cinder that know the formats of volumes
 For the hosts of cinder-api and cinder-volume: a filter for the REST API, which
 keeps the formats that chainkeeper reports, and an NFS driver that uses them in
 place of a guess. Each works without the other.`,
  },
};

/** `size` in KiB. */
export function control(name, architecture, size) {
  const { Description, ...relations } = PACKAGES[name];
  const fields = {
    Package: name,
    Source: name === 'chainkeeper' ? undefined : 'chainkeeper',
    Version: VERSION,
    Architecture: architecture,
    Maintainer: control.maintainer,
    'Installed-Size': size,
    ...relations,
    Section: 'net',
    Priority: 'optional',
    Description,
  };
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([field, value]) => `${field}: ${value}\n`)
    .join('');
}
