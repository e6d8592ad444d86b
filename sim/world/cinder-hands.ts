import type { ServerId, VolumeId } from '#domain/ids.ts';
import { infoText, without } from '../cinder-info.ts';
import type { CinderStep } from '../cinder-life.ts';
import type { CloudDisk } from '../cloud.ts';
import { rebase } from '../qemu-img.ts';
import { restarted } from './truth.ts';
import type { World } from './world.ts';

/** cinder-volume dies, and somebody starts it again. */
export function cinderDies(world: World, forMs?: number): void {
  const { service } = world.cloud.cinder;
  if (!service.up) return;
  const waiting = [...world.cloud.cinder.snapshots.values()];
  for (const { status } of waiting) {
    if (BUSY.includes(status)) world.saw(`cinder-volume killed while a snapshot is ${status}`);
  }
  service.kill();
  const ms = forMs ?? world.pause('cinder-volume down for');
  void world.clock.sleep(ms).then(() => {
    if (!service.up) world.tell('world', 'cinder-volume is started again');
    service.start();
  });
}

/** What can happen at each step of cinder-volume, told before the step is taken. */
export function cinderSteps(world: World): void {
  const { service } = world.cloud.cinder;
  service.at = (step: CinderStep, snapshot) => {
    for (const watcher of world.watchers) watcher.cinder?.(step, snapshot);
    const kind = `cinder-volume killed ${step}`;
    if (!world.swarm.strikes(kind)) return;
    world.tell('world', kind);
    cinderDies(world);
  };
}

/**
 * What an operator does who finds that Cinder cannot read a volume's `.info`, or that it names a
 * file that is gone: writes what the chain says. Answers whether there was anything to do.
 */
export function mendInfo(world: World, volume: VolumeId): boolean {
  const { cinder, share } = world.cloud;
  const torn = cinder.service.torn.get(volume);
  if (torn === undefined) return false;
  const text = cinder.infoFiles.get(volume);
  world.saw(text === '' ? 'an empty .info mended' : 'a torn .info mended');
  world.tell('operator', `writes the .info of ${volume}`);
  cinder.service.torn.delete(volume);
  let info = torn.info ?? cinder.info(volume);
  for (const { id, file, into, above } of torn.gone) {
    if (info !== null) {
      info = { ...without(info, id), active: info.active === file ? into : info.active };
    }
    const names = above && share.file(above.file)?.header?.backing === file;
    if (names) rebase(share, above.file, into, above.format);
  }
  if (info !== null) cinder.infoFiles.set(volume, infoText(info));
  return true;
}

/** The server's disk is taken away; libvirt refuses while a job is on it. */
export function detach(world: World, it: CloudDisk): boolean {
  const { guest, disk, volume } = it;
  const { cinder } = world.cloud;
  const [attachment] = cinder.attachmentsOf(volume);
  if (attachment === undefined || disk.job !== null || !guest.disks.includes(disk)) return false;
  // Nova names the topmost file alone, and libvirt would not take an encrypted chain back so.
  if (it.odd || disk.keys.size > 0 || guest.monitor.hangs) return false;
  const off = disk.top === null;
  world.saw(off ? 'a volume detached offline' : 'a volume detached live');
  guest.unplug(disk);
  for (const watcher of world.watchers) watcher.detached?.(it);
  const truth = world.truths.find((one) => one.it === it);
  // What a QEMU that was killed had not flushed is gone, whoever opens the files next.
  const view = off ? restarted(disk) : '';
  if (typeof view === 'string') truth?.durable();
  else truth?.startedOn(view);
  cinder.detach(attachment.id);
  return true;
}

/** The disk is given back, as what Cinder says it is; false when it is not time yet. */
export function attach(world: World, it: CloudDisk): boolean {
  const { guest, disk, volume } = it;
  const { cinder } = world.cloud;
  if (guest.disks.includes(disk)) return true;
  if (guest.monitor.hangs) return false;
  // Whoever attaches waits for what he has asked of the volume before.
  if (cinder.service.busy(volume)) return false;
  mendInfo(world, volume);
  for (const watcher of world.watchers) watcher.attaching?.(it);
  const found = cinder.connect(volume, guest.server as ServerId);
  const said = found.ok ? `${found.value.row.name}, ${found.value.format}` : found.error;
  world.tell('world', `${volume} is attached: ${said}`);
  if (!found.ok) return world.lost.has(volume);
  const { row, format } = found.value;
  const plugged = guest.plug(disk, row.name ?? disk.config.file, format);
  if (!plugged.ok) world.tell('world', `${disk.target} is not plugged in: ${plugged.error}`);
  for (const watcher of world.watchers) watcher.attached?.(it, plugged.ok ? null : plugged.error);
  return true;
}

const BUSY: readonly string[] = ['creating', 'deleting'];
