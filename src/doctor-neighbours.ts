import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf } from '#adapters/system/access.ts';
import type { Check } from '#ports/doctor.ts';
import { fine, odd } from './check.ts';
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

/** Whether libvirt asks before it starts a guest, and whether Nova goes its own way. */
export function neighbours({ hooks, novaConf }: Neighbours = NEIGHBOURS): readonly Check[] {
  return [bootGuard(join(hooks, HOOK)), ...nova(novaConf)];
}

function bootGuard(path: string): Check {
  const it = 'boot guard';
  const todo = `install -D -m 755 contrib/libvirt/${HOOK} ${path}; systemctl restart libvirtd`;
  try {
    accessSync(path, constants.X_OK);
    return fine(it, `libvirt asks ${path} before it starts a guest`);
  } catch (error) {
    const code = codeOf(error);
    const seen = code === 'ENOENT' ? `${path} is not there` : `${path} cannot be run (${code})`;
    return odd(it, `${seen}: a guest can be started on a file that it has left`, todo);
  }
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
  const todo = `compute_driver = ${OURS} (contrib/nova), or send Cinder's requests here alone`;
  try {
    const drivers = there.flatMap((path) => driverIn(path).map((driver) => ({ path, driver })));
    const last = drivers.at(-1);
    if (last === undefined) return [];
    const { path, driver } = last;
    if (driver === OURS) return [fine(it, `${path}: Nova leaves snapshots of volumes to us`)];
    if (!driver.startsWith('libvirt.')) return [];
    const saw = `${path}: compute_driver is ${driver}: it serves Cinder's requests as well`;
    return [odd(it, saw, todo)];
  } catch (error) {
    return [odd(it, `${first} cannot be read (${codeOf(error)})`, todo)];
  }
}

function driverIn(path: string): readonly string[] {
  const sections = parseOslo(readFileSync(path, 'utf8'), path);
  const said = sections.ok ? sections.value.get('DEFAULT')?.get('compute_driver') : undefined;
  return said?.slice(-1).map(({ value }) => value) ?? [];
}
