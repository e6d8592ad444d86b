import type { ChainReport } from '#ports/inspect.ts';
import type { Operation } from '#ports/journal.ts';
import { drawing, fateOf, layersDrawn, sizeOf } from './drawing.ts';
import { type Html, html } from './html.ts';
import { needItem } from './needs.ts';
import { operationTable } from './operation-list.ts';
import { sign, verdict, WITNESSES } from './witnesses.ts';
import { bytes, short } from './words.ts';

/** One volume by all its witnesses, layer by layer. */
export function chainPage(
  report: ChainReport,
  operations: readonly Operation[],
  now: number,
): { readonly title: string; readonly main: Html } {
  const { volume, guest, findings, cinder } = report;
  const open = operations.find(({ saga }) => saga.at !== 'end');
  const fate = open === undefined ? undefined : fateOf(open.saga);
  const { source } = guest;
  const size = sizeOf(report);
  const place = `${guest.server} ${guest.target}`;
  const main = html`<h1>Volume <code>${volume}</code></h1>
<dl class="facts">
${fact('Server', html`<code>${guest.server}</code> ${guest.target}`)}
${fact('Guest', guest.process === null ? 'shut off' : 'running')}
${fact('Virtual size', size === null ? 'not known' : bytes(size))}
${fact('Files in', html`<code>${source.kind === 'other' ? source.type : source.directory}</code>`)}
${fact('Encrypted', guest.keys.length > 0 ? 'yes' : 'no')}
${fact('Block job', guest.job === null ? 'none' : guest.job.kind)}
${fact('Cinder names', html`<code>${cinder ?? 'nothing'}</code>`)}
${WITNESSES.map((one) => fact(one, verdict(report, one)))}
</dl>
<section id="needs" aria-labelledby="needs-title"><h2 id="needs-title">What needs you</h2>
${
  findings.length === 0
    ? html`<p class="quiet">Nothing: nobody contradicts anybody.</p>`
    : html`<ul class="needs">${findings.map((finding) =>
        needItem({ ...finding, volume, place, operation: null, passing: false }),
      )}</ul>`
}</section>
<section aria-labelledby="drawn"><h2 id="drawn">Chain</h2>
<div class="wide" role="region" aria-labelledby="drawn" tabindex="0">
${drawing(report, fate && { fate })}
<table><caption>The layers by each witness, base first</caption>
<thead><tr><th scope="col">#</th><th scope="col">File</th><th scope="col">Format</th>
<th scope="col" class="number">Size</th><th scope="col">Whose</th><th scope="col">libvirt</th>
<th scope="col">header</th><th scope="col">Cinder</th><th scope="col">Note</th></tr></thead>
<tbody>${layersDrawn(report).map(
    (one) => html`<tr><th scope="row">${one.layer}</th><td><code>${one.file}</code></td>
<td>${one.format ?? 'not named'}</td>
<td class="number">${one.bytes === null ? '?' : bytes(one.bytes)}</td>
<td>${one.owner}</td><td>${word(one.libvirt)}</td><td>${word(one.header)}</td>
<td>${one.cinder}</td><td>${one.note}</td></tr>
`,
  )}</tbody></table>
</div></section>
<section aria-labelledby="past"><h2 id="past">Operations on it</h2>
${operationTable(operations, now)}</section>`;
  return { title: `Volume ${short(volume)}`, main };
}

const fact = (term: string, words: Html | string): Html =>
  html`<div><dt>${term}</dt><dd>${words}</dd></div>
`;

const word = (says: string): Html | string =>
  says === 'ok' ? sign('fine', 'ok') : says === 'not read' ? says : sign('error', says);
