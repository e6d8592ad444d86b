import type { Layer, SeenLayer } from '#domain/chain.ts';
import { type FileName, type Format, QCOW2, type VolumeId } from '#domain/ids.ts';
import { ok, type Result } from '#domain/result.ts';
import type { BlockJob } from './job.ts';
import { type Bytes, nodesFrom, type SimNode } from './node.ts';
import { openChain, relative } from './opening.ts';
import { type No, no } from './refusal.ts';
import { CLUSTER_BYTES, type Cluster, type Header, type SimShare } from './share.ts';

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
  /** Whether the guest's discards reach its files (`discard='unmap'` of its driver). */
  unmaps = false;

  constructor(share: SimShare, volume: VolumeId, target: string, file: FileName, format: Format) {
    this.share = share;
    this.volume = volume;
    this.target = target;
    this.xml = { file, format, on: null };
    this.config = this.xml;
  }

  /**
   * Opens the files anew, as after a stop and start: from the topmost file alone, since Nova
   * writes the XML afresh; what is below is what the headers say.
   */
  start(
    file: FileName = this.config.file,
    format: Format = this.config.format ?? QCOW2,
  ): Result<null, No> {
    const top = this.share.file(file);
    if (top === null) return no(38, `missing existing file ${file}`);
    const opened = openChain(this.share, top, format);
    if (!opened.ok) return opened;
    this.top = opened.value;
    this.xml = this.chain();
    this.config = { file, format, on: null };
    return ok(null);
  }

  /** QEMU is told to end: it writes what it holds. */
  stop(): void {
    this.flush();
    this.kill();
  }

  /** QEMU is gone, and with it all that was only in its memory. */
  kill(): void {
    for (const node of nodesFrom(this.top)) node.close();
    this.top = null;
    this.job = null;
    this.xml = this.config;
  }

  flush(): void {
    for (const node of nodesFrom(this.top)) node.flush();
  }

  /** An empty file on top, opened without a look at what its header says of its backing. */
  attach(made: SimNode): void {
    if (this.top !== null) {
      this.top.flush();
      this.top.relativeName = relative(made.file.header?.backing);
    }
    made.backing = this.top;
    this.top = made;
    this.note({ file: made.file.name, format: made.driver, on: this.xml });
  }

  /** libvirt writes down a chain that it has changed: in both of its XMLs. */
  note(chain: SeenLayer): void {
    this.xml = chain;
    this.config = chain;
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

  discard(at: number): void {
    if (!this.unmaps) return;
    this.#running().discard(at);
    this.job?.wrote(at);
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

  node(file: FileName | null): SimNode | null {
    return [...nodesFrom(this.top)].find((one) => one.file.name === file) ?? null;
  }

  #running(): SimNode {
    if (this.top === null) throw new Error(`disk ${this.target} of a guest that is shut off`);
    return this.top;
  }
}

const sign = (cluster: Cluster): string =>
  cluster === 'absent' ? '.' : cluster === 'zero' ? 'Z' : 'D';
