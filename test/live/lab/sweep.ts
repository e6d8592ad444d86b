/**
 * What a test run left behind that was killed with SIGKILL, or lost its machine's power.
 * Everything of a lab carries its owner's id, so only what belongs to the dead is touched.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { unmount } from './cinder.ts';
import { virsh } from './libvirt.ts';
import { isOrphan, OWNER, removeFolder } from './processes.ts';

export const LAB_FOLDER = 'chainkeeper-lab-';

/** Call it while libvirtd answers: the guests of dead owners are destroyed first. */
export async function sweep(): Promise<void> {
  await sweepGuests();
  await sweepDaemons();
  await sweepFolders();
}

async function sweepGuests(): Promise<void> {
  for (const name of (await virsh('list', '--all', '--name')).split('\n')) {
    if (!isOrphan(/^ck-([\d.]+)-/.exec(name)?.[1])) continue;
    await virsh('destroy', name).catch(() => {}); // it may be shut off
    await virsh('undefine', name).catch(() => {}); // it may have been transient
    await rm(`/var/log/libvirt/qemu/${name}.log`, { force: true });
  }
}

async function sweepDaemons(): Promise<void> {
  const marker = new RegExp(`(?:^|\\0)${OWNER}=([\\d.]+)\\0`);
  for (const pid of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
    if (!isOrphan(marker.exec(environment)?.[1])) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // it went by itself
    }
  }
}

async function sweepFolders(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!isOrphan(new RegExp(`^${LAB_FOLDER}([\\d.]+)-`).exec(name)?.[1])) continue;
    const dir = join(tmpdir(), name);
    for (const line of (await readFile('/proc/mounts', 'utf8')).split('\n')) {
      const mount = line.split(' ')[1];
      if (mount?.startsWith(`${dir}/`)) await unmount(mount);
    }
    await removeFolder(dir);
  }
}
