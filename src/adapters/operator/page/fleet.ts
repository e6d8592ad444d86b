import { layersOf } from '#domain/chain.ts';
import type { ChainReport, Diagnosis } from '#ports/inspect.ts';
import { fileBytes, sizeOf } from './drawing.ts';
import { type Html, html } from './html.ts';
import { volumeLink } from './links.ts';
import { bytes, count } from './words.ts';

/** How deep and how large the chains of this host are. */
export interface Fleet {
  readonly volumes: number;
  /** How many volumes have so many layers. */
  readonly depths: readonly { readonly words: string; readonly volumes: number }[];
  readonly virtualBytes: number;
  readonly overlayBytes: number;
  readonly layers: number;
  readonly deepest: Measured | null;
  readonly largest: Measured | null;
}

/** A chain, and what its overlays come to. */
export interface Measured {
  readonly report: ChainReport;
  readonly depth: number;
  readonly overlayBytes: number;
}

const BANDS = [1, 2, 4, 8, 16, 32] as const;

/** A report does not change, and a thousand of them are measured for each page. */
const MEASURED = new WeakMap<ChainReport, Measured>();

export function measure(report: ChainReport): Measured {
  const known = MEASURED.get(report);
  if (known !== undefined) return known;
  const layers = layersOf(report.guest.chain);
  const overlayBytes = layers
    .filter(({ on }) => on !== null)
    .reduce((sum, { file }) => sum + (fileBytes(report, file) ?? 0), 0);
  const measured = { report, depth: layers.length, overlayBytes };
  MEASURED.set(report, measured);
  return measured;
}

export function fleetOf(volumes: readonly Diagnosis[]): Fleet {
  const all = volumes.flatMap(({ report }) => (report.ok ? [measure(report.value)] : []));
  const sum = (of: (one: Measured) => number) => all.reduce((total, one) => total + of(one), 0);
  const most = (of: (one: Measured) => number) =>
    all.reduce<Measured | null>((best, one) => (best && of(best) >= of(one) ? best : one), null);
  const depths = [...BANDS, Number.POSITIVE_INFINITY].map((top, at) => {
    const over = BANDS[at - 1] ?? 0;
    const inBand = all.filter(({ depth }) => depth > over && depth <= top);
    return { words: band(over, top), volumes: inBand.length };
  });
  return {
    volumes: all.length,
    depths,
    virtualBytes: sum(({ report }) => sizeOf(report) ?? 0),
    overlayBytes: sum((one) => one.overlayBytes),
    layers: sum((one) => one.depth),
    deepest: most((one) => one.depth),
    largest: most((one) => one.overlayBytes),
  };
}

function band(over: number, top: number): string {
  if (top === Number.POSITIVE_INFINITY) return `more than ${over}`;
  return over + 1 === top ? `${top}` : `${over + 1} to ${top}`;
}

export function fleetSection(fleet: Fleet): Html {
  const { volumes, layers, virtualBytes, overlayBytes, deepest, largest, depths } = fleet;
  const top = Math.max(1, ...depths.map((one) => one.volumes));
  return html`<section id="fleet" aria-labelledby="fleet-title">
<h2 id="fleet-title">Depth and size</h2>
<div class="fleet">
<table class="bars"><caption>Layers in a chain, and how many volumes have so many</caption>
<thead><tr><th scope="col">Layers</th><th scope="col" class="number">Volumes</th>
<td></td></tr></thead>
<tbody>${depths.map(
    (one) => html`<tr><th scope="row">${one.words}</th><td class="number">${one.volumes}</td>
<td><svg aria-hidden="true" width="160" height="10" viewBox="0 0 160 10">
<rect width="${Math.ceil((160 * one.volumes) / top)}" height="10" rx="2"/></svg></td></tr>
`,
  )}</tbody></table>
<dl class="facts">
<div><dt>Volumes</dt><dd>${volumes}, ${count(layers, 'file')}</dd></div>
<div><dt>Virtual size</dt><dd>${bytes(virtualBytes)}</dd></div>
<div><dt>In overlays</dt><dd>${bytes(overlayBytes)}</dd></div>
<div><dt>Deepest</dt><dd>${
    deepest === null
      ? 'none'
      : html`${volumeLink(deepest.report.volume)}, ${count(deepest.depth, 'layer')}`
  }</dd></div>
<div><dt>Most in overlays</dt><dd>${
    largest === null
      ? 'none'
      : html`${volumeLink(largest.report.volume)}, ${bytes(largest.overlayBytes)}`
  }</dd></div>
</dl>
</div>
</section>
`;
}
