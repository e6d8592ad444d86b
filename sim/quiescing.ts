import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { SeenGuest } from '#ports/hypervisor.ts';
import type { SimGuest } from './guest.ts';
import { changed, type No, REFUSALS, refused } from './refusals.ts';

/**
 * virDomainSnapshotCreateXML with QUIESCE: freeze, switch, thaw. A freeze that failed is not
 * thawed, though it may still come through; and where the thaw fails, so does a switch that was
 * made (both measured, test/live/quiesce.test.ts).
 */
export async function quiesced(
  guest: SimGuest,
  switches: () => Result<null, No>,
): Promise<Result<null, Fault>> {
  const { agent, process } = guest;
  if (agent === null) return refused(REFUSALS['agent not configured']());
  const freezing = agent.command('freeze');
  const unfrozen = freezing instanceof Promise ? await freezing : freezing;
  if (unfrozen !== null) return refused(unfrozen);
  if (guest.process !== process) return refused(REFUSALS['QEMU dies in the call']());
  const dies = agent.daemonDies();
  if (dies === 'before the switch') return LOST;
  const switched = switches();
  if (dies === 'after the switch') return LOST;
  const unthawed = await agent.command('thaw');
  if (!switched.ok) return refused(switched.error);
  return unthawed === null ? switched : refused(unthawed);
}

/** virDomainFSThaw: ok as well where nothing is frozen (measured). */
export async function thawed(
  seen: SeenGuest,
  guests: readonly SimGuest[],
): Promise<Result<null, Fault>> {
  const guest = guests.find((one) => one.server === seen.server && one.known);
  if (guest === undefined) return changed(seen, 'it is gone');
  if (guest.process !== seen.process) return changed(seen, 'it was restarted');
  const { agent } = guest;
  if (agent === null) return refused(REFUSALS['agent not configured']());
  // Its channel goes through QEMU, which is not asked anything else.
  if (guest.monitor.hangs) return refused(await agent.unheard());
  const no = await agent.command('thaw');
  return no === null ? ok(null) : refused(no);
}

const LOST: Result<never, Fault> = err({
  kind: 'unknown',
  who: 'libvirt',
  detail: 'End of file while reading data: Input/output error',
});
