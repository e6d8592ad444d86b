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
  readonly contrib?: string;
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
/** What somebody has removed from /etc dpkg takes for his wish. */
const REINSTALL = 'apt-get install --reinstall -o Dpkg::Options::=--force-confmiss chainkeeper';

/**
 * What this edition brings for others: beside the sources, and beside `dist` in npm's package.
 * Debian's has it in the places where it belongs.
 */
const CONTRIB = fileURLToPath(new URL('../contrib', import.meta.url));

/** The journal that the boot guard reads: whatever else we were told, it knows this folder only. */
const guardedPath = (): string => loadConfig({ env: {} }).draft.statePath;

/**
 * Whether libvirt asks before it starts a guest, and whether Nova goes its own way. `statePath` is
 * where the service has its journal; null when that is not known.
 */
export function neighbours(
  statePath: string | null,
  { hooks, novaConf, contrib = CONTRIB }: Neighbours = NEIGHBOURS,
  guarded: () => string = guardedPath,
): readonly Check[] {
  const hook = { path: join(hooks, HOOK), ours: join(contrib, 'libvirt', HOOK) };
  return [bootGuard(hook, statePath, guarded), ...nova(novaConf, contrib)];
}

interface Hook {
  readonly path: string;
  readonly ours: string;
}

function bootGuard(hook: Hook, statePath: string | null, guarded: () => string): Check {
  const { path, ours } = hook;
  const it = 'boot guard';
  const known = existsSync(ours);
  const again = known ? `install -D -m 755 ${ours} ${path}` : REINSTALL;
  const todo = `${again}; systemctl restart libvirtd`;
  try {
    accessSync(path, constants.X_OK);
    if (known && !readFileSync(path).equals(readFileSync(ours))) {
      return odd(it, `${path} is not the one of this chainkeeper: an older one?`, todo);
    }
  } catch (error) {
    const code = codeOf(error);
    const seen = code === 'ENOENT' ? `${path} is not there` : `${path} cannot be run (${code})`;
    const may = code === 'EACCES' ? `chmod 755 ${path}; systemctl restart libvirtd` : todo;
    return odd(it, `${seen}: a guest can be started on a file that it has left`, may);
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
function nova(paths: readonly string[], contrib: string): readonly Check[] {
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
    return [odd(it, saw, handOver(path, join(contrib, 'nova', 'chainkeeper.py')))];
  } catch (error) {
    return [odd(it, `${first} cannot be read (${codeOf(error)})`, 'id; run it as a user who may')];
  }
}

/** Puts our class beside Nova's own and has nova-compute take it. */
const handOver = (path: string, ours: string): string => {
  const bring = existsSync(ours)
    ? `install -m 644 ${ours} ${NOVA_VIRT}`
    : 'apt-get install chainkeeper-nova';
  const edit = `sed -i 's/^compute_driver *=.*/compute_driver = ${OURS}/' ${path}`;
  return `${bring}; ${edit}; systemctl restart nova-compute`;
};

function driverIn(path: string): readonly string[] {
  const sections = parseOslo(readFileSync(path, 'utf8'), path);
  const said = sections.ok ? sections.value.get('DEFAULT')?.get('compute_driver') : undefined;
  return said?.slice(-1).map(({ value }) => value) ?? [];
}
