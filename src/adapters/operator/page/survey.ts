import type { VolumeId } from '#domain/ids.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import type { Clock } from '#ports/clock.ts';
import type { Diagnosis, Inspect } from '#ports/inspect.ts';
import type { Telemetry } from '#ports/telemetry.ts';
import { troubleWords } from '../report-json.ts';

export interface SurveyWorld {
  readonly inspect: Pick<Inspect, 'chain' | 'diagnoses'>;
  readonly clock: Pick<Clock, 'now' | 'monotonic' | 'sleep'>;
  readonly telemetry: Telemetry;
}

/** All volumes of this host as they were when somebody last looked. */
export interface Surveyed {
  /** When the look began, in wall-clock milliseconds; null before the first one is over. */
  readonly at: number | null;
  readonly volumes: readonly Diagnosis[];
  /** Why the newest look came to nothing. */
  readonly trouble: string | null;
}

/** A look at everything is not begun more often than this, */
const LEAST_MS = 15_000;
/** nor so often that more than a tenth of the time goes into looking. */
const SHARE = 10;
/** So many volumes are looked at again by themselves when an operation has changed them. */
const AT_ONCE = 4;

/**
 * What the page knows of the chains. Libvirt, the headers and Cinder are asked only while somebody
 * looks, by one at a time, and not for each request: a host may have a thousand volumes. What
 * an operation has changed since is asked for again by itself.
 */
export class Survey {
  readonly #world: SurveyWorld;
  #last: Surveyed = { at: null, volumes: [], trouble: null };
  /** When each volume was last seen by itself, where that is newer than all. */
  readonly #seenAt = new Map<VolumeId, number>();
  #dueAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | null = null;
  readonly #again = new Map<VolumeId, Promise<void>>();

  constructor(world: SurveyWorld) {
    this.#world = world;
  }

  /**
   * What is known, after at most `patienceMs` of waiting: for the first look, and for the volumes
   * of `changed`, each with the time of its change.
   */
  async look(changed: ReadonlyMap<VolumeId, number>, patienceMs: number): Promise<Surveyed> {
    const { clock } = this.#world;
    if (this.#looking === null && clock.monotonic() >= this.#dueAt) this.#begin();
    const waits = this.#last.at === null ? [this.#looking] : this.#refresh(changed);
    const over = new AbortController();
    await Promise.race([Promise.all(waits), clock.sleep(patienceMs, over.signal)]);
    over.abort();
    return this.#last;
  }

  #begin(): void {
    const { inspect, clock } = this.#world;
    const began = clock.monotonic();
    const at = clock.now();
    this.#looking = inspect
      .diagnoses()
      .then((found) => {
        this.#last = found.ok
          ? { at, volumes: found.value, trouble: null }
          : { ...this.#last, trouble: troubleWords(found.error) };
        if (found.ok) this.#seenAt.clear();
      })
      .catch((defect) => this.#broken(defect))
      .finally(() => {
        const took = clock.monotonic() - began;
        this.#dueAt = clock.monotonic() + Math.max(LEAST_MS, SHARE * took);
        this.#looking = null;
      });
  }

  #refresh(changed: ReadonlyMap<VolumeId, number>): readonly Promise<void>[] {
    const since = this.#last.at ?? 0;
    const known = new Set(this.#last.volumes.map(({ volume }) => volume));
    const old = [...changed].filter(
      ([volume, when]) => known.has(volume) && when >= (this.#seenAt.get(volume) ?? since),
    );
    return old.slice(0, AT_ONCE).map(([volume]) => this.#lookAgain(volume));
  }

  #lookAgain(volume: VolumeId): Promise<void> {
    const under = this.#again.get(volume);
    if (under !== undefined) return under;
    const { inspect, clock } = this.#world;
    const at = clock.now();
    const done = inspect
      .chain(volume)
      .then((report) => {
        if (!report.ok && isNobodysWord(report.error)) return;
        this.#seenAt.set(volume, at);
        const volumes = this.#last.volumes.map((one) =>
          one.volume === volume && isOfTheSame(one, report) ? { ...one, report } : one,
        );
        this.#last = { ...this.#last, volumes };
      })
      .catch((defect) => this.#broken(defect))
      .finally(() => this.#again.delete(volume));
    this.#again.set(volume, done);
    return done;
  }

  /** Nobody need be waiting for the look, and no operation is the worse for it. */
  #broken(defect: unknown): void {
    const words = defect instanceof Error ? (defect.stack ?? defect.message) : String(defect);
    this.#world.telemetry.log('error', `the page's look at the chains: ${words}`);
    const trouble = 'The look at the chains met a bug: see the log of the service.';
    this.#last = { ...this.#last, trouble };
  }
}

/** A fault says nothing about the volume: what was seen of it stays until the next look at all. */
const isNobodysWord = (it: Trouble): boolean => it.kind === 'fault';

const isOfTheSame = ({ server }: Diagnosis, report: Diagnosis['report']): boolean =>
  !report.ok || report.value.guest.server === server;
