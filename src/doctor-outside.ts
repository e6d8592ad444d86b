import { constants } from 'node:fs';
import { formatsTaken, NOBODY } from '#adapters/cinder/formats-taken.ts';
import type { Rest } from '#adapters/cinder/rest.ts';
import { CinderVolumes } from '#adapters/cinder/volumes.ts';
import type { KeystoneSession } from '#adapters/keystone/session.ts';
import { explainFault, type Fault } from '#domain/failure.ts';
import { QCOW2, type SnapshotId } from '#domain/ids.ts';
import type { Check } from '#ports/doctor.ts';
import type { Hypervisor } from '#ports/hypervisor.ts';
import type { Images } from '#ports/images.ts';
import { bad, fine, odd } from './check.ts';
import type { CinderConfig, LibvirtConfig } from './config.ts';
import { unusable } from './doctor-host.ts';

/** libvirt keeps names relative since 1.2.7, and names the formats of all layers since 1.2.4. */
const RELATIVE = 1_002_007;
const FORMATS = 1_002_004;

export async function libvirtChecks(
  hypervisor: Hypervisor,
  images: Images,
  config: LibvirtConfig,
): Promise<readonly Check[]> {
  const about = await hypervisor.about();
  if (!about.ok) {
    const todo = `virsh -c ${config.connectionUri} version: may this user, and does libvirtd run?`;
    return [bad('libvirt', explainFault(about.error), todo)];
  }
  const [disks, readable] = await directories(hypervisor, images, config);
  return [version(about.value), ...disks, ...readable];
}

function version(about: string): Check {
  const [, major, minor, patch] = /^libvirt (\d+)\.(\d+)\.(\d+)/.exec(about) ?? [];
  const number = Number(major) * 1e6 + Number(minor) * 1e3 + Number(patch);
  if (major === undefined || number >= RELATIVE) return fine('libvirt', about);
  const assumed = number < FORMATS ? '; formats of layers are assumed, not asked' : '';
  const saw = `${about}: before 1.2.7 it cannot keep names relative${assumed}`;
  return odd('libvirt', saw, 'install libvirt 1.2.7 or later');
}

type Lists = readonly [disks: readonly Check[], readable: readonly Check[]];

/** Every folder that a guest here has a disk in, and those that the operator named. */
async function directories(
  hypervisor: Hypervisor,
  images: Images,
  { volumeDirectories }: LibvirtConfig,
): Promise<Lists> {
  const disks = await hypervisor.disks();
  if (!disks.ok) return [[bad('guests', explainFault(disks.error), 'virsh list --all')], []];
  const seen = new Map<string, string | null>();
  for (const folder of volumeDirectories) {
    seen.set(folder, unusable(folder, constants.R_OK | constants.X_OK));
  }
  for (const disk of disks.value) {
    const view = await hypervisor.look(disk);
    if (!view.ok || view.value.kind === 'absent' || view.value.source.kind === 'other') continue;
    const { directory } = view.value.source;
    const { file, format } = view.value.chain;
    const local = view.value.source.kind === 'files';
    const problem = local ? unusable(directory, constants.X_OK) : null;
    // With root squashed a folder may be open and its files not (0600 of another user).
    const page = problem === null && format === QCOW2 ? await images.header(directory, file) : null;
    const unread = page === null || page.ok ? null : explainFault(page.error);
    seen.set(directory, seen.get(directory) ?? problem ?? unread);
  }
  const count = fine('guests', `${disks.value.length} disks of guests here have a serial`);
  return [[count], [...seen].map(([folder, problem]) => folderCheck(folder, problem))];
}

function folderCheck(folder: string, problem: string | null): Check {
  const it = `directory ${folder}`;
  if (problem === null) return fine(it, 'it can be read');
  const local = `id; ls -ln ${folder}: run as a user, or in a group, that may read them`;
  const remote = 'is qemu-block-extra installed, and may this host reach the server?';
  return bad(it, problem, folder.startsWith('/') ? local : remote);
}

/** Whether Cinder answers, lets us in, and what it understands; nothing is changed. */
export async function cinderChecks(rest: Rest, config: CinderConfig): Promise<readonly Check[]> {
  const { statusDialect: dialect } = config;
  const endpoint = config.endpoint ?? "the catalog's Cinder";
  const telemetry = { log: () => {} };
  const volumes = new CinderVolumes({ rest, dialect, telemetry });
  const nobody = await volumes.snapshot(NOBODY as SnapshotId);
  if (!nobody.ok && nobody.error.who === 'Keystone') {
    return [refusedByKeystone('cinder', nobody.error, 'cinder')];
  }
  if (!nobody.ok) return [refusedBy(nobody.error, endpoint)];
  return [fine('cinder', `${endpoint} answers, and lets us in`), await words(rest, config)];
}

/** Whether Keystone lets us in, and whether we may look at the tokens of others. */
export async function keystoneChecks(session: KeystoneSession): Promise<readonly Check[]> {
  const it = 'keystone';
  const access = await session.access();
  if (!access.ok) return [refusedByKeystone(it, access.error, 'keystone_authtoken')];
  const { roles, user } = access.value;
  const saw = `user ${user} is let in, with ${roles.join(', ')}`;
  // keystone/common/policies/token.py validate_token.
  if (roles.some((role) => ['service', 'admin'].includes(role.toLowerCase()))) {
    return [fine(it, saw)];
  }
  const todo = 'give the user of [keystone_authtoken] the role service in its project';
  return [odd(it, `${saw}: it may not be allowed to look at tokens`, todo)];
}

function refusedByKeystone(it: string, fault: Fault, group: string): Check {
  const saw = explainFault(fault);
  if (fault.kind !== 'rejected') return bad(it, saw, `is [${group}] auth_url right? does it run?`);
  if (fault.code === 401) return bad(it, saw, `correct the credentials in [${group}]`);
  if (fault.code !== 'catalog') return bad(it, saw, `is [${group}] auth_url that of the v3 API?`);
  const todo = 'openstack catalog list; then region_name, valid_interfaces and service_type';
  return bad(it, saw, `${todo} in [${group}], or endpoint_override`);
}

function refusedBy(fault: Fault, endpoint: string): Check {
  const saw = explainFault(fault);
  if (fault.kind !== 'rejected')
    return bad('cinder', saw, `curl ${endpoint}: does cinder-api run?`);
  switch (fault.code) {
    case 401:
      return bad('cinder', saw, 'correct the credentials in [cinder]');
    case 403:
      return bad('cinder', saw, 'give the user of [cinder] the role admin in Cinder');
    default:
      return bad('cinder', saw, rightEndpoint(endpoint));
  }
}

/** As the catalog has it: http://HOST:8776/v3, with the project's id behind it or without. */
const rightEndpoint = (endpoint: string): string =>
  /\/v3(\/|$)/.test(endpoint)
    ? `is [cinder] endpoint = ${endpoint} that of the v3 API?`
    : `set [cinder] endpoint to ${endpoint}/v3, and restart the service`;

async function words(rest: Rest, { statusDialect }: CinderConfig): Promise<Check> {
  const it = 'cinder dialect';
  const taken = await formatsTaken(rest);
  if (!taken.ok) {
    return odd(it, explainFault(taken.error), 'see which role may POST update_snapshot_status');
  }
  const fits = taken.value ? 'spec or format' : 'status or stock';
  const saw = `it takes ${taken.value ? '' : 'no '}file_format: ${fits}`;
  const telling = statusDialect === 'spec' || statusDialect === 'format';
  if (statusDialect === 'auto' || telling === taken.value) {
    return fine(it, `${saw}; [cinder] status_dialect is ${statusDialect}`);
  }
  const todo = 'set [cinder] status_dialect to auto';
  const wrong = `${saw}, and [cinder] status_dialect is ${statusDialect}`;
  return telling ? bad(it, wrong, todo) : odd(it, wrong, todo);
}
