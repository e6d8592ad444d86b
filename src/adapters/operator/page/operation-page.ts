import { type Layer, layersOf } from '#domain/chain.ts';
import type { Saga } from '#domain/saga.ts';
import type { OperationReport, Progress } from '#ports/inspect.ts';
import { operationReportJson } from '../report-json.ts';
import { type Html, html } from './html.ts';
import { volumeLink } from './links.ts';
import { standing } from './operation-list.ts';
import { meter } from './running.ts';
import { duration, name, time } from './words.ts';

/** The whole story of one operation: what was asked, what was found and done, what Cinder heard. */
export function operationPage(
  story: OperationReport,
  progress: Progress | null,
  now: number,
): { readonly title: string; readonly main: Html } {
  const { operation } = story;
  const { saga, askedAt, updatedAt } = operation;
  const it = operationReportJson(story);
  const over = saga.at === 'end';
  const main = html`<h1>${it.kind} of snapshot ${name(it.snapshot)}</h1>
<p class="stand">${standing(operation)}${it.reason === null ? null : html` · ${it.reason}`}</p>
${
  it.outcome === 'unknown'
    ? html`<p class="todo"><span>Next:</span> <samp>chainkeeper chain show ${it.volume}</samp>, then
<samp>chainkeeper ops settle ${it.id} --as done</samp> or <samp>--as failed</samp></p>`
    : null
}
${over ? null : html`<div data-operation="${it.id}">${meter(progress, 'Progress')}</div>`}
<section aria-labelledby="asked"><h2 id="asked">What was asked</h2>
<dl class="facts">
${fact('Operation', html`<code>${it.id}</code>`)}
${fact('Volume', volumeLink(it.volume))}
${fact('Snapshot', html`<code>${it.snapshot}</code>`)}
${fact('Server', html`<code>${it.server}</code>`)}
${it.new_file === null ? null : fact('New file', html`<code>${it.new_file}</code>`)}
${it.file_to_merge === null ? null : fact('File to merge', html`<code>${it.file_to_merge}</code>`)}
${it.merge_target_file === null ? null : fact('Into', html`<code>${it.merge_target_file}</code>`)}
${fact('Asked', time(askedAt, now))}
${fact(over ? 'Took' : 'Runs for', duration(((over ? updatedAt : now) - askedAt) / 1000))}
${fact('Request id', html`<code>${it.request_id}</code>`)}
${fact('Global request id', html`<code>${it.global_request_id ?? 'none'}</code>`)}
</dl></section>
${planned(saga)}
<section aria-labelledby="story"><h2 id="story">The story</h2>
<div class="wide" role="region" aria-labelledby="story" tabindex="0"><table>
<thead><tr><th scope="col">Journal</th><th scope="col">When</th><th scope="col">What</th>
<th scope="col">Detail</th></tr></thead>
<tbody>${it.evidence.map(
    ({ seq, at, kind, detail }) => html`<tr data-key="${seq}"><th scope="row">${seq}</th>
<td>${time(Date.parse(at), now)}</td><td><code>${kind}</code></td><td>${detail}</td></tr>
`,
  )}</tbody></table></div></section>
${spent(it.phases_ms)}
<section aria-labelledby="heard"><h2 id="heard">What Cinder was told</h2>
${told(it.notices)}</section>`;
  return { title: `${it.kind} ${it.outcome ?? it.state}`, main };
}

const fact = (term: string, words: Html | string): Html =>
  html`<div><dt>${term}</dt><dd>${words}</dd></div>
`;

/** What it waited for; an operation that an earlier version wrote does not say. */
function spent(phases: ReturnType<typeof operationReportJson>['phases_ms']): Html | null {
  const all = Object.entries(phases);
  if (all.length === 0) return null;
  return html`<section aria-labelledby="spent"><h2 id="spent">Where the time went</h2>
<dl class="facts">${all.map(([phase, ms]) => fact(phase, `${ms} ms`))}</dl></section>`;
}

type Notices = ReturnType<typeof operationReportJson>['notices'];

function told(notices: Notices): Html {
  if (notices.length === 0) return html`<p class="quiet">Nothing that had to last.</p>`;
  return html`<div class="wide" role="region" aria-labelledby="heard" tabindex="0"><table>
<thead><tr><th scope="col">Journal</th><th scope="col">Word</th><th scope="col">Cinder</th>
<th scope="col">Formats</th></tr></thead>
<tbody>${notices.map(
    ({
      seq,
      update,
      state,
      took_ms,
      file_format,
    }) => html`<tr data-key="${seq}"><th scope="row">${seq}</th>
<td><code>${update}</code></td><td>${state}${after(took_ms)}</td>
<td>${Object.entries(file_format).map(([file, is]) => html`${name(file)} ${is}<br>`)}</td></tr>
`,
  )}</tbody></table></div>`;
}

const after = (ms: number | null): string => (ms === null ? '' : ` after ${ms} ms`);

/** The chain before and after, as it was predicted when it was decided. */
function planned(saga: Saga): Html | null {
  if (!('plan' in saga) || saga.plan === undefined) return null;
  const list = (words: string, active: Layer) =>
    html`<div><dt>${words}</dt><dd><ol class="files">${layersOf(active)
      .toReversed()
      .map(({ file }) => html`<li>${name(file)}</li>`)}</ol></dd></div>`;
  return html`<section aria-labelledby="plan"><h2 id="plan">What is to become of the chain</h2>
<dl class="facts">${list('Before, base first', saga.plan.before)}
${list('After', saga.plan.after)}</dl>
</section>`;
}
