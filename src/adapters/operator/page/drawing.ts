import { layersOf } from '#domain/chain.ts';
import type { ListedSnapshot } from '#domain/diagnosis.ts';
import type { FileName } from '#domain/ids.ts';
import type { Saga } from '#domain/saga.ts';
import type { ChainReport } from '#ports/inspect.ts';
import { chainJson, type LayerJson } from '../report-json.ts';
import { type Html, html } from './html.ts';
import { chainPath } from './links.ts';
import { bytes, short } from './words.ts';

/** A layer as it is drawn. */
export interface DrawnLayer extends LayerJson {
  /** How long the file is, by its header; of a raw base the size of the disk. Null: not known. */
  readonly bytes: number | null;
  /** Whose it is: the volume's, or the snapshot's that it was made for. */
  readonly owner: string;
  readonly active: boolean;
}

/** The layers of a chain, base first. */
export function layersDrawn(report: ChainReport): readonly DrawnLayer[] {
  const { guest, snapshots } = report;
  const size = sizeOf(report);
  const seen = layersOf(guest.chain);
  return chainJson(report).layers.map((layer) => {
    const it = seen[seen.length - 1 - layer.layer];
    const raw = it?.on === null && layer.format === 'raw' ? size : null;
    return {
      ...layer,
      bytes: fileBytes(report, layer.file) ?? raw,
      owner: ownerOf(layer.file as FileName, it?.on !== null, snapshots),
      active: layer.file === guest.chain.file,
    };
  });
}

/** How long a file is, by the look at its header. */
export function fileBytes({ headers }: ChainReport, file: string): number | null {
  const header = headers[file];
  return header?.ok ? header.value.fileBytes : null;
}

/** The virtual size: libvirt is not asked for it while a job is at work; each header has it. */
export function sizeOf({ guest, headers }: ChainReport): number | null {
  const header = headers[guest.chain.file];
  return guest.size ?? (header?.ok ? header.value.size : null);
}

/** Cinder names an overlay after the snapshot that it is made for (remotefs.py). */
function ownerOf(
  file: FileName,
  overlay: boolean,
  snapshots: readonly ListedSnapshot[] | null,
): string {
  const row = snapshots?.find(({ id }) => file.endsWith(`.${id}`));
  if (row !== undefined) return `snapshot ${short(row.id)}, ${row.status}`;
  const named = /\.([0-9a-f-]{36})$/.exec(file)?.[1];
  if (named === undefined) return overlay ? 'nobody known' : 'the volume';
  // Its file outlives it where the guest writes to it, or a neighbour's data went into it.
  const gone = snapshots === null ? '' : ', since deleted';
  return `snapshot ${short(named)}${gone}`;
}

/** What an operation is about to make of the layers: by file, what happens to it. */
export function fateOf(saga: Saga): ReadonlyMap<string, string> {
  if (!('plan' in saga) || saga.plan === undefined) return NOTHING;
  const { plan } = saga;
  if (!('merge' in plan)) return new Map([[plan.after.file, 'becomes active']]);
  const { merge, before } = plan;
  if (merge.kind === 'commit') return new Map([[merge.top, `goes down into ${short(merge.into)}`]]);
  const files = layersOf(before).map(({ file }) => file);
  const end = merge.onto === null ? files.length : files.indexOf(merge.onto);
  const up = `goes up into ${short(before.file)}`;
  return new Map(files.slice(1, Math.max(1, end)).map((file) => [file, up]));
}

const NOTHING: ReadonlyMap<string, string> = new Map();

export interface DrawingOptions {
  /** More layers than this are folded in the middle; the chain's own page has them all. */
  readonly most?: number;
  readonly fate?: ReadonlyMap<string, string>;
}

/** A chain as a list, base first: what stands on what is the order. */
export function drawing(
  report: ChainReport,
  { most = Number.POSITIVE_INFINITY, fate = NOTHING }: DrawingOptions = {},
): Html {
  const layers = layersDrawn(report);
  const folded = layers.length > most + 1 ? layers.length - most : 0;
  const lower = folded > 0 ? layers.slice(0, 1) : layers;
  const upper = folded > 0 ? layers.slice(1 + folded) : [];
  const fold = html`<li class="fold">
<a href="${chainPath(report.volume)}">${folded} more</a></li>`;
  const label = `Chain of volume ${short(report.volume)}, the base first`;
  return html`<ol class="chain" aria-label="${label}">${lower.map((one) => box(one, fate))}${
    folded > 0 ? fold : null
  }${upper.map((one) => box(one, fate))}</ol>`;
}

function box(layer: DrawnLayer, fate: ReadonlyMap<string, string>): Html {
  const { file, format, owner, active, header, libvirt } = layer;
  const going = fate.get(file);
  const wrong = [header, libvirt].some((word) => word !== 'ok' && word !== 'not read');
  // Cinder names a file as in use that is not the one.
  const taken = !active && layer.cinder === 'ACTIVE';
  const kinds = ['layer', active && 'active', going && 'going', (wrong || taken) && 'wrong'];
  return html`<li class="${kinds.filter(Boolean).join(' ')}" title="${file}"><b>${
    format ?? '?'
  }</b> <span class="size">${layer.bytes === null ? 'size ?' : bytes(layer.bytes)}</span> <small>${
    active ? 'ACTIVE, ' : ''
  }${owner}</small>${going === undefined ? null : html` <em>${going}</em>`}${
    wrong ? html` <strong>contradicted</strong>` : null
  }${taken ? html` <strong>in use, says Cinder</strong>` : null}</li>`;
}
