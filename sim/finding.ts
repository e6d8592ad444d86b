import type { SeenLayer } from '#domain/chain.ts';
import type { Fault, Refusal } from '#domain/failure.ts';
import type { FileName } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Clock } from '#ports/clock.ts';
import type { DiskOf, MergeOrder, SeenDisk, SnapshotOrder } from '#ports/hypervisor.ts';
import type { SimDisk } from './disk.ts';
import type { SimGuest } from './guest.ts';
import { changed, REFUSALS, refused } from './refusals.ts';

export interface Found {
  readonly guest: SimGuest;
  readonly disk: SimDisk;
}

/** Whatever is ordered of a disk that was seen. */
export type Order = SeenDisk & Partial<SnapshotOrder> & Partial<MergeOrder>;

/** Which disk an order is about, if it is still as it was seen and its QEMU answers. */
export class Finding {
  readonly #guests: readonly SimGuest[];
  readonly #clock: Clock;
  /** Orders that have waited for a QEMU that hung, and the disk each was for. */
  readonly #admitted = new WeakMap<Order, Result<Found, Fault>>();

  constructor(guests: readonly SimGuest[], clock: Clock) {
    this.#guests = guests;
    this.#clock = clock;
  }

  find({ server, volume }: DiskOf): Result<Found, Refusal> {
    const guest = this.#guests.find((one) => one.server === server && one.known);
    if (guest === undefined) return err({ kind: 'guest-not-found', server });
    const disks = guest.disks.filter((one) => one.volume === volume);
    const [disk, ...others] = disks;
    if (disk === undefined) return err({ kind: 'disk-not-found', server, volume });
    if (others.length === 0) return ok({ guest, disk });
    const targets = disks.map((one) => one.target);
    return err({ kind: 'ambiguous-disk', server, volume, targets });
  }

  /**
   * The disk, if all is still as it was seen, and once its QEMU answers. Nothing is looked at
   * twice: what becomes of the guest while the call waits is libvirt's to deal with.
   */
  here(order: Order): Result<Found, Fault> | Promise<Result<Found, Fault>> {
    const found = this.#admitted.get(order) ?? this.seen(order);
    if (!found.ok || !found.value.guest.monitor.hangs) return found;
    return this.admit(order, 'Call').then((admitted) => (admitted.ok ? found : admitted));
  }

  /** Whether an order gets to its guest's QEMU, and when: see `Monitor`. */
  async admit(order: Order, call: string): Promise<Result<null, Fault>> {
    const found = this.seen(order);
    if (!found.ok) return found;
    const { guest } = found.value;
    const no = await guest.monitor.reach(call, this.#clock);
    if (no !== null) return refused(no);
    if (!guest.known) return refused(REFUSALS['guest gone']('', guest.server, guest.name));
    this.#admitted.set(order, found);
    return ok(null);
  }

  /** The disk, if it is still the one that was seen. */
  seen(order: Order): Result<Found, Fault> {
    const found = this.find(order);
    if (!found.ok) return changed(order, 'the disk is gone');
    const { guest, disk } = found.value;
    if (guest.process !== order.process) return changed(order, 'it was restarted');
    if (disk.target !== order.target) return changed(order, `the disk is ${disk.target}`);
    const active = disk.xml.file;
    const { active: expected, file, chain } = order;
    if (expected !== undefined && ![file, expected].includes(active)) {
      return changed(order, `${active} is active`);
    }
    const there = files(disk.xml);
    if (!Array.isArray(chain) || there.join('/') === chain.join('/')) return found;
    return changed(order, `the chain is ${there.join(' on ')}`);
  }
}

const files = (chain: SeenLayer): readonly FileName[] => [
  chain.file,
  ...(chain.on === null ? [] : files(chain.on)),
];
