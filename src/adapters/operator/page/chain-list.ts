import type { OperationId, VolumeId } from '#domain/ids.ts';
import type { Diagnosis } from '#ports/inspect.ts';
import { drawing } from './drawing.ts';
import { measure } from './fleet.ts';
import { type Html, html } from './html.ts';
import { operationLink, volumeLink } from './links.ts';
import { sign, verdict, WITNESSES } from './witnesses.ts';
import { bytes, count } from './words.ts';

/** Which part of the list is asked for. */
export interface ChainList {
  /** From 1 on. */
  readonly page: number;
  /** Only volumes of which an id, a guest or a file has this in it; empty is all. */
  readonly find: string;
}

/** So many rows a page: more are slow to draw, and nobody reads them. */
export const PAGE_ROWS = 50;

/** The chains as a table, those first that need somebody, then those at work, then the deepest. */
export function chainsSection(
  volumes: readonly Diagnosis[],
  { page, find }: ChainList,
  busy: ReadonlyMap<VolumeId, OperationId>,
): Html {
  const found = volumes.filter((one) => has(one, find));
  const weights = new Map(found.map((one) => [one, weight(one, busy)]));
  const by = (one: Diagnosis) => weights.get(one) ?? 0;
  const sorted = found.toSorted((one, other) => by(other) - by(one));
  const pages = Math.max(1, Math.ceil(sorted.length / PAGE_ROWS));
  const at = Math.min(Math.max(1, page), pages);
  const shown = sorted.slice((at - 1) * PAGE_ROWS, at * PAGE_ROWS);
  const words = find === '' ? '' : ` with “${find}” in them`;
  return html`<section id="chains" aria-labelledby="chains-title" data-find="${find}">
<h2 id="chains-title">Chains</h2>
<p>${count(found.length, 'volume')}${words}${pages > 1 ? `, page ${at} of ${pages}` : ''}${
    find === '' ? null : html` · <a href="/ui/#chains">all</a>`
  }</p>
<div class="wide" role="region" aria-labelledby="chains-title" tabindex="0">
<table><thead><tr><th scope="col">Volume</th><th scope="col">In use by</th>
<th scope="col">Chain, base first</th><th scope="col" class="number">Depth</th>
<th scope="col" class="number">Overlays</th>
${WITNESSES.map((one) => html`<th scope="col">${one}</th>`)}</tr></thead>
<tbody>${shown.map((one) => row(one, busy.get(one.volume)))}</tbody></table>
</div>
${pages > 1 ? pager(at, pages, find) : null}
</section>
`;
}

const FOLDED_FROM = 5;

function row({ volume, server, guest, target, report }: Diagnosis, operation?: OperationId): Html {
  const key = `${volume}/${server}`;
  const place = html`<th scope="row">${volumeLink(volume)}</th><td>${guest} ${target}${
    operation === undefined ? null : html`<br>${operationLink(operation, 'operation runs')}`
  }</td>`;
  if (!report.ok) {
    const words = sign('warning', 'could not be looked at');
    return html`<tr data-key="${key}">${place}<td colspan="7">${words}</td></tr>
`;
  }
  const { depth, overlayBytes } = measure(report.value);
  return html`<tr data-key="${key}">${place}<td>${drawing(report.value, { most: FOLDED_FROM })}</td>
<td class="number">${depth}</td><td class="number">${bytes(overlayBytes)}</td>
${WITNESSES.map((one) => html`<td>${verdict(report.value, one)}</td>`)}</tr>
`;
}

function pager(at: number, pages: number, find: string): Html {
  const to = (page: number, words: string) => {
    const query = new URLSearchParams({ page: String(page), ...(find !== '' && { find }) });
    return html`<a href="/ui/?${query.toString()}#chains">${words}</a>`;
  };
  return html`<nav aria-label="Pages of chains"><ul class="pager">
${at > 1 ? html`<li>${to(1, 'first')}</li><li>${to(at - 1, 'previous')}</li>` : null}
<li aria-current="page">page ${at}</li>
${at < pages ? html`<li>${to(at + 1, 'next')}</li><li>${to(pages, 'last')}</li>` : null}
</ul></nav>`;
}

function has({ volume, guest, server, report }: Diagnosis, find: string): boolean {
  if (find === '') return true;
  const files = report.ok ? [report.value.guest.chain.file] : [];
  return [volume, guest, server, ...files].some((text) => text.includes(find));
}

function weight({ volume, report }: Diagnosis, busy: ReadonlyMap<VolumeId, OperationId>): number {
  const working = busy.has(volume) ? 1e6 : 0;
  if (!report.ok) return 1e8 + working;
  const { findings } = report.value;
  const worst = findings.some(({ severity }) => severity === 'error') ? 1e9 : 1e8;
  return (findings.length > 0 ? worst : 0) + working + measure(report.value).depth;
}
