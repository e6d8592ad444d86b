import type { ChainReport, OperationReport, Progress } from '#ports/inspect.ts';
import { operationJson, operationReportJson, progressJson } from '../report-json.ts';
import { drawing, fateOf } from './drawing.ts';
import { type Html, html } from './html.ts';
import { operationLink, volumeLink } from './links.ts';
import { bytes, count, duration, name, requestId, time } from './words.ts';

/** An operation under way, with all that is known of where it is. */
export interface Running {
  readonly story: OperationReport;
  readonly progress: Progress | null;
  readonly report: ChainReport | null;
}

/** So many at once are drawn; the rest is in the list of operations. */
export const MOST_RUNNING = 20;

export function runningSection(running: readonly Running[], open: number, now: number): Html {
  const more = open - running.length;
  return html`<section id="running" aria-labelledby="running-title">
<h2 id="running-title">What runs</h2>
${running.length === 0 ? html`<p class="quiet">Nothing.</p>` : null}
${running.map((one) => runningItem(one, now))}
${
  more > 0
    ? html`<p><a href="/ui/operations?state=open">${count(more, 'more', 'more')}</a></p>`
    : null
}
</section>
`;
}

function runningItem({ story, progress, report }: Running, now: number): Html {
  const { operation } = story;
  const { id, kind, state, volume, snapshot, request_id } = operationJson(operation);
  const last = operationReportJson(story).evidence.at(-1);
  return html`<article class="run" aria-labelledby="run-${id}" data-operation="${id}">
<h3 id="run-${id}">${operationLink(id, `${kind} of snapshot`)} ${name(snapshot)}</h3>
<p>volume ${volumeLink(volume)} · ${state} · asked ${time(operation.askedAt, now)} ·
${requestId(request_id)}</p>
${meter(progress, `${kind} of snapshot ${snapshot}`)}
${report === null ? null : drawing(report, { most: 8, fate: fateOf(operation.saga) })}
${
  last === undefined
    ? null
    : html`<p class="last">journal ${last.seq}, ${time(Date.parse(last.at), now)}:
<code>${last.kind}</code> ${last.detail}</p>`
}
</article>
`;
}

/**
 * What the script moves on: `data-percent` and its neighbours. Of a job that begins or ends libvirt
 * has no numbers, which it calls 0 of 1 (qemuDomainGetBlockJobInfo).
 */
export function meter(progress: Progress | null, label: string): Html {
  if (progress === null) {
    return html`<p class="meter" hidden><progress max="100" aria-label="${label}"></progress>
<span data-percent></span> <span data-rate></span> <span data-left></span></p>`;
  }
  if (progress.total <= 1) {
    return html`<p class="meter"><progress max="100" aria-label="${label}"></progress>
<span data-percent>beginning or ending</span> <span data-rate></span> <span data-left></span></p>`;
  }
  const { percent, rate, seconds_left } = progressJson(progress);
  return html`<p class="meter">
<progress max="100" value="${percent}" aria-label="${label}"></progress>
<span data-percent>${percent}%</span> <span data-rate>${
    rate === null ? '' : `${bytes(rate)}/s`
  }</span> <span data-left>${
    seconds_left === null ? '' : `${duration(seconds_left)} left`
  }</span></p>`;
}
