import type { FileName } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import type { DiskView } from '#domain/sight.ts';
import { SimCinder } from '#sim/cinder.ts';
import type { Assist } from '#sim/cinder-rows.ts';
import { SimClock } from '#sim/clock.ts';
import { SimCloud, type SimCloudOptions } from '#sim/cloud.ts';
import { nodesFrom } from '#sim/node.ts';

type Create = Parameters<Assist['create']>[0];
type Delete = Parameters<Assist['delete']>[0];

/**
 * Nova's libvirt driver in its habits (facts: nova/virt/libvirt/driver.py, volume/cinder.py:740):
 * it answers before it begins, checks nothing first, takes "no job" for success, says 90% whatever
 * came of it, and never looks at the snapshot it works for.
 */
export class Nova implements Assist {
  /** How late a request is worked on: RPC casts do not expire. */
  lateMs = 0;
  readonly #cloud: SimCloud;
  readonly #cinder: () => SimCinder;

  constructor(cloud: SimCloud, cinder: () => SimCinder) {
    this.#cloud = cloud;
    this.#cinder = cinder;
  }

  async create(request: Create) {
    void this.#create(request);
    return ok(null);
  }

  async delete(request: Delete) {
    void this.#delete(request);
    return ok(null);
  }

  async #create({ volume, snapshot, newFile }: Create): Promise<void> {
    await this.#cloud.clock.sleep(this.lateMs);
    const seen = await this.#seen(volume);
    const active = seen.chain.file;
    const order = { ...seen, directory: this.#cloud.share.directory, file: newFile, active };
    const done = await this.#cloud.hypervisor.snapshot(order);
    this.#say(snapshot, done.ok ? 'creating' : 'error');
  }

  async #delete({ volume, snapshot, fileToMerge, mergeTarget }: Delete): Promise<void> {
    const seen = await this.#seen(volume);
    const chain: FileName[] = [];
    for (let at: DiskView['chain'] | null = seen.chain; at !== null; at = at.on)
      chain.push(at.file);
    const merge =
      mergeTarget === null || fileToMerge === null
        ? ({ kind: 'pull', onto: fileToMerge } as const)
        : ({ kind: 'commit', top: fileToMerge, into: mergeTarget } as const);
    const begun = await this.#cloud.hypervisor.merge({ ...seen, chain, merge });
    if (!begun.ok) return this.#say(snapshot, 'error_deleting');
    while ((await this.#seen(volume)).job !== null) await this.#cloud.clock.sleep(500);
    this.#say(snapshot, 'deleting');
  }

  #say(snapshot: Create['snapshot'], status: string): void {
    const action = { status, progress: '90%' };
    this.#cinder().update(snapshot, { 'os-update_snapshot_status': action });
  }

  async #seen(volume: Create['volume']) {
    const { server, hypervisor } = this.#cloud;
    const view = await hypervisor.look({ server, volume });
    if (!view.ok || view.value.kind !== 'disk') throw new Error('no such disk');
    return { ...view.value, volume };
  }
}

/** A cloud whose Cinder asks somebody else than us. */
export function cloudWith(
  assist: (cloud: SimCloud, cinder: () => SimCinder) => Assist,
  options: Omit<SimCloudOptions, 'clock'> = {},
) {
  const clock = new SimClock();
  const cloud = new SimCloud({ clock, ...options });
  const { share, server, disk, volume } = cloud;
  const made = { clock, share, assist: assist(cloud, () => cinder), knows: options.knows };
  const cinder: SimCinder = new SimCinder({ ...made, knows: options.knows ?? 'stock' });
  for (const row of cloud.cinder.volumes.values()) cinder.attach({ ...row }, server);
  /** Files that QEMU has open and that are not there any more. */
  const missing = () =>
    [...nodesFrom(disk.top)].filter(({ file }) => share.file(file.name) !== file).length;
  return { clock, cloud, cinder, share, disk, volume, base: disk.xml.file, missing };
}
