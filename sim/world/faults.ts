import { CINDER_STEPS } from '../cinder-life.ts';
import type { Choices, Strength } from './choices.ts';

const CHANGE_FAULTS = [
  'unreachable',
  'lost before',
  'lost after',
  'slow',
  'slow answer',
  'late',
] as const;

/** What can go wrong with a call of a port. `late`: nobody knows, and it happens later. */
export const CALL_FAULTS = {
  libvirt: {
    look: ['unreachable', 'unknown', 'slow', 'locked', 'hangs'],
    snapshot: [...CHANGE_FAULTS, 'locked', 'hangs'],
    thaw: [...CHANGE_FAULTS, 'locked'],
    merge: [...CHANGE_FAULTS, 'locked', 'hangs'],
    flush: [...CHANGE_FAULTS, 'locked', 'hangs'],
    commitActive: [...CHANGE_FAULTS, 'locked', 'hangs'],
    pivot: [...CHANGE_FAULTS, 'locked', 'hangs'],
    cancelCommit: CHANGE_FAULTS,
    unchain: ['unreachable', 'lost before', 'lost after', 'slow', 'late', 'locked'],
  },
  cinder: {
    snapshot: ['unreachable', 'unknown', 'slow', 'denied'],
    attachments: ['unreachable', 'unknown', 'slow', 'denied'],
    activeFile: ['unreachable', 'unknown', 'slow'],
    update: ['unreachable', 'lost before', 'lost after', 'slow', 'slow answer', 'late', 'denied'],
  },
  images: {
    header: ['unreachable', 'slow'],
    mend: ['unreachable', 'lost before', 'lost after', 'slow', 'late', 'denied'],
    copy: ['lost before', 'lost after', 'slow', 'slow answer', 'denied'],
    sync: ['unreachable', 'lost before', 'slow'],
  },
} as const;

/** What can happen to the program itself. */
export const PROGRAM_FAULTS = [
  'killed before a call',
  'killed after a call',
  'killed while it recovers',
  'killed before a commit is on disk',
  'killed after a commit is on disk',
] as const;

/** What can happen to what the hypervisor tells. */
export const EVENT_FAULTS = ['lost', 'doubled', 'delayed', 'of another disk'] as const;

/** What people, machines and the world do. */
export const HAPPENINGS = [
  'the service killed',
  'the service stopped in good order',
  'QEMU killed',
  'guest shut down',
  'guest restarted',
  'guest shut down and asked of',
  'QEMU hangs',
  'guest paused',
  'libvirtd away',
  'Cinder away',
  'the service away for long',
  'job cancelled by hand',
  'job of somebody else',
  'disk full',
  'clock jumps ahead',
  'clock jumps back',
  'cinder-volume killed',
  'cinder-volume away for long',
  'admin force-deletes',
  'volume detached',
  'tenant says 90%',
  'tenant says error',
  'tenant says progress',
  'tenant says available',
  'admin resets to available',
  'admin resets to error',
  'admin resets to error_deleting',
  'request for a snapshot nobody knows',
  'request with other arguments',
  'request of long ago',
  'operator aborts',
  'operator settles',
] as const;

/** What happens at every moment of a block job. */
export const MISCHIEF = [
  'QEMU killed in a job',
  'guest shut down in a job',
  'job cancelled in the middle',
  'disk full in a job',
  'the service killed in a job',
  'guest writes in a job',
  'guest paused in a job',
  'cinder-volume killed in a job',
  'admin force-deletes in a job',
] as const;

/** What is wrong with an overlay by the time that we are asked to use it. */
export const OVERLAY_LIES = [
  'names another backing file',
  'names another format',
  'names no format',
  'has a data file',
  'is corrupt',
  'has another size',
  'is not there',
  'names a path outside',
  'has unknown features',
  'is encrypted',
  'is a folder',
  'may not be opened',
  'is immutable',
] as const;

/** What the guest does that is out of the ordinary. */
export const GUEST_FAULTS = ['forges a header', 'never flushes'] as const;

/** What an agent does with a command, and libvirtd in the middle of one. */
export const AGENT_FAULTS = [
  'agent refuses to freeze',
  'agent hangs in a freeze',
  'agent refuses to thaw',
  'agent hangs in a thaw',
  'libvirtd dies in a freeze',
] as const;

export type FaultKind = string;

/** By method: the kinds of faults that its calls can meet. */
export type CallFaults = Readonly<Record<string, readonly string[]>>;

/** Every kind there is, by name. */
export const FAULT_KINDS: readonly FaultKind[] = [
  ...Object.entries<CallFaults>(CALL_FAULTS).flatMap(([port, methods]) =>
    Object.entries(methods).flatMap(([method, kinds]) =>
      kinds.map((kind) => `${port} ${method} ${kind}`),
    ),
  ),
  ...PROGRAM_FAULTS,
  ...CINDER_STEPS.map((step) => `cinder-volume killed ${step}`),
  ...EVENT_FAULTS.map((kind) => `event ${kind}`),
  ...HAPPENINGS,
  ...MISCHIEF,
  ...OVERLAY_LIES.map((kind) => `overlay ${kind}`),
  ...GUEST_FAULTS.map((kind) => `guest ${kind}`),
  ...AGENT_FAULTS,
  'mirror of somebody else cancelled',
  'request for two layers at once',
  'request for a raw file',
  'request doubled',
  'request delayed',
  'answer lost',
  'operator aborts what was just asked',
];

/**
 * Swarm testing (Groce et al., 2012): each world has some kinds of faults and not others, because
 * a world in which everything happens is one in which little gets far enough to go wrong.
 */
export class Swarm {
  readonly #choices: Choices;
  readonly #strengths = new Map<FaultKind, Strength>();
  /** How often each kind happened. */
  readonly seen = new Map<FaultKind, number>();
  /** In the quiet at the end nothing goes wrong any more. */
  quiet = false;

  constructor(choices: Choices) {
    this.#choices = choices;
    const calm = choices.pick('swarm: calm', 8) === 0;
    for (const kind of FAULT_KINDS) {
      const at = choices.pick(`swarm: ${kind}`, calm ? 24 : 9);
      this.#strengths.set(kind, STRENGTHS[at] ?? 'off');
    }
  }

  strength(kind: FaultKind): Strength {
    return this.#strengths.get(kind) ?? 'off';
  }

  /** Whether this kind happens here and now; it is counted as seen. */
  strikes(kind: FaultKind): boolean {
    if (this.quiet || !this.#choices.chance(kind, this.strength(kind))) return false;
    this.saw(kind);
    return true;
  }

  saw(kind: FaultKind): void {
    this.seen.set(kind, (this.seen.get(kind) ?? 0) + 1);
  }
}

/** By the number drawn; the rest is off. */
const STRENGTHS: readonly Strength[] = ['off', 'rare', 'some', 'often'];
