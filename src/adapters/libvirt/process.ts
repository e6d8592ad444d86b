import { readFileSync } from 'node:fs';

/**
 * Which process runs a guest. libvirt's domain id alone is not enough: it counts from 1 again when
 * libvirtd restarts, so a guest that died meanwhile can come back under its old id
 * (qemuProcessReconnect). The pid and its start time, from the pid file that libvirt writes and
 * from /proc, are; where that file cannot be read, the id with the host's boot id must do.
 */
export function processOf(uri: string, name: string, id: number): string {
  const pid = /^\d+$/.exec(text(`${folder(uri)}/${name}.pid`) ?? '')?.[0];
  const stat = pid === undefined ? null : text(`/proc/${pid}/stat`);
  // Field 22, after a command name that may itself hold spaces and brackets.
  const started = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  const identity = started === undefined ? `id ${id}` : `id ${id} pid ${pid} started ${started}`;
  return `boot ${BOOT} ${identity}`;
}

function folder(uri: string): string {
  if (!uri.includes('/session')) return '/run/libvirt/qemu';
  return `/run/user/${process.getuid?.() ?? 0}/libvirt/qemu/run`;
}

/** Kernel and tmpfs files only: read at once, where a thread of the pool would cost 1 ms each. */
function text(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}

const BOOT = text('/proc/sys/kernel/random/boot_id') ?? 'unknown';
