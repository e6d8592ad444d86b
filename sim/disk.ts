import type { Layer, SeenLayer } from '#domain/chain.ts';
import { type FileName, type Format, QCOW2, RAW, type VolumeId } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import { Indexes } from './indexes.ts';
import type { BlockJob } from './job.ts';
import { type Bytes, nodesFrom, type SimNode } from './node.ts';
import { openChain } from './opening.ts';
import { type No, problem } from './refusals.ts';
import { CLUSTER_BYTES, type Cluster, type Header, type SimShare } from './share.ts';

/**
 * What a guest that starts has its chains from. `the top file`: its XML names that alone, as when
 * Nova writes it afresh, and the headers say the rest. `the configuration`: of a persistent guest
 * libvirt has written down what it changed, and that overrides the headers (measured).
 */
export type StartFrom = 'the top file' | 'the configuration';

/**
 * A guest's disk: the files on the share, what a running QEMU has open of them (`top`), and what
 * libvirt has written down about it (`xml`), which lags behind while a job ends.
 */
export class SimDisk {
  readonly volume: VolumeId;
  readonly target: string;
  readonly share: SimShare;
  /** What the guest writes to; null while it is shut off. */
  top: SimNode | null = null;
  /** libvirt's live XML. */
  xml: SeenLayer;
  /** libvirt's inactive XML: the top alone, until libvirt itself changes the chain. */
  config: SeenLayer;
  job: BlockJob | null = null;
  /** Whether the guest's discards reach its files: `discard='unmap'` of its driver. */
  unmaps = false;
  /** Its libvirt is an older one, whose XML is late when a job has ended (see `Phase`). */
  lateXml = false;
  /** Its guest's. */
  indexes = new Indexes();
  /** The files whose `<source>` in the XML has an `<encryption>`. */
  keys: ReadonlySet<FileName> = new Set();
  /** The UUID by which libvirt knows the volume's passphrase. */
  readonly secret: string;
  /** libvirt's name for how it is encrypted. */
  cipher = 'luks';
  /** Whether libvirt has that passphrase; a QEMU that has the volume open needs it no more. */
  hasSecret = true;
  /** libvirt gives QEMU no driver for a raw layer, as newer ones do: its file is all there is. */
  #formatless = false;

  constructor(share: SimShare, volume: VolumeId, target: string, file: FileName, format: Format) {
    this.share = share;
    this.volume = volume;
    this.target = target;
    this.xml = { file, format, on: null };
    this.config = this.xml;
    this.secret = volume;
    // Whoever attaches an encrypted volume gives its key along.
    if (share.file(file)?.luks) this.keys = new Set([file]);
  }

  /**
   * Opens the files anew, and numbers the layers from the top. A start that is refused has
   * forgotten the chain of the run before (measured).
   */
  start(from: StartFrom = 'the top file'): Result<null, No> {
    const { file, format, on } = this.config;
    this.config = { file, format, on: from === 'the configuration' ? on : null };
    this.xml = this.config;
    const top = this.share.file(file);
    if (top === null) return problem(38, `missing existing file ${file}`);
    const below = from === 'the configuration' ? on : null;
    // Only a layer that the XML names can have its key there.
    const keys = new Set([file, ...namesOf(below)].filter((name) => this.keys.has(name)));
    const opened = openChain(this.share, top, format ?? QCOW2, { below, keys });
    if (!opened.ok) return opened;
    const shut = [...nodesFrom(opened.value)].find((node) => node.file.access === 'forbidden');
    if (shut !== undefined) {
      for (const node of nodesFrom(opened.value)) node.close();
      return problem(1, `Could not open '${shut.file.name}': Permission denied`);
    }
    for (const node of nodesFrom(opened.value)) {
      node.index = this.indexes.next();
      node.formatless = this.#formatless && node.driver === RAW && !node.keyed;
    }
    this.top = opened.value;
    this.top.writable = true;
    this.keys = keysOf(this.top);
    this.xml = this.chain();
    return ok(null);
  }

  dropRawDriver(): void {
    this.#formatless = true;
    for (const node of nodesFrom(this.top)) {
      // LUKS is a driver too.
      node.formatless = node.driver === RAW && !node.keyed;
    }
  }

  /** QEMU is told to end: it writes what it holds. */
  stop(): void {
    this.flushAll();
    this.kill();
  }

  /** QEMU is gone, and with it all that was only in its memory. */
  kill(): void {
    for (const node of nodesFrom(this.top)) node.close();
    this.top = null;
    this.job = null;
    this.xml = this.config;
  }

  /** The guest's flush: of the layer it writes to, not of one that a job is writing to. */
  flush(): void {
    this.top?.flush();
  }

  /** Every node: what no guest's flush reaches, too. */
  flushAll(): void {
    for (const node of nodesFrom(this.top)) node.flush();
  }

  /** An empty file on top, opened without a look at what its header says of its backing. */
  attach(made: SimNode): void {
    if (this.top !== null) {
      this.top.flush();
      this.top.writable = false;
    }
    made.writable = true;
    made.backing = this.top;
    made.index = this.indexes.next();
    this.top = made;
    this.keys = keysOf(made);
    const layer = { file: made.file.name, format: made.driver };
    this.xml = { ...layer, on: this.xml };
    this.config = { ...layer, on: this.config };
  }

  /**
   * libvirt writes down a chain that a job has changed: in the live XML, and in the inactive one
   * what it knew there of the layers that are left. It did not know those that it found by itself
   * at the start; when the job reached down to one of them, only the active layer is left.
   */
  note(before: SeenLayer, base: FileName | null): void {
    this.xml = this.chain();
    const [active, ...below] = layersOf(this.config);
    if (active === undefined) return;
    const depth = layersOf(before).findIndex(({ file }) => file === base);
    const known = base !== null && depth < below.length + 1;
    const left = layersOf(this.xml).map(({ file }) => file);
    const kept = known ? [active, ...below].filter(({ file }) => left.includes(file)) : [];
    const top = { file: left[0] ?? active.file, format: this.xml.format };
    this.config = linked(kept.length > 0 ? kept : [{ ...top, on: null }]);
  }

  /** A guest that is off is defined anew, with this file as the disk and nothing said of others. */
  configure(file: FileName = this.config.file, format = this.config.format): void {
    if (this.share.file(file)?.luks) this.keys = new Set([file]);
    this.config = { file, format, on: null };
    this.xml = this.config;
  }

  /** The XML of a guest that is off names the top alone, or this chain and the keys of it. */
  unchain(instead: SeenLayer = { ...this.config, on: null }): void {
    this.config = instead;
    this.xml = instead;
    this.keys = new Set(namesOf(instead).filter((name) => this.share.file(name)?.luks));
  }

  /** The layers in QEMU's memory. */
  chain(): Layer {
    let below: Layer | null = null;
    for (const { file, driver } of [...nodesFrom(this.#running())].reverse()) {
      below = { file: file.name, format: driver, provenance: 'reported', on: below };
    }
    return below as Layer;
  }

  /** All that the guest reads, cluster by cluster. */
  view(): readonly Bytes[] {
    const top = this.#running();
    return Array.from({ length: top.file.clusters }, (_, at) => top.read(at));
  }

  /** What this one layer has of the disk: `D` data, `Z` zeros, `.` nothing. */
  map(file: FileName): string {
    const node = [...nodesFrom(this.top)].find((one) => one.file.name === file);
    const there = this.share.file(file);
    const clusters = Array.from({ length: there?.clusters ?? 0 }, (_, at) =>
      node ? node.own(at) : (there?.content[at] ?? 'absent'),
    );
    return clusters.map(sign).join('');
  }

  write(at: number, byte: number): void {
    this.#running().write(at, byte);
    this.job?.wrote(at);
  }

  /** Write zeroes: a zero cluster, never "nothing here". */
  writeZeroes(at: number): void {
    this.#running().write(at, 'zero');
    this.job?.wrote(at);
  }

  /** Write zeroes that may unmap: obeyed with and without `unmaps`, but for the filter of a job. */
  unmap(at: number): void {
    if (this.#filtered && !this.unmaps) this.#running().write(at, 'zero');
    else this.#running().unmap(at, this.unmaps);
    this.job?.wrote(at);
  }

  discard(at: number): void {
    if (this.unmaps && !this.#filtered) this.#running().discard(at, true);
  }

  /** A pull and an active commit put a filter on top, which lets no discard through (QEMU 7.2). */
  get #filtered(): boolean {
    return this.job !== null && this.job.kind !== 'commit';
  }

  /** The guest writes bytes that read as a qcow2 header to whoever probes its disk. */
  forge(header: Partial<Header>): void {
    const { clusters } = this.#running().file;
    this.#running().write(0, { backing: null, format: null, clusters, features: 0, ...header });
    this.job?.wrote(0);
  }

  get bytes(): number {
    const file = this.top?.file ?? this.share.file(this.xml.file);
    return (file?.clusters ?? 0) * CLUSTER_BYTES;
  }

  /** What a guest's XML calls it. */
  path(file: string): string {
    return `${this.share.directory}/${file}`;
  }

  node(file: FileName | null): SimNode | null {
    return [...nodesFrom(this.top)].find((one) => one.file.name === file) ?? null;
  }

  #running(): SimNode {
    if (this.top === null) throw new Error(`disk ${this.target} of a guest that is shut off`);
    return this.top;
  }
}

/** The files of a chain, the active one first. */
export const namesOf = (chain: SeenLayer | null): readonly FileName[] =>
  chain === null ? [] : [chain.file, ...namesOf(chain.on)];

const keysOf = (top: SimNode): ReadonlySet<FileName> =>
  new Set([...nodesFrom(top)].filter(({ keyed }) => keyed).map(({ file }) => file.name));

const layersOf = (chain: SeenLayer): readonly SeenLayer[] => [
  chain,
  ...(chain.on === null ? [] : layersOf(chain.on)),
];

const linked = ([layer, ...below]: readonly SeenLayer[]): SeenLayer => {
  if (layer === undefined) throw new Error('a chain without a layer');
  return { ...layer, on: below.length === 0 ? null : linked(below) };
};

const sign = (cluster: Cluster): string =>
  cluster === 'absent' ? '.' : cluster === 'zero' ? 'Z' : 'D';
