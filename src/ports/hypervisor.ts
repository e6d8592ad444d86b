import type { Merge } from '#domain/chain.ts';
import type { VolumeKey } from '#domain/encryption.ts';
import type { Fault } from '#domain/failure.ts';
import type { FileName, Format, ServerId, VolumeId } from '#domain/ids.ts';
import type { Result } from '#domain/result.ts';
import type { KeyedChain, Settled } from '#domain/saga.ts';
import type { GuestView } from '#domain/sight.ts';

/** A disk of a guest on this host: the guest's UUID, and the volume id that is its serial. */
export interface DiskOf {
  readonly server: ServerId;
  readonly volume: VolumeId;
}

/** What somebody wants to see of a disk. */
export interface LookOrder extends DiskOf {
  /**
   * What settles it: where the live chain is that one, in that QEMU, neither size nor job is asked
   * for. libvirt has it only once the switch or the job that made it is over.
   */
  readonly settled?: Settled;
}

/** A disk as people name it: `guest` is the name that libvirt has for it. */
export interface ListedDisk extends DiskOf {
  readonly guest: string;
  readonly target: string;
}

/** The guest that the volume was seen in, whether or not it still has it. */
export interface SeenGuest extends DiskOf {
  readonly process: string | null;
}

/** A disk that was seen: what every change of it names, and must still find. */
export interface SeenDisk extends DiskOf {
  readonly target: string;
  /** The QEMU process that was seen; another one makes the change a fault of kind `rejected`. */
  readonly process: string | null;
}

export interface SnapshotOrder extends SeenDisk {
  readonly directory: string;
  /** The empty overlay that becomes the active layer. */
  readonly file: FileName;
  /** The file that must be active now. */
  readonly active: FileName;
  /**
   * Whether the guest's agent freezes the file systems before the switch and thaws them after it,
   * each within the time that the operator gives it. Nothing to do for a shut-off guest.
   */
  readonly quiesce?: boolean;
  /** What opens `file`, when it is encrypted. */
  readonly key?: VolumeKey | null;
}

export interface UnchainOrder extends SeenDisk {
  readonly instead?: KeyedChain;
}

export interface MergeOrder extends SeenDisk {
  readonly merge: Merge;
  /** The files of the chain that must be there now, the active one first. */
  readonly chain: readonly FileName[];
}

/** An active commit: of the topmost of these files into the one right below it. */
export interface ActiveCommitOrder extends SeenDisk {
  readonly chain: readonly FileName[];
}

export interface FlushOrder extends SeenDisk {
  /** The file that a commit went into; left out after a pull, which went into the active one. */
  readonly into?: { readonly file: FileName; readonly format: Format };
}

/** Something happened; whoever waits should look. Events may be lost, late, or doubled. */
export type Happening =
  | {
      readonly kind: 'job';
      readonly server: ServerId;
      readonly target: string;
      readonly how: 'completed' | 'failed' | 'canceled' | 'ready';
    }
  /** The guest was started, stopped, crashed, paused, resumed. */
  | { readonly kind: 'guest'; readonly server: ServerId }
  /** The connection came back: whatever happened meanwhile was not told. */
  | { readonly kind: 'reconnected' };

/**
 * The machine that runs the guests. Every method may be called twice: a second snapshot of the
 * same file finds it active and answers ok; a second merge finds a job and is `rejected` as busy.
 * An error says nothing about whether the change happened: look. test/contract/hypervisor.ts is
 * the law.
 */
export interface Hypervisor extends AsyncDisposable {
  /** What the guest has open now: asked for, never remembered. */
  look(order: LookOrder): Promise<Result<GuestView, Fault>>;
  /** Every disk of every guest on this host that has a serial; for people who ask by volume. */
  disks(): Promise<Result<readonly ListedDisk[], Fault>>;
  /** Makes `file` the active layer, leaving every other disk of the guest alone. */
  snapshot(order: SnapshotOrder): Promise<Result<null, Fault>>;
  /**
   * Thaws the guest; ok where nothing is frozen. A quiesced snapshot thaws by itself, but the guest
   * can be left frozen by one that fails.
   */
  thaw(guest: SeenGuest): Promise<Result<null, Fault>>;
  /** Starts the merge, names kept relative; returns before it is finished. */
  merge(order: MergeOrder): Promise<Result<null, Fault>>;
  /**
   * Starts to mirror the active file into the one right below it. Once the job is ready, which is
   * seen by looking, the guest's writes go to both, until one of the two that follow.
   */
  commitActive(order: ActiveCommitOrder): Promise<Result<null, Fault>>;
  /** The guest writes to the file below: the active file is out of use. Only of a ready job. */
  pivot(order: ActiveCommitOrder): Promise<Result<null, Fault>>;
  /** The guest goes on writing to the active file. */
  cancelCommit(order: ActiveCommitOrder): Promise<Result<null, Fault>>;
  /**
   * Returns once all that a merge has written is on disk. After a pull the tables of the pulled
   * clusters are in QEMU's memory only (measured: 51 of 51 lost after a SIGKILL), and so are those
   * of a commit, when an active commit into the same file was cancelled since the guest was started
   * (4 of 4). Of a guest that does not run the latter cannot be had: `rejected` as `paused`.
   */
  flush(order: FlushOrder): Promise<Result<null, Fault>>;
  /**
   * Takes what a shut-off guest's XML says of the layers below the active file out of it, so that
   * at the next start the headers decide: what the XML says would override them (measured). Of an
   * encrypted volume it says `instead` what the headers do.
   */
  unchain(order: UnchainOrder): Promise<Result<null, Fault>>;
  /** Calls `listener` for each happening until the returned function is called. */
  listen(listener: (happening: Happening) => void): () => void;
  /** How many guests' calls wait for a connection that is free; left out where none ever does. */
  readonly waiting?: number;
  /** Whether it answers right now, and what it is: for health checks and people. */
  about(): Promise<Result<string, Fault>>;
}
