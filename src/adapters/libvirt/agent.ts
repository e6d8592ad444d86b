import { err } from '#domain/result.ts';
import type { GuestCalls } from './guest-calls.ts';
import type { Answer } from './lane.ts';

const SNAPSHOT_QUIESCE = 64;
/** libvirt's own patience with the handshake before each of an agent's commands (measured). */
const HANDSHAKE_MS = 5_000;
/** Longer than the 30 s a call waits for a guest's lock in the daemon (measured). */
const LOCK_MS = 45_000;
/** VIR_ERR_ARGUMENT_UNSUPPORTED: what libvirt says of a guest without a channel for an agent. */
const UNSUPPORTED = 74;

export interface Patience {
  /** With each command of the agent. */
  readonly agentTimeoutMs: number;
}

/** Freezes, switches and thaws: all in libvirtd, so that our own death leaves nobody frozen. */
export async function quiescedSnapshot(
  calls: GuestCalls,
  xml: string,
  flags: number,
  { agentTimeoutMs }: Patience,
): Promise<Answer<null>> {
  const bounded = await boundAgent(calls, agentTimeoutMs);
  if (!bounded.ok) return bounded;
  // A lock for each of the three parts.
  const patienceMs = 3 * LOCK_MS + 2 * (HANDSHAKE_MS + agentTimeoutMs);
  return calls.snapshotCreate(xml, flags | SNAPSHOT_QUIESCE, patienceMs);
}

/** Of all file systems; libvirt answers ok where none is frozen (measured). */
export async function thaw(calls: GuestCalls, { agentTimeoutMs }: Patience): Promise<Answer<null>> {
  const bounded = await boundAgent(calls, agentTimeoutMs);
  if (!bounded.ok) return bounded;
  return calls.fsThaw(LOCK_MS + HANDSHAKE_MS + agentTimeoutMs);
}

/**
 * libvirt waits for an agent's answer for ever unless it is told otherwise
 * (VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK), and anybody may tell it so again: hence before each
 * command. A libvirt before 5.10 cannot be told, and then nothing is frozen.
 */
async function boundAgent(calls: GuestCalls, timeoutMs: number): Promise<Answer<null>> {
  const bounded = await calls.agentTimeout(Math.ceil(timeoutMs / 1000));
  if (bounded.ok || bounded.error.kind !== 'rejected') return bounded;
  const { error } = bounded.error;
  const message = `the time of the guest's agent cannot be bounded: ${error.message}`;
  return err({ kind: 'rejected', error: { ...error, code: UNSUPPORTED, message } });
}
