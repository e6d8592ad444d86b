import { layersOf, type SeenLayer } from './chain.ts';
import type { LayerKey } from './encryption.ts';
import type { Refusal } from './failure.ts';
import { type FileName, type Format, QCOW2, type ServerId, type VolumeId } from './ids.ts';
import type { HeaderFlaw, Qcow2Header } from './qcow2.ts';
import type { Result } from './result.ts';

/**
 * A volume as its guest has it now: asked for, never remembered. `absent` says in a sentence why
 * there is nothing to see (no such guest on this host, no such disk, two of them).
 */
export type GuestView = DiskView | { readonly kind: 'absent'; readonly why: Refusal };

/** Whether the guest or its disk is not there at all, rather than there twice. */
export const isGone = (why: Refusal): boolean =>
  why.kind === 'guest-not-found' || why.kind === 'disk-not-found';

export interface DiskView {
  readonly kind: 'disk';
  readonly server: ServerId;
  /** libvirt's disk target: vda, sdb, ... */
  readonly target: string;
  /**
   * Which QEMU process has the disk open, or null when the guest is shut off. Two equal values
   * mean that the guest has not been restarted in between, whatever happened to libvirtd.
   */
  readonly process: string | null;
  /**
   * Whether the guest is shut off with its memory saved (virsh managedsave; Nova's suspend). It
   * will start with the XML that was saved along, whatever its configuration says by then
   * (test/live/offline-merge.test.ts).
   */
  readonly saved: boolean;
  /** Where the active file lies, or the words for a source that cannot be handled. */
  readonly source: LocalFiles | RemoteFiles | OtherSource;
  /** A layer of the chain that does not lie in the active file's folder. */
  readonly stray: { readonly file: FileName; readonly directory: string } | null;
  /** The layers that are encrypted, the active one first; of a plain volume none. */
  readonly keys: readonly LayerKey[];
  /** What the live XML says (of a shut-off guest: the inactive XML). */
  readonly chain: SeenLayer;
  /**
   * The disk's virtual size in bytes; not asked for, and null, while a block job is at work, and of
   * remote files that no QEMU has open.
   */
  readonly size: number | null;
  readonly job: Job | null;
  /** Neither size nor job was asked for, and both are null: the chain said enough (`Settled`). */
  readonly unasked?: true;
  /**
   * The guest's agent as the XML shows it: `none` has no channel for one. Only a libvirt since
   * 1.2.11 says that one is connected; the docs call `connected` "the guest has opened the port".
   */
  readonly agent: 'connected' | 'disconnected' | 'none';
}

/** A folder of this host. */
export interface LocalFiles {
  readonly kind: 'files';
  readonly directory: string;
}

/**
 * Files that only QEMU reaches, over a network. It has no image locks there: what it would refuse
 * of a local file, because somebody has it open, it does to a remote one.
 */
export interface RemoteFiles {
  readonly kind: 'remote';
  /** Where they lie, as a URL that only adapters take apart. */
  readonly directory: string;
}

export interface OtherSource {
  readonly kind: 'other';
  readonly type: string;
}

/** A block job on the disk, which can have one at a time; `done` and `total` in its own unit. */
export interface Job {
  readonly kind: 'pull' | 'copy' | 'commit' | 'active-commit' | 'other';
  readonly done: number;
  readonly total: number;
  /**
   * Of an active commit: the file that everything is mirrored into, and whether it is there yet,
   * so that the guest can be switched to it.
   */
  readonly mirror?: { readonly into: FileName; readonly ready: boolean };
}

/** A file's header page, or why there is none. */
export type HeaderView = Result<SeenHeader, HeaderFlaw>;

export interface SeenHeader extends Qcow2Header {
  /**
   * Tells the file that was read from another one of the same name. Left out where nobody can say,
   * as of network disks. No device goes with it: a share has another one each time it is mounted.
   */
  readonly inode?: string;
}

/** What Cinder believes. `snapshot` is null when Cinder no longer has it. */
export interface CinderView {
  readonly snapshot: SnapshotView | null;
  /** The file that the attachment names as in use, or null when Cinder does not say. */
  readonly active: FileName | null;
}

export interface SnapshotView {
  readonly volume: VolumeId;
  readonly status: string;
  /** Cinder's progress, '0%' to '100%', or null. */
  readonly progress: string | null;
}

/** All that a saga sees when it looks; a saga asks only for the parts it needs. */
export interface Sight {
  readonly guest: GuestView;
  /** By file: the headers that were asked for and that may be read (never of a raw file). */
  readonly headers: Readonly<Record<string, HeaderView>>;
  /** Null when it was not asked for. */
  readonly cinder: CinderView | null;
  /** What was recorded of the formats of this volume's files when each was made. */
  readonly known: ReadonlyMap<FileName, Format>;
  /** Whether the time in which Cinder waits for this operation is over. */
  readonly late: boolean;
}

/**
 * Which headers are read when `named` are asked for: those files, the overlays that stand on them,
 * and the active one; of files in the chain only those that are qcow2 by what libvirt says or, in
 * its silence, by standing on something or by the record. The lowest layer may be raw, and its
 * bytes are the guest's.
 */
export function headersToRead(
  chain: SeenLayer,
  named: readonly FileName[],
  known: ReadonlyMap<FileName, Format> = new Map(),
): readonly FileName[] {
  const layers = layersOf(chain);
  const wanted = layers.filter(
    (layer, at) =>
      ((layer.format === null && layer.on !== null) ||
        (layer.format ?? known.get(layer.file)) === QCOW2) &&
      (at === 0 ||
        named.includes(layer.file) ||
        (layer.on !== null && named.includes(layer.on.file))),
  );
  const strangers = named.filter((file) => !layers.some((layer) => layer.file === file));
  return [...strangers, ...wanted.map((layer) => layer.file)];
}
