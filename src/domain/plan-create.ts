import { afterCreate, complete, type Layer, layersOf } from './chain.ts';
import { keyOf, type VolumeKey } from './encryption.ts';
import type { Refusal } from './failure.ts';
import type { FileName, Format } from './ids.ts';
import { judgeOverlay } from './overlay.ts';
import { AGENT, type Quiesce } from './quiesce.ts';
import { err, ok, type Result } from './result.ts';
import type { Subject } from './saga.ts';
import type { DiskView, Sight } from './sight.ts';

/** What Cinder asks: make `newFile`, an empty overlay it has prepared, the active layer. */
export interface CreateRequest extends Subject {
  readonly newFile: FileName;
}

/** What will be done, all of it checked. */
export interface CreatePlan {
  readonly target: string;
  readonly directory: string;
  readonly process: string | null;
  readonly before: Layer;
  readonly after: Layer;
  readonly size: number;
  /** Length of the overlay's file while nothing was written to it. */
  readonly bytes: number;
  /** The overlay that was judged, by whatever name; left out where files have no such number. */
  readonly inode?: string;
  /** What opens the overlay, when the volume is encrypted. */
  readonly key: VolumeKey | null;
  /** Set when the overlay's header must first be told the format of its backing file. */
  readonly mend: { readonly backing: FileName; readonly format: Format } | null;
}

/** Limits that the operator sets. */
export interface Limits {
  readonly maxChainDepth: number;
  /** Left out in the journal of a version that could not quiesce. */
  readonly quiesce?: Quiesce;
}

/**
 * Whether Cinder made the file for this snapshot: `<volume name>.<snapshot id>`
 * (remotefs.py, _get_new_snap_path). Any other file of the folder may be raw, even another
 * volume's, and its bytes are not ours to read; seed 1592 of the simulated worlds had one read.
 */
export const isNamedFor = ({ newFile, snapshot }: Omit<CreateRequest, 'server'>): boolean =>
  newFile.endsWith(`.${snapshot}`);

/** Decides a create on what was seen. Pure: `plan create` prints exactly this. */
export function planCreate(
  request: CreateRequest,
  sight: Sight,
  limits: Limits,
): Result<CreatePlan, Refusal> {
  const disk = usableDisk(sight);
  if (!disk.ok) return disk;
  const { view, directory, before, size, key } = disk.value;
  const { target, process, server } = view;
  // libvirt would forget what is below, and start no guest from the headers of encrypted layers.
  if (key !== null && process === null) return err({ kind: 'encrypted-and-off', target, server });
  const after = afterCreate(before, request.newFile);
  if (!after.ok) return after;
  const depth = layersOf(after.value).length;
  if (depth > limits.maxChainDepth) {
    return err({ kind: 'chain-too-deep', depth, limit: limits.maxChainDepth });
  }
  const header = sight.headers[request.newFile] ?? NOT_THERE;
  const expected = { backing: before.file, format: before.format, size, encrypted: key !== null };
  const verdict = judgeOverlay(header, expected);
  if (verdict.verdict === 'refused') {
    return err({ kind: 'overlay-refused', file: request.newFile, flaws: verdict.reasons });
  }
  const { agent } = view;
  if (limits.quiesce === 'required' && process !== null && agent !== 'connected') {
    return err({ kind: 'agent-not-connected', server, agent: AGENT[agent] });
  }
  const mend = verdict.verdict === 'accepted' ? null : expected;
  return ok({
    target,
    directory,
    process,
    before,
    after: after.value,
    size,
    bytes: header.ok ? header.value.fileBytes : 0,
    ...(header.ok && header.value.inode !== undefined && { inode: header.value.inode }),
    key,
    mend: mend && { backing: mend.backing, format: mend.format },
  });
}

/** A disk whose every file can be named and checked, and on which nobody else is at work. */
export interface UsableDisk {
  readonly view: DiskView;
  readonly directory: string;
  readonly before: Layer;
  readonly size: number;
  readonly key: VolumeKey | null;
}

/** What must hold before any change of a chain. */
export function usableDisk(sight: Sight): Result<UsableDisk, Refusal> {
  const view = sight.guest;
  if (view.kind === 'absent') return err(view.why);
  if (view.source.kind === 'other') {
    return err({ kind: 'unsupported-source', target: view.target, source: view.source.type });
  }
  const { target, server } = view;
  if (view.saved) return err({ kind: 'guest-saved', server });
  const remote = view.source.kind === 'remote';
  // qemu-img would need image locks, and libvirt snapshots no such disk of a guest that is off.
  if (remote && view.process === null) return err({ kind: 'remote-and-off', target, server });
  const key = keyOf(view);
  if (!key.ok) return key;
  if (remote && key.value !== null) return err({ kind: 'encrypted', target, why: REMOTE_KEY });
  const { size } = view;
  if (view.job !== null || size === null) {
    return err({ kind: 'foreign-job', target, job: view.job?.kind ?? 'other' });
  }
  if (view.stray !== null) return err({ kind: 'other-directory', ...view.stray });
  const cinder = sight.cinder?.active ?? null;
  if (cinder !== null && cinder !== view.chain.file) {
    return err({ kind: 'active-differs', cinder, live: view.chain.file });
  }
  const before = complete(view.chain, sight.known);
  if (!before.ok) return before;
  const { directory } = view.source;
  return ok({ view, directory, before: before.value, size, key: key.value });
}

const REMOTE_KEY = 'it is a network disk, and Cinder encrypts none';
const NOT_THERE = err({ kind: 'missing', says: 'it is not there' } as const);
