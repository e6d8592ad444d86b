import type { Refusal } from './failure.ts';
import { type FileName, type Format, LUKS, QCOW2, RAW } from './ids.ts';
import { err, ok, type Result } from './result.ts';

/**
 * Who says that a file has this format. `reported`: the hypervisor's live XML. `assumed`: the
 * operation itself implies it, because an old libvirt leaves it out (the fallback of the Nova
 * spec volume-snapshot-improvements). Nobody ever looks at the file's content.
 */
export type Provenance = 'reported' | 'assumed';

/** A layer and all it stands on. The guest writes to the topmost; only the lowest may be raw. */
export interface Layer {
  readonly file: FileName;
  readonly format: Format;
  readonly provenance: Provenance;
  readonly on: Layer | null;
}

/** A layer as the hypervisor shows it: an old libvirt may not name the format. */
export interface SeenLayer {
  readonly file: FileName;
  readonly format: Format | null;
  readonly on: SeenLayer | null;
}

/** The format of one file, and who says so. */
export interface FileFormat {
  readonly file: FileName;
  readonly format: Format;
  readonly provenance: Provenance;
}

/** A pull empties all above `onto` into the active layer; a commit empties `top` into `into`. */
export type Merge =
  | { readonly kind: 'pull'; readonly onto: FileName | null }
  | { readonly kind: 'commit'; readonly top: FileName; readonly into: FileName };

/** The volume once `file`, an empty overlay that Cinder prepared, is its active layer. */
export function afterCreate(active: Layer, file: FileName): Result<Layer, Refusal> {
  if (find(active, file) !== null) return err({ kind: 'already-in-chain', file });
  return ok({ file, format: QCOW2, provenance: 'assumed', on: active });
}

/**
 * The volume once `merge` is done. A merge chooses who survives and never rewrites a
 * survivor's format: pull away a raw base and the volume is qcow2 from then on; commit
 * into that base instead, and it stays raw.
 */
export function afterMerge(active: Layer, merge: Merge): Result<Layer, Refusal> {
  switch (merge.kind) {
    case 'pull': {
      const onto = find(active.on, merge.onto);
      if (onto || merge.onto === null) return ok({ ...active, on: onto });
      return err({ kind: 'not-in-chain', file: merge.onto, chain: filesOf(active) });
    }
    case 'commit': {
      const top = find(active, merge.top);
      const chain = filesOf(active);
      if (top === null) return err({ kind: 'not-in-chain', file: merge.top, chain });
      if (top.on?.file === merge.into) return ok(splice(active, top, top.on));
      if (find(active, merge.into) === null) {
        return err({ kind: 'not-in-chain', file: merge.into, chain });
      }
      return err({ kind: 'not-adjacent', top: merge.top, into: merge.into });
    }
  }
}

/** The files whose header a finished merge has rewritten or whose content it has changed. */
export function changedBy(before: Layer, merge: Merge): readonly FileName[] {
  switch (merge.kind) {
    case 'pull':
      return merge.onto === null ? [before.file] : [before.file, merge.onto];
    case 'commit':
      return [merge.into];
  }
}

/** The overlay whose backing pointer the merge rewrites: for a commit the one that stood on top. */
export function repointedBy(before: Layer, merge: Merge): Layer | null {
  if (merge.kind === 'pull') return before;
  return layersOf(before).find((layer) => layer.on?.file === merge.top) ?? null;
}

/**
 * What Cinder is told of `files`: the format that the live XML gives, and where an old libvirt
 * gives none, the one that was predicted, marked `assumed`.
 */
export function formatsOf(
  files: readonly FileName[],
  seen: SeenLayer,
  predicted: Layer,
): readonly FileFormat[] {
  const told: FileFormat[] = [];
  for (const file of files) {
    const reported = find(seen, file)?.format ?? null;
    const expected = find(predicted, file)?.format ?? null;
    if (reported !== null) told.push({ file, format: reported, provenance: 'reported' });
    else if (expected !== null) told.push({ file, format: expected, provenance: 'assumed' });
  }
  return told;
}

/**
 * A seen chain with every format filled in. What stands on something is an overlay, hence qcow2;
 * the lowest layer has the format that it was recorded with; with no record there is no answer,
 * because the only other way to learn it is to probe a file that a guest could write.
 */
export function complete(
  seen: SeenLayer,
  known: ReadonlyMap<FileName, Format>,
): Result<Layer, Refusal> {
  const below = seen.on === null ? ok(null) : complete(seen.on, known);
  if (!below.ok) return below;
  const implied = seen.on === null ? known.get(seen.file) : QCOW2;
  const format = seen.format ?? implied;
  if (format === undefined) return err({ kind: 'unknown-format', file: seen.file });
  // A file keeps the format it was made with; another one is a lie that somebody told QEMU.
  const expected = seen.on === null ? (known.get(seen.file) ?? format) : QCOW2;
  if (format !== expected) {
    return err({ kind: 'format-differs', file: seen.file, live: format, expected });
  }
  const provenance = seen.format === null ? 'assumed' : 'reported';
  return ok({ file: seen.file, format, provenance, on: below.value });
}

/**
 * Whether a header that calls its backing file `said` means this format. A newer libvirt gives a
 * raw layer no driver of its own, and then a QEMU before 9.0 writes the name of the protocol's; it
 * is raw by another name to both, and never qcow2 (QEMU 9.0's backing-mask-protocol hides it). So
 * is `luks`: QEMU's word for what libvirt calls raw with a key (measured on 9.0 and 7.2).
 */
export const means = (said: Format | null, format: Format): boolean =>
  said === format || (format === RAW && said !== null && PROTOCOLS.includes(said));

const PROTOCOLS: readonly string[] = ['file', 'host_device', 'nbd', LUKS];

/** Whether `seen` is what was predicted: the same files in order, and no format contradicts. */
export const agrees = (seen: SeenLayer | null, predicted: Layer | null): boolean =>
  beginsLike(seen, predicted) && goesOnFrom(seen, predicted);

/** Whether `seen` is the upper part of what was predicted, or all of it. */
export function beginsLike(seen: SeenLayer | null, predicted: Layer | null): boolean {
  if (seen === null) return true;
  return predicted !== null && alike(seen, predicted) && beginsLike(seen.on, predicted.on);
}

/** Whether what was predicted is the upper part of `seen`, or all of it. */
export function goesOnFrom(seen: SeenLayer | null, predicted: Layer | null): boolean {
  if (predicted === null) return true;
  return seen !== null && alike(seen, predicted) && goesOnFrom(seen.on, predicted.on);
}

const alike = (seen: SeenLayer, predicted: Layer): boolean =>
  seen.file === predicted.file && (seen.format ?? predicted.format) === predicted.format;

/** The layer of that name at or below `layer`, or null. */
export function find<L extends { readonly file: FileName; readonly on: L | null }>(
  layer: L | null,
  file: FileName | null,
): L | null {
  for (let at = layer; at !== null; at = at.on) if (at.file === file) return at;
  return null;
}

/** The layers from the active one down to the base. */
export function layersOf<L extends { readonly on: L | null }>(active: L): readonly L[] {
  const layers: L[] = [];
  for (let at: L | null = active; at !== null; at = at.on) layers.push(at);
  return layers;
}

/** The file names from the active one down to the base. */
export const filesOf = (active: SeenLayer): readonly FileName[] =>
  layersOf(active).map((layer) => layer.file);

const splice = (layer: Layer, gone: Layer, heir: Layer): Layer =>
  layer === gone ? heir : { ...layer, on: layer.on && splice(layer.on, gone, heir) };
