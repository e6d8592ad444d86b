import type { Fault } from '#domain/failure.ts';
import type { ServerId } from '#domain/ids.ts';
import { err, type Result } from '#domain/result.ts';
import type { SeenDisk } from '#ports/hypervisor.ts';
import type { CallFault } from './lane.ts';

const NO_DOMAIN = 42;

export const done = (answer: Result<null, CallFault>): Result<null, Fault> =>
  answer.ok ? answer : err(faultOf(answer.error));

export const isGone = (fault: CallFault): boolean =>
  fault.kind === 'rejected' && fault.error.code === NO_DOMAIN;

export function faultOf(fault: CallFault): Fault {
  if (fault.kind !== 'rejected') {
    return { kind: fault.kind, who: 'libvirt', detail: fault.message };
  }
  const { code, message } = fault.error;
  return { kind: 'rejected', who: 'libvirt', code, detail: message };
}

export const changed = ({ server }: Pick<SeenDisk, 'server'>, what: string): Fault => ({
  kind: 'rejected',
  who: 'libvirt',
  code: 'changed',
  detail: `guest ${server} is not as it was seen: ${what}`,
});

export const restarted = (server: ServerId): Fault => ({
  kind: 'unreachable',
  who: 'libvirt',
  detail: `guest ${server} was restarted while it was looked at`,
});

export const unreadable = (problem: string): Fault => ({
  kind: 'rejected',
  who: 'libvirt',
  code: 'xml',
  detail: `the domain XML cannot be read: ${problem}`,
});
