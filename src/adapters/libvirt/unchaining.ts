import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { UnchainOrder } from '#ports/hypervisor.ts';
import { NO_SOURCE, nameOf } from './disk-view.ts';
import type { XmlDisk } from './domain-xml.ts';
import { changed, done, faultOf, unreadable } from './faults.ts';
import type { GuestCalls } from './guest-calls.ts';
import { unchained } from './unchain-xml.ts';

/** Defines a shut-off guest anew, with what the order says of the disk's lower layers. */
export async function unchain(
  calls: GuestCalls,
  disk: XmlDisk,
  order: UnchainOrder,
): Promise<Result<null, Fault>> {
  const { instead } = order;
  const isBare = disk.layers.length === 1 && !disk.terminated;
  if (isBare && instead === undefined) return ok(null);
  const active = nameOf(disk.layers[0]?.source ?? NO_SOURCE);
  if (instead && active !== instead.chain.file) {
    return err(changed(order, `${active} is active`));
  }
  const xml = await calls.definition();
  if (!xml.ok) return err(faultOf(xml.error));
  const bare = unchained(xml.value, disk.target, instead);
  return bare.ok ? done(await calls.define(bare.value)) : err(unreadable(bare.error));
}
