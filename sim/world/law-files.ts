import { type FileName, RAW, type VolumeId } from '#domain/ids.ts';
import type { CopyOrder } from '#ports/images.ts';
import { nodesFrom, type SimNode } from '../node.ts';
import { type Header, LUKS } from '../share.ts';
import type { MissingGuard } from './laws.ts';
import type { SeenCall, Watcher } from './watcher.ts';
import type { World } from './world.ts';

/** The incompatible feature bit of a qcow2 file whose data is in another file. */
const DATA_FILE = 4;

/** Laws 5, 6, 7 and 23: what files are, what is read of them, and who changes them. */
export class FileLaws implements Watcher {
  readonly #world: World;
  #opened = 0;
  #names: readonly FileName[] = [];
  #headers = new Map<FileName, Header | null>();
  /** What was wrong with overlays before. */
  #spoiled: ReadonlySet<FileName> = new Set();
  /** Overlays that are being mended at this moment, one per volume at most. */
  readonly #mending = new Set<FileName>();

  constructor(world: World) {
    this.#world = world;
  }

  reaching({ port, method, args }: SeenCall): void {
    if (port === 'journal') return;
    const { files } = this.#world.cloud.share;
    this.#names = [...files.keys()];
    const overlay = overlayOf(method, args);
    if (overlay !== null) {
      this.#spoiled = new Set(this.#world.doorway.spoiled);
      this.#headers = new Map([...files].map(([name, { header }]) => [name, header]));
      this.#mending.add(overlay);
    }
  }

  /** Whether it was made wrong while another one was being mended. */
  #isSpoiled(name: FileName): boolean {
    return this.#world.doorway.spoiled.has(name) && !this.#spoiled.has(name);
  }

  reached(call: SeenCall): void {
    const { images, cloud } = this.#world;
    const { files } = cloud.share;
    for (; this.#opened < images.opened.length; this.#opened++) {
      const name = images.opened[this.#opened];
      const file = name === undefined ? undefined : files.get(name);
      if (file?.format === RAW) this.#world.break(6, `${name} is raw and was read`, null);
    }
    if (call.port === 'journal') return;
    const overlay = overlayOf(call.method, call.args);
    if (overlay === null) return;
    for (const [name, header] of this.#headers) {
      if (this.#isSpoiled(name)) continue;
      const now = files.get(name)?.header;
      if (now !== undefined && now !== header && !this.#mending.has(name)) {
        this.#world.break(23, `${name} was changed when ${overlay} was to be mended`, null);
      }
    }
    this.#mending.delete(overlay);
    if (this.#names.some((name) => !files.has(name) && !this.#isSpoiled(name))) {
      this.#world.break(23, 'a file went when an overlay was to be mended', null);
    }
  }

  /** A file in use went: our own word allowed it, or somebody else's. */
  moment(): void {
    const { files } = this.#world.cloud.share;
    for (const { it, disk } of this.#world.truths) {
      let gone = disk.top;
      while (gone !== null && files.get(gone.file.name) === gone.file) gone = gone.backing;
      if (gone === null || this.#world.lost.has(it.volume)) continue;
      const stale = gone !== disk.top && gone.file.header?.backing === null;
      const [excuse = null] = this.#world.excuses.get(it.volume) ?? [];
      const guard = stale ? 'no overlay on a layer that Cinder takes for stale' : excuse;
      this.#world.saw('Cinder, misled, removes a file in use');
      const words = `${gone.file.name} is in use, and Cinder has removed it`;
      this.#world.break(8, words, it.volume, guard);
      this.#world.lost.add(it.volume);
    }
  }

  rest(): void {
    for (const truth of this.#world.truths) {
      const { it, disk } = truth;
      for (const [name, format] of this.#world.journal.recorded(it.volume)) {
        const file = disk.share.file(name);
        this.#world.saw('a recorded format');
        if (file !== null && file.format !== format) {
          this.#world.break(5, `${name} is ${file.format}, recorded as ${format}`, it.volume);
        }
      }
      for (const node of nodesFrom(disk.top)) this.#header(truth.it.volume, node);
    }
  }

  #excused(volume: VolumeId): MissingGuard | null {
    const guard = 'boot guard';
    return this.#world.excuses.get(volume)?.has(guard) ? guard : null;
  }

  #header(volume: VolumeId, node: SimNode): void {
    const { header } = node.file;
    if (header === null || node.backing === null) return;
    const under = node.backing.file;
    const [name, words] = under.luks ? [LUKS, 'luks'] : ['file', 'by the name of its protocol'];
    const renamed = header.format === name && under.format === RAW;
    const format = renamed ? RAW : header.format;
    const right = header.backing === under.name && format === under.format;
    if (renamed) this.#world.saw(`a header that calls a raw file ${words}`);
    this.#world.saw('a header of a live chain');
    if (header.features & DATA_FILE) {
      this.#world.break(7, `${node.file.name} keeps its data elsewhere`, volume);
    }
    if (node.file.luks !== under.luks) {
      this.#world.break(7, `${node.file.name} is encrypted otherwise than ${under.name}`, volume);
    }
    if (under.luks) this.#world.saw('an encrypted layer on another');
    if (right) return;
    const says = `${node.file.name} says ${header.backing}, ${header.format}`;
    this.#world.break(
      7,
      `${says}; it is ${under.name}, ${under.format}`,
      volume,
      this.#excused(volume),
    );
  }
}

/** The file whose header a call may rewrite: a commit's copying rewrites none. */
function overlayOf(method: string, args: readonly unknown[]): FileName | null {
  if (method === 'mend') return args[1] as FileName;
  if (method !== 'copy') return null;
  const [{ chain, merge }] = args as [CopyOrder];
  return merge.kind === 'pull' ? chain.file : ('' as FileName);
}
