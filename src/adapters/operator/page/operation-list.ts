import type { Operation } from '#ports/journal.ts';
import { operationJson } from '../report-json.ts';
import { current } from './frame.ts';
import { type Html, html } from './html.ts';
import { operationLink, volumeLink } from './links.ts';
import { sign } from './witnesses.ts';
import { duration, name, requestId, time } from './words.ts';

/** How an operation stands, in a word and a sign. */
export function standing(operation: Operation): Html {
  const { state, outcome } = operationJson(operation);
  switch (outcome) {
    case null:
      return sign('silent', state);
    case 'unknown':
    case 'failed':
      return sign(outcome === 'unknown' ? 'error' : 'warning', outcome);
    default:
      return sign('fine', outcome);
  }
}

export function operationTable(operations: readonly Operation[], now: number): Html {
  if (operations.length === 0) return html`<p class="quiet">None.</p>`;
  return html`<div class="wide" role="region" aria-label="Operations" tabindex="0"><table>
<thead><tr><th scope="col">Operation</th><th scope="col">What</th><th scope="col">Snapshot</th>
<th scope="col">Volume</th><th scope="col">How it stands</th><th scope="col">Asked</th>
<th scope="col" class="number">Took</th><th scope="col">Request id</th></tr></thead>
<tbody>${operations.map((one) => row(one, now))}</tbody></table></div>
`;
}

function row(operation: Operation, now: number): Html {
  const { id, saga, askedAt, updatedAt } = operation;
  const { kind, volume, snapshot, request_id } = operationJson(operation);
  const took = ((saga.at === 'end' ? updatedAt : now) - askedAt) / 1000;
  return html`<tr data-key="${id}"><th scope="row">${operationLink(id)}</th><td>${kind}</td>
<td>${name(snapshot)}</td><td>${volumeLink(volume)}</td>
<td>${standing(operation)}</td><td>${time(askedAt, now)}</td>
<td class="number">${duration(took)}</td><td>${requestId(request_id)}</td></tr>
`;
}

const STATES = ['all', 'open', 'ended'] as const;
export type ListedState = (typeof STATES)[number];

export function operationsPage(
  operations: readonly Operation[],
  state: ListedState,
  limit: number,
  now: number,
): { readonly title: string; readonly main: Html } {
  const main = html`<h1>Operations</h1>
<nav aria-label="Which operations"><ul class="pager">${STATES.map(
    (one) =>
      html`<li><a href="/ui/operations?state=${one}"${current(one === state)}>${one}</a></li>`,
  )}</ul></nav>
${operationTable(operations, now)}
${
  operations.length < limit
    ? null
    : html`<p>The newest ${limit}; for more: <samp>chainkeeper ops list --limit 10000</samp></p>`
}`;
  return { title: 'Operations', main };
}
