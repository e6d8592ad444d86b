import type { Fault } from '#domain/failure.ts';
import { type FileName, RAW } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { SimDisk } from './disk.ts';
import type { SimGuest } from './guest.ts';
import { REFUSALS, refused } from './refusals.ts';

/** A resize to the same size, which a job forbids. */
export function flushActive(disk: SimDisk): Result<null, Fault> {
  if (disk.top === null) return refused(REFUSALS['guest shut off']());
  if (disk.job !== null) return refused(REFUSALS['resize during a job']());
  disk.flush();
  return ok(null);
}

/**
 * QEMU has the lock of a writer on what it left open for writing, unless that is raw; over a
 * network nobody can tell. Then the guest is stopped for a moment, if it runs at all.
 */
export function flushBase(guest: SimGuest, disk: SimDisk, file: FileName): Result<null, Fault> {
  if (disk.top === null) return refused(REFUSALS['guest shut off']());
  const node = disk.node(file);
  if (node === null) return no('changed', `${file} is no local file`);
  const seen = node.file.protocol === null;
  if (seen && (!node.writable || node.driver === RAW)) return ok(null);
  if (guest.paused) return no('paused', `${file} was left open for writing`);
  guest.suspend();
  guest.resume();
  return ok(null);
}

const no = (code: string, detail: string): Result<never, Fault> =>
  err({ kind: 'rejected', who: 'libvirt', code, detail });
