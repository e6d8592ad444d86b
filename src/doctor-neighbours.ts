import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { codeOf } from '#adapters/system/access.ts';
import type { Check } from '#ports/doctor.ts';
import { fine, odd } from './check.ts';
import { loadConfig } from './config.ts';
import { parseOslo } from './oslo-config.ts';

/** Where the others on this host keep what is theirs; a test has other folders. */
export interface Neighbours {
  readonly hooks: string;
  /** The last that says it counts, as with oslo.config. */
  readonly novaConf: readonly string[];
}

export const NEIGHBOURS: Neighbours = {
  hooks: '/etc/libvirt/hooks/qemu.d',
  novaConf: ['/etc/nova/nova.conf', '/etc/nova/nova-compute.conf'],
};

const HOOK = 'chainkeeper';
/** contrib/nova's, by the module that it is put into. */
const OURS = 'chainkeeper.LibvirtDriver';
/** Of Debian's python3-nova. */
const NOVA_VIRT = '/usr/lib/python3/dist-packages/nova/virt/';
const ETC = '/etc/chainkeeper';

/** What this edition brings for others: beside the sources, and beside `dist` in the package. */
const CONTRIB = fileURLToPath(new URL('../contrib', import.meta.url));

/** The journal that the boot guard reads: whatever else we were told, it knows this folder only. */
const guardedPath = (): string => loadConfig({ env: {} }).draft.statePath;

/**
 * Whether libvirt asks before it starts a guest, and whether Nova goes its own way. `statePath` is
 * where the service has its journal; null when that is not known.
 */
export function neighbours(
  statePath: string | null,
  { hooks, novaConf }: Neighbours = NEIGHBOURS,
  guarded: () => string = guardedPath,
): readonly Check[] {
  return [bootGuard(join(hooks, HOOK), statePath, guarded), ...nova(novaConf)];
}

function bootGuard(path: string, statePath: string | null, guarded: () => string): Check {
  const it = 'boot guard';
  const ours = join(CONTRIB, 'libvirt', HOOK);
  const todo = `install -D -m 755 ${ours} ${path}; systemctl restart libvirtd`;
  try {
    accessSync(path, constants.X_OK);
    if (!readFileSync(path).equals(readFileSync(ours))) {
      return odd(it, `${path} is not the one of this chainkeeper: an older one?`, todo);
    }
  } catch (error) {
    const code = codeOf(error);
    const seen = code === 'ENOENT' ? `${path} is not there` : `${path} cannot be run (${code})`;
    return odd(it, `${seen}: a guest can be started on a file that it has left`, todo);
  }
  const read = guarded();
  if (statePath === null || read === statePath) {
    return fine(it, `libvirt asks ${path} before it starts a guest`);
  }
  const saw = `it reads the journal in ${read}, and ours is in ${statePath}: guests start unasked`;
  return odd(it, saw, `set [DEFAULT] state_path in ${ETC}/chainkeeper.conf to ${statePath}`);
}

/**
 * Nova's own driver serves the same requests: what Cinder sends to Nova goes past our checks, our
 * journal and our reports.
 */
function nova(paths: readonly string[]): readonly Check[] {
  const there = paths.filter((path) => existsSync(path));
  const [first] = there;
  if (first === undefined) return [];
  const it = 'nova';
  try {
    const drivers = there.flatMap((path) => driverIn(path).map((driver) => ({ path, driver })));
    const last = drivers.at(-1);
    if (last === undefined) return [];
    const { path, driver } = last;
    if (driver === OURS) return [fine(it, `${path}: Nova leaves snapshots of volumes to us`)];
    if (!driver.startsWith('libvirt.')) return [];
    const saw = `${path}: compute_driver is ${driver}: it serves Cinder's requests as well`;
    return [odd(it, saw, handOver(path))];
  } catch (error) {
    return [odd(it, `${first} cannot be read (${codeOf(error)})`, 'id; run it as a user who may')];
  }
}

/** Puts our class beside Nova's own and has nova-compute take it. */
const handOver = (path: string): string =>
  `install -m 644 ${join(CONTRIB, 'nova', 'chainkeeper.py')} ${NOVA_VIRT}; ` +
  `sed -i 's/^compute_driver *=.*/compute_driver = ${OURS}/' ${path}; ` +
  'systemctl restart nova-compute';

function driverIn(path: string): readonly string[] {
  const sections = parseOslo(readFileSync(path, 'utf8'), path);
  const said = sections.ok ? sections.value.get('DEFAULT')?.get('compute_driver') : undefined;
  return said?.slice(-1).map(({ value }) => value) ?? [];
}
