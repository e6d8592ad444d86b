import { type FileName, QCOW2, RAW, type SnapshotId } from '#domain/ids.ts';
import type { CinderStep } from '../cinder-life.ts';
import type { CloudDisk } from '../cloud.ts';
import type { MissingGuard } from './laws.ts';
import { coldFiles, coldView, type DiskTruth } from './truth.ts';
import type { Watcher } from './watcher.ts';
import type { World } from './world.ts';

/** Laws 1, 3, 5 and 7 across what Cinder does by itself to a volume that nobody has attached. */
export class OfflineLaws implements Watcher {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  cinder(step: CinderStep, snapshot: SnapshotId): void {
    const { offline, cloud, truths } = this.#world;
    if (!offline.has(snapshot)) return;
    const row = cloud.cinder.snapshots.get(snapshot);
    const truth = truths.find(({ it }) => it.volume === row?.volume);
    if (row === undefined || truth === undefined) return;
    if (step === 'after a commit of its own') this.#world.saw('Cinder commits offline');
    if (row.status !== 'creating' || step !== 'before it writes .info') return;
    this.#world.saw('Cinder takes a snapshot offline');
    this.#givenUp(truth);
    const overlay = [...cloud.share.files.keys()].find((name) => name.endsWith(snapshot));
    if (overlay === undefined) return;
    this.#headers(truth, overlay);
    const view = coldView(cloud.share, overlay, QCOW2);
    // Half done by a cinder-volume that was killed: whoever mends it makes it whole.
    if (cloud.cinder.service.torn.has(truth.it.volume))
      truth.frozen.set(snapshot, [...truth.bytes]);
    else if (typeof view === 'string') this.#gone(truth, view);
    else if (truth.lost(view) === null) truth.frozen.set(snapshot, [...truth.bytes]);
    else this.#gone(truth, `snapshot ${snapshot} is of something else`);
  }

  /** Before Cinder hands the volume out: is its word on it right, and is all of it there? */
  attaching(it: CloudDisk): void {
    const truth = this.#world.truths.find((one) => one.it === it);
    if (truth === undefined || this.#world.lost.has(it.volume)) return;
    this.#givenUp(truth);
    const gone = this.#problem(truth);
    if (gone !== null) this.#gone(truth, gone);
    else this.#world.saw('a volume attached again');
  }

  #problem(truth: DiskTruth): string | null {
    const { it } = truth;
    const { cinder, share } = this.#world.cloud;
    const row = cinder.volumes.get(it.volume);
    const active = cinder.activeFile(it.volume);
    const file = active === null ? null : share.file(active);
    if (row === undefined || file === null) return `${active} is not there`;
    const said = cinder.formats?.get(file.name) ?? row.format;
    if (said !== file.format) {
      this.#world.saw('Cinder hands out a wrong format');
      const words = `${file.name} is ${file.format}, and Cinder says ${said}`;
      this.#world.break(5, words, it.volume, this.#probing());
      row.format = file.format;
    }
    this.#headers(truth, file.name);
    const view = coldView(share, file.name, file.format);
    if (typeof view === 'string') return view;
    const at = truth.lost(view);
    return at === null ? null : `cluster ${at} reads otherwise`;
  }

  attached(it: CloudDisk, problem: string | null): void {
    const truth = this.#world.truths.find((one) => one.it === it);
    if (problem !== null) this.#world.lost.add(it.volume);
    if (problem === null && truth?.running) truth.startedOn(truth.disk.view());
  }

  /** A Cinder that probes believes a raw base's bytes; somebody has to set its headers right. */
  #headers({ it, disk: { share } }: DiskTruth, top: FileName): void {
    for (const name of coldFiles(share, top)) {
      const file = share.file(name);
      const under = file?.header?.backing == null ? null : share.behind(file.header.backing);
      if (file?.header == null || under === null || file.header.format === under.format) continue;
      // QEMU's own word for a raw file, where it was given no driver for it.
      if (file.header.format === 'file' && under.format === RAW) continue;
      this.#world.saw('Cinder writes a wrong format into an overlay');
      const words = `${name} says ${file.header.format} of ${under.name}, which is ${under.format}`;
      // Not Cinder's lie, but somebody said 90% before we had mended it.
      const [excuse = null] = this.#world.excuses.get(it.volume) ?? [];
      const guard = this.#world.doorway.spoiled.has(name) ? excuse : this.#probing();
      this.#world.break(7, words, it.volume, guard);
      file.header = { ...file.header, format: under.format };
    }
  }

  /** The guest was on an overlay that Cinder has never heard to be in use, and is so no more. */
  #givenUp({ it, disk }: DiskTruth): void {
    const { file } = disk.config;
    const { cinder, share } = this.#world.cloud;
    const active = cinder.activeFile(it.volume);
    const ours = this.#world.journal.all.some(
      ({ saga }) => saga.kind === 'create' && saga.request.newFile === file,
    );
    if (!ours || !share.files.has(file)) return;
    if (active !== null && coldFiles(share, active).includes(file)) return;
    this.#world.saw('a create that Cinder gave up, in use until the volume was detached');
    if (this.#world.excuses.get(it.volume)?.has('offline undo')) return;
    const words = `${file} was in use, and Cinder has given it up`;
    this.#world.break(32, words, it.volume, 'offline undo');
    this.#world.excuse(it.volume, 'offline undo');
  }

  #gone({ it, disk }: DiskTruth, words: string): void {
    const [excuse = null] = this.#world.excuses.get(it.volume) ?? [];
    const guard = excuse ?? this.#stale(words);
    this.#world.saw('a volume is not what it was when it was detached');
    this.#world.break(1, `${disk.target} detached: ${words}`, it.volume, guard);
    this.#world.lost.add(it.volume);
  }

  /**
   * A pull of everything was done and Cinder did not live to hear it: at its next try it takes the
   * overlay for stale and removes it, whatever has come to stand on it meanwhile.
   */
  #stale(words: string): MissingGuard | null {
    const [, file = ''] = /'([^']+)': No such file/.exec(words) ?? [];
    const merged = this.#world.journal.all.some(
      ({ saga }) =>
        saga.kind === 'delete' &&
        saga.at === 'end' &&
        saga.outcome === 'merged' &&
        file.endsWith(saga.request.snapshot),
    );
    return merged ? 'no overlay on a layer that Cinder takes for stale' : null;
  }

  #probing(): MissingGuard | null {
    return this.#world.cloud.cinder.formats === null ? 'Cinder uses the reported formats' : null;
  }
}
