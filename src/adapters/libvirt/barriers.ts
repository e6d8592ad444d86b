import type { Fault } from '#domain/failure.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { FlushOrder, SeenDisk } from '#ports/hypervisor.ts';
import { hasWriter } from '../images/writers.ts';
import { nameOf } from './disk-view.ts';
import type { XmlDisk } from './domain-xml.ts';
import { changed, done, faultOf } from './faults.ts';
import type { GuestCalls, GuestState } from './guest-calls.ts';
import { isLocked } from './locks-ffi.ts';
import { type Found, isRemote } from './remote-disk.ts';
import type { Sizes } from './sizes.ts';

// virDomainState, and of the reasons VIR_DOMAIN_RUNNING_UNPAUSED.
const RUNNING = 1;
const PAUSED = 3;
const UNPAUSED = 5;

/**
 * Resizing a disk to the size it has makes QEMU write and flush the active file's tables (2 ms;
 * safe after a pull in every round measured, see test/live). The size is read in the same turn: a
 * stale one would shrink the disk.
 */
export async function flushActive(
  calls: GuestCalls,
  order: SeenDisk,
  found: Found,
  sizes: Sizes,
): Promise<Result<null, Fault>> {
  const size = await sizes.of(calls, found);
  if (!size.ok) return err(faultOf(size.error));
  if (size.value === null) return err(changed(order, 'its guest is off'));
  const resized = done(await calls.blockResize(order.target, size.value));
  if (!resized.ok) return resized;
  const after = await sizes.of(calls, found);
  if (!after.ok) return err(faultOf(after.error));
  if (after.value === size.value) return ok(null);
  return err(changed(order, `its size went from ${size.value} to ${after.value}`));
}

/** A commit's base, as an order names it. */
type Base = NonNullable<FlushOrder['into']>;

/**
 * A commit's base is on disk once QEMU has it open for reading only. Where it has not, nothing but
 * a stop of the guest makes QEMU flush it (`bdrv_flush_all` in `do_vm_stop`).
 */
export async function flushBase(
  calls: GuestCalls,
  disk: XmlDisk,
  base: Base,
): Promise<Result<null, Fault>> {
  // Over a network there are no image locks to tell: it may be open for writing.
  if (isRemote(disk)) return stopForAMoment(calls, base, UNSEEN);
  const source = disk.layers.find((layer) => nameOf(layer.source) === base.file)?.source;
  if (source === undefined || !('path' in source)) return unflushed(base, 'it is no local file');
  const written = await hasWriter(source.path, base.format, isLocked);
  if (!written.ok) return written;
  return written.value ? stopForAMoment(calls, base, LEFT_OPEN) : ok(null);
}

/** No file can be made there: /dev/null is no folder. */
const NOWHERE = '/dev/null/chainkeeper-flushes-qemu';

/**
 * A core dump that fails: libvirt stops the guest, cannot make the file, and lets the guest go on
 * (38 ms in all; the base was whole after a SIGKILL in every round, test/live). Suspend and resume
 * flush as well; but a guest whose user pauses it in between would be resumed, and one would stay
 * paused if we died in between. Here libvirt looks under its own lock whether the guest runs, and
 * lets it go on even when libvirtd itself was killed (qemuProcessRecoverJob).
 */
async function stopForAMoment(
  calls: GuestCalls,
  base: Base,
  why: string,
): Promise<Result<null, Fault>> {
  const before = await calls.state();
  if (!before.ok) return err(faultOf(before.error));
  if (before.value.state !== RUNNING) return paused(base, why);
  const dumped = await calls.coreDump(NOWHERE);
  if (dumped.ok) return unflushed(base, `there is a file ${NOWHERE}`);
  const { error } = dumped;
  const asMeant = error.kind === 'rejected' && error.error.message.includes(NOWHERE);
  if (!asMeant) return err(faultOf(error));
  const after = await calls.state();
  if (!after.ok) return err(faultOf(after.error));
  return wasStopped(after.value) ? ok(null) : unflushed(base, 'the guest was not stopped');
}

/**
 * It ran before, so whoever paused it since has made QEMU flush too; only a sleep that the guest
 * itself went into does not.
 */
const wasStopped = ({ state, reason }: GuestState): boolean =>
  state === PAUSED || (state === RUNNING && reason === UNPAUSED);

const LEFT_OPEN = 'was left open for writing by an active commit that was cancelled';
const UNSEEN = 'may be open for writing, which cannot be seen over a network';

const paused = ({ file }: Base, why: string): Result<never, Fault> => {
  const detail =
    `${file} ${why}, and QEMU flushes it only when a guest that runs is stopped: resume the ` +
    'guest, or shut it off';
  return err({ kind: 'rejected', who: 'libvirt', code: 'paused', detail });
};

const unflushed = ({ file }: Base, why: string): Result<never, Fault> =>
  err({ kind: 'rejected', who: 'libvirt', code: 'unflushed', detail: `${file}: ${why}` });
