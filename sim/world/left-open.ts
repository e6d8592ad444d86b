import type { SnapshotOrder } from '#ports/hypervisor.ts';
import { ActiveCommit } from '../active-commit.ts';
import type { SimDisk } from '../disk.ts';
import type { SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

/**
 * Somebody's active commit into the layer right below, cancelled as soon as it is ready, which
 * leaves that layer open for writing (QEMU 7.2). Only of an overlay that has nothing to mirror yet:
 * else what the layer below has frozen would be gone, and that is nobody's fault here.
 */
export class CancelledMirrors implements Watcher {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  reached({ port, method, args }: SeenCall, answer: unknown): void {
    if (port !== 'libvirt' || method !== 'snapshot' || !(answer as { ok: boolean }).ok) return;
    const [{ volume }] = args as [SnapshotOrder];
    const disk = this.#world.cloud.disks.find((one) => one.volume === volume)?.disk;
    if (disk === undefined || !this.#world.swarm.strikes('mirror of somebody else cancelled'))
      return;
    const left = leaveOpen(disk);
    if (left === null) return;
    this.#world.saw('a layer left open for writing by a cancelled active commit');
    this.#world.tell('world', `${left} is left open for writing`);
  }
}

/** Answers the file that is left open, if one is. */
export function leaveOpen(disk: SimDisk): string | null {
  const { top } = disk;
  const base = top?.backing ?? null;
  if (top === null || base === null) return null;
  for (let at = 0; at < top.file.clusters; at++) if (top.own(at) !== 'absent') return null;
  const begun = ActiveCommit.of(disk, { top: null, base: base.file.name, active: true });
  if (!begun.ok) return null;
  while (begun.value.phase === 'copying') begun.value.step(1);
  begun.value.canceled();
  return base.file.name;
}
