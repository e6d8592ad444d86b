import type { Fault } from '#domain/failure.ts';
import { err, type Result } from '#domain/result.ts';
import type { SeenDisk } from '#ports/hypervisor.ts';

/** libvirt's own refusals, by its error codes (virErrorNumber). */
export interface No {
  readonly code: number;
  readonly message: string;
}

const CONCLUDED = "Job in state 'concluded' cannot accept command verb 'cancel'";
const IN_QEMU = 'internal error: unable to execute QEMU command';

/**
 * What libvirt 9.0 with QEMU 7.2 answers, word for word as measured, to all that can be asked of
 * the sim (the depth limit alone is read in libvirt's source). test/sim/refusals.test.ts brings
 * about each of them.
 */
export const REFUSALS = {
  'overlay named by a relative path': (_target, path) => ({
    code: 27,
    message: `XML error: disk snapshot image path '${path}' must be absolute`,
  }),
  'overlay missing': (target, path) => ({
    code: 38,
    message: `missing existing file for disk ${target}: ${path}: No such file or directory`,
  }),
  'overlay is a folder': (target) => ({
    code: 67,
    message:
      `unsupported configuration: mismatch between configured type for snapshot disk '${target}' ` +
      'and the type of existing file',
  }),
  'overlay is not qcow2': () => blockdevAdd('Image is not in qcow2 format'),
  'overlay in use': () => blockdevAdd('Failed to get "write" lock'),
  'overlay may not be opened': (_target, path) =>
    blockdevAdd(`Could not open '${path}': Permission denied`),
  // libvirt hands the file to QEMU's user first, and that is what an immutable one forbids.
  'overlay is immutable': (_target, path) => ({
    code: 38,
    message: `unable to open ${path}: Operation not permitted`,
  }),
  'overlay is corrupt': () => blockdevAdd('qcow2: Image is corrupt; cannot be opened read/write'),
  'overlay has unknown features': (_target, features) =>
    blockdevAdd(`Unsupported qcow2 feature(s): ${features}`),
  'secret unknown': (_target, secret) => ({
    code: 66,
    message: `Secret not found: no secret with matching uuid '${secret}'`,
  }),
  'overlay without its key': () =>
    blockdevAdd("Parameter 'encrypt.key-secret' is required for cipher"),
  'chain too deep': () => ({
    code: 84,
    message: 'Operation not supported: backing chains more than 200 layers deep are not supported',
  }),
  'disk has a job': (target) => ({
    code: 84,
    message: `Operation not supported: disk '${target}' already in active block job`,
  }),
  'disk has a mirror': (target) => ({
    code: 83,
    message: `block copy still active: disk '${target}' already in active block job`,
  }),
  'top not in the chain': (target, top) => ({
    code: 8,
    message: `invalid argument: could not find image '${top}' in chain for '${target}'`,
  }),
  'base not below the top': (target, top, base) => ({
    code: 8,
    message:
      `invalid argument: could not find image '${base}' beneath '${top}' in chain for ` +
      `'${target}'`,
  }),
  'top is active': (target) => ({
    code: 8,
    message: `invalid argument: commit of '${target}' active layer requires active flag`,
  }),
  'top is not active': (_target, top) => ({
    code: 8,
    message: `invalid argument: active commit requested but '${top}' is not active`,
  }),
  'nothing below the top': (target) => ({
    code: 8,
    message: `invalid argument: could not find base image in chain for '${target}'`,
  }),
  'base not right below the top': (_target, top, base, active) => ({
    code: 8,
    message:
      `invalid argument: base '${base}' is not immediately below '${top}' in chain for ` +
      `'${active}'`,
  }),
  'pull of everything kept relative': () => ({
    code: 8,
    message:
      'invalid argument: flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base',
  }),
  'disk unknown': (target) => ({
    code: 8,
    message: `invalid argument: disk '${target}' not found in domain`,
  }),
  'no job to end': (target) => ({
    code: 8,
    message: `invalid argument: disk ${target} does not have an active block job`,
  }),
  'job past its cancelling': () => ({
    code: 1,
    message: `${IN_QEMU} 'job-cancel': ${CONCLUDED}`,
  }),
  'job not ready to pivot': (target, kind, index) => ({
    code: 83,
    message:
      `block copy still active: block job '${kind}-${target}-libvirt-${index}-format' not ready ` +
      'for pivot yet',
  }),
  'names not relative': () => ({
    code: 55,
    message: "Requested operation is not valid: can't keep relative backing relationship",
  }),
  'base may not be written': (_target, path) => ({
    code: 1,
    message: `${IN_QEMU} 'block-commit': Could not open '${path}': Operation not permitted`,
  }),
  'base unlinked': (_target, path) => ({
    code: 38,
    message: `unable to stat: ${path}: No such file or directory`,
  }),
  'resize during a job': () => ({
    code: 1,
    message: `${IN_QEMU} 'block_resize': Device '(null)' is in use`,
  }),
  'guest shut off': () => ({
    code: 55,
    message: 'Requested operation is not valid: domain is not running',
  }),
  'remote disk of a guest that is off': (_target, protocol) => ({
    code: 1,
    message:
      "internal error: external inactive snapshots are not supported on 'network' disks using " +
      `'${protocol}' protocol`,
  }),
  'agent not configured': () => ({
    code: 74,
    message: 'argument unsupported: QEMU guest agent is not configured',
  }),
  'agent not connected': () => ({
    code: 86,
    message: 'Guest agent is not responding: QEMU guest agent is not connected',
  }),
  'agent does not answer': () => ({
    code: 86,
    message: 'Guest agent is not responding: Guest agent not available for now',
  }),
  'agent refuses': (_target, what) => ({
    code: 1,
    message:
      `internal error: unable to execute QEMU agent command 'guest-fsfreeze-${what}': ` +
      'failed to freeze /mnt',
  }),
  'guest gone': (_target, uuid, name) => ({
    code: 42,
    message: `Domain not found: no domain with matching uuid '${uuid}' (${name})`,
  }),
  'guest locked': (_target, holder) => ({
    code: 68,
    message:
      'Timed out during operation: cannot acquire state change lock ' +
      `(held by monitor=remoteDispatchDomain${holder})`,
  }),
  'QEMU dies in the call': () => ({
    code: 38,
    message: 'Unable to read from monitor: Connection reset by peer',
  }),
} as const satisfies Readonly<Record<string, (target: string, ...about: readonly string[]) => No>>;

/** Which one; the rest of a refusal is about whom and what. */
export type RefusalName = keyof typeof REFUSALS;

/** libvirt's no, about the disk `target`. */
export function no(
  name: RefusalName,
  target: string,
  ...about: readonly string[]
): Result<never, No> {
  const words: (target: string, ...about: readonly string[]) => No = REFUSALS[name];
  return err(words(target, ...about));
}

/** As the port has it. */
export const refused = ({ code, message }: No): Result<never, Fault> =>
  err({ kind: 'rejected', who: 'libvirt', code, detail: message });

/** What the adapter itself refuses: the disk is not the one that was seen. */
export const changed = (
  { server }: Pick<SeenDisk, 'server'>,
  what: string,
): Result<never, Fault> => {
  const detail = `guest ${server} is not as it was seen: ${what}`;
  return err({ kind: 'rejected', who: 'libvirt', code: 'changed', detail });
};

/** A failure that is no refusal of a change: a guest that does not start. */
export const problem = (code: number, message: string): Result<never, No> => err({ code, message });

const blockdevAdd = (problem: string): No => ({
  code: 1,
  message: `${IN_QEMU} 'blockdev-add': ${problem}`,
});
