import { sendDatagram } from '#adapters/system/notify-ffi.ts';
import type { Inspect } from '#ports/inspect.ts';
import type { Telemetry } from '#ports/telemetry.ts';

/** Where the service manager listens, and how long it waits for a sign of life, if it does. */
export interface Supervisor {
  readonly socket: string;
  readonly watchdogMs: number | null;
}

export interface SupervisionWorld {
  readonly supervisor: Supervisor | null;
  readonly inspect: Pick<Inspect, 'operations'>;
  readonly telemetry: Telemetry;
}

/** A status that changes is told of so often at most, with or without a watchdog. */
const STATUS_MS = 10_000;

/**
 * Tells systemd how it is (sd_notify(3)): ready, once what an earlier process left was taken up
 * and it listens; alive, from the event loop itself and only after the journal has answered; and
 * that it stops. A libvirt or a Cinder that is away is no reason to be killed: they are waited for.
 */
export function supervised({ supervisor, inspect, telemetry }: SupervisionWorld): AsyncDisposable {
  if (supervisor === null) return { [Symbol.asyncDispose]: async () => {} };
  let complained = false;
  let over = false;
  const tell = (...lines: readonly string[]) => {
    const problem = sendDatagram(supervisor.socket, lines.join('\n'));
    if (problem !== null && !complained) {
      telemetry.log('warning', `systemd cannot be told anything (${problem})`);
    }
    complained = problem !== null;
  };
  const sign = async (...lines: readonly string[]) => {
    const open = await inspect.operations('open', 1000).catch((error: unknown) => {
      telemetry.log('error', `the journal gives no sign of life: ${error}`);
      return null;
    });
    if (open === null || over) return;
    const merging = open.filter(({ saga }) => saga.at === 'merging' || saga.at === 'offline');
    const alive = supervisor.watchdogMs === null ? [] : ['WATCHDOG=1'];
    tell(...lines, ...alive, `STATUS=${open.length} operations open, ${merging.length} merging`);
  };
  // Half of what it waits for, as sd_watchdog_enabled(3) asks.
  const every = Math.min(STATUS_MS, (supervisor.watchdogMs ?? Number.POSITIVE_INFINITY) / 2);
  const timer = setInterval(() => void sign(), every);
  timer.unref();
  void sign('READY=1');
  return {
    [Symbol.asyncDispose]: async () => {
      over = true;
      clearInterval(timer);
      tell('STOPPING=1');
    },
  };
}
