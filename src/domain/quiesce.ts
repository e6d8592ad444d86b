import { explainFault, type Fault } from './failure.ts';
import { type Event, type Evidence, noted } from './saga.ts';
import type { DiskView } from './sight.ts';

/**
 * Whether the guest's agent is to freeze the file systems while a disk is switched. `auto`: where
 * it can, as Nova does; `required`: or the create fails, as with Nova's `os_require_quiesce`.
 */
export type Quiesce = 'auto' | 'required' | 'never';

/**
 * Where a create is with its freeze. `asked`: a switch with a freeze is under way, or was when this
 * process began. `thawing`: the guest may be frozen; so many thaws have failed. `over`: it is not
 * any more. `dropped`: it was tried in vain, and is not asked for again.
 *
 * libvirt freezes, switches and thaws in one call, so that our death leaves nobody frozen. But it
 * leaves the guest frozen, measured in test/live/quiesce.test.ts, where the freeze comes through
 * after the time for it was over, where the agent refuses the thaw, and where libvirtd itself dies
 * in between. So a thaw of our own follows every freeze that may have been sent, whatever the
 * answer was and whoever lives to hear it; where nothing is frozen it does nothing.
 */
export type Freeze = { readonly at: 'asked' | 'over' | 'dropped' } | Thawing;

export interface Thawing {
  readonly at: 'thawing';
  readonly failed: number;
}

export const ASKED: Freeze = { at: 'asked' };
export const OVER: Freeze = { at: 'over' };
export const DROPPED: Freeze = { at: 'dropped' };
export const THAWING: Thawing = { at: 'thawing', failed: 0 };

/**
 * An agent that hangs in its freeze is given up after some six minutes (5 s for libvirt's
 * handshake and 1 s between two thaws), one that refuses or is not there after one. Cinder waits
 * for ten.
 */
export const MOST_THAWS = 60;

/** Whether a switch asks for a freeze. A shut-off guest has its file systems at rest. */
export const freezes = (
  mode: Quiesce | undefined,
  view: DiskView,
  freeze?: Freeze | undefined,
): boolean =>
  (mode === 'auto' || mode === 'required') &&
  view.process !== null &&
  view.agent === 'connected' &&
  freeze?.at !== 'dropped';

/** Why `auto` does not even try, as evidence; empty where it does, and where nobody wants it. */
export function untried(mode: Quiesce | undefined, view: DiskView): readonly Evidence[] {
  if (mode !== 'auto' || view.process === null || view.agent === 'connected') return [];
  return [unquiesced(`the guest's agent is ${AGENT[view.agent]}`)];
}

/** libvirt's words for one that is not `connected`. */
export const AGENT = { disconnected: 'not connected', none: 'not configured' } as const;

export const unquiesced = (why: string): Evidence => ({ kind: 'not-quiesced', detail: why });

/**
 * What is known once the disk is on the overlay. libvirt switches only after the freeze, but where
 * an attempt never answered our own thaw may have come in between.
 */
export function quiesced(freeze: Freeze | undefined, pending: boolean): readonly Evidence[] {
  if (freeze?.at !== 'over') return [];
  if (pending) return [unquiesced('nobody knows: an attempt never answered, and was thawed')];
  return [{ kind: 'quiesced', detail: 'its file systems were frozen while it was switched' }];
}

/** Whether a switch that was answered so may have got as far as the agent. */
export function mayBeFrozen(said: Fault): boolean {
  if (said.kind !== 'rejected') return said.kind === 'unknown';
  // Not as it was seen; VIR_ERR_OPERATION_INVALID (a paused guest), ARGUMENT_UNSUPPORTED (no
  // channel), BLOCK_COPY_ACTIVE and OPERATION_UNSUPPORTED (a block job). AGENT_UNRESPONSIVE (86)
  // is both: no agent, and one that did not answer in time. All measured on libvirt 9.0.
  return !['changed', 55, 74, ...JOBS].includes(said.code);
}

/** A job on the disk is waited for; the freeze is worth another attempt then. */
const JOBS: readonly (number | string)[] = [83, 84];

/**
 * Whether the next attempt is to do without: libvirt said no to one with a freeze, or never
 * answered. A lock that was not free (68) can be that of an agent which hangs for somebody else.
 */
export const fallsBack = (
  mode: Quiesce | undefined,
  freeze: Freeze | undefined,
  refused: Fault | null,
  pending: boolean,
): boolean => {
  if (mode !== 'auto' || freeze?.at !== 'over') return false;
  if (refused?.kind === 'rejected') return !JOBS.includes(refused.code);
  return pending;
};

/** One step of thawing, and what to do now. */
export interface Thaw {
  readonly freeze: Freeze;
  readonly next: 'thaw' | 'wait' | 'look';
  readonly evidence: readonly Evidence[];
}

/** Thaws until it is done, or there is nobody to thaw, or nothing helps. */
export function thaw(freeze: Thawing, event: Event): Thaw {
  if (event.kind === 'did') return { freeze: OVER, next: 'look', evidence: [] };
  if (event.kind !== 'failed') return { freeze, next: 'thaw', evidence: [] };
  const { fault } = event;
  const evidence = [noted(fault)];
  if (fault.kind === 'unreachable') return { freeze, next: 'wait', evidence };
  if (isGone(fault)) return { freeze: OVER, next: 'look', evidence };
  const failed = freeze.failed + 1;
  if (failed < MOST_THAWS) return { freeze: { at: 'thawing', failed }, next: 'wait', evidence };
  const detail = `no thaw in ${MOST_THAWS} attempts: ${explainFault(fault)}`;
  return { freeze: OVER, next: 'look', evidence: [...evidence, { kind: 'left-frozen', detail }] };
}

/** The QEMU that was frozen is gone, or (NO_DOMAIN) its guest. */
const isGone = (fault: Fault): boolean =>
  fault.kind === 'rejected' && (fault.code === 'changed' || fault.code === 42);
