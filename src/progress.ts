import type { VolumeId } from '#domain/ids.ts';
import type { Job } from '#domain/sight.ts';
import type { Progress } from '#ports/inspect.ts';

/** A rate is of so long: shorter is restless, longer is late when the guest writes more. */
const WINDOW_MS = 30_000;
/** Less than this and a rate is chance. */
const LEAST_MS = 900;

interface Track {
  readonly kind: Job['kind'];
  /** What was seen and when, the oldest first; one of them may be older than the window. */
  seen: { readonly at: number; readonly done: number }[];
  total: number;
}

/**
 * How far each volume's block job is, and how fast, from what the looks at it have seen anyway:
 * nobody is asked for it. Kept in memory only.
 */
export class ProgressBook {
  readonly #tracks = new Map<VolumeId, Track>();
  /** What was left to do when a job was seen for the last time. */
  readonly #left = new Map<VolumeId, number>();
  readonly #now: () => number;

  /** `now` is monotonic, in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A job was asked for: it begins with nothing done. */
  began(volume: VolumeId, kind: Job['kind']): void {
    this.#left.delete(volume);
    this.#tracks.set(volume, { kind, seen: [{ at: this.#now(), done: 0 }], total: 0 });
  }

  /** It has done all of it; answers how much of that nobody has seen yet. */
  finished(volume: VolumeId): number {
    const left = this.#left.get(volume) ?? 0;
    this.#left.delete(volume);
    return left;
  }

  /** Notes what a look has seen, and answers how much was done since the one before. */
  saw(volume: VolumeId, job: Job | null): number {
    if (job === null) {
      const track = this.#tracks.get(volume);
      const unseen = track === undefined ? 0 : track.total - (track.seen.at(-1)?.done ?? 0);
      if (unseen > 0) this.#left.set(volume, unseen);
      this.#tracks.delete(volume);
      return 0;
    }
    const at = this.#now();
    const known = this.#tracks.get(volume);
    const last = known?.seen.at(-1);
    if (
      known === undefined ||
      known.kind !== job.kind ||
      last === undefined ||
      last.done > job.done
    ) {
      // What a job had done before it was first seen is not known to be this service's.
      this.#tracks.set(volume, {
        kind: job.kind,
        seen: [{ at, done: job.done }],
        total: job.total,
      });
      return 0;
    }
    known.total = job.total;
    known.seen.push({ at, done: job.done });
    while ((known.seen[1]?.at ?? at) < at - WINDOW_MS) known.seen.shift();
    return job.done - last.done;
  }

  of(volume: VolumeId): Progress | null {
    const track = this.#tracks.get(volume);
    const [first, last] = [track?.seen[0], track?.seen.at(-1)];
    if (track === undefined || first === undefined || last === undefined) return null;
    if (track.total === 0) return null;
    const { kind, total } = track;
    const ms = last.at - first.at;
    const rate = ms < LEAST_MS ? null : ((last.done - first.done) * 1000) / ms;
    const left = rate === null || rate === 0 ? null : Math.ceil((total - last.done) / rate);
    return { job: kind, done: last.done, total, rate, secondsLeft: left };
  }
}
