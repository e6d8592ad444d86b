import type { World } from './world.ts';

/** Nova's secrets are ephemeral: a libvirtd that was restarted has none. */
export function forgetSecrets({ cloud, choices }: World): void {
  for (const { disk } of cloud.disks) {
    const lost = disk.keys.size > 0 && choices.pick('libvirt forgets a secret', 2) === 1;
    if (lost) disk.hasSecret = false;
  }
}
