import type { OperationId, VolumeId } from '#domain/ids.ts';
import type { Operation } from '#ports/journal.ts';
import { type ChainList, chainsSection } from './chain-list.ts';
import { fleetOf, fleetSection } from './fleet.ts';
import { type Html, html } from './html.ts';
import { type Need, needsOf, needsSection } from './needs.ts';
import { operationTable } from './operation-list.ts';
import { type Running, runningSection } from './running.ts';
import type { Surveyed } from './survey.ts';
import { count, duration, time } from './words.ts';

/** All that the first page rests on. */
export interface Front {
  readonly now: number;
  readonly survey: Surveyed;
  /** Every operation that is open, and those of them that are drawn. */
  readonly open: readonly Operation[];
  readonly running: readonly Running[];
  /** Operations whose outcome nobody knows. */
  readonly unknown: readonly Operation[];
  /** The newest that have ended. */
  readonly ended: readonly Operation[];
  readonly list: ChainList;
  /** When an operation last changed something of a volume. */
  readonly changed: ReadonlyMap<VolumeId, number>;
}

/** One screen: does anything need me, what runs and for how long yet, do the witnesses agree. */
export function front(it: Front): { readonly title: string; readonly main: Html } {
  const { survey, open, running, now, ended, list } = it;
  const { volumes } = survey;
  const all = needsOf({ ...it, volumes });
  const needs = all.filter(({ passing }) => !passing);
  const errors = needs.filter(({ severity }) => severity === 'error').length;
  const title = errors > 0 ? `${count(errors, 'error')}` : needs.length > 0 ? 'Look' : 'All well';
  const busy = new Map<VolumeId, OperationId>(
    open.map(({ id, saga }) => [saga.request.volume, id] as const),
  );
  const main = html`<h1 class="unseen">Overview</h1>
${survey.trouble === null ? null : html`<p class="alarm" role="alert">${survey.trouble}</p>`}
<ul id="answers" aria-label="At a glance">
${needsAnswer(needs, errors, survey)}
${runsAnswer(open, running)}
${agreeAnswer(survey, all, now)}
</ul>
${needsSection(all, isSure(survey))}
${runningSection(running, open.length, now)}
${chainsSection(volumes, list, busy)}
${fleetSection(fleetOf(volumes))}
<section id="ended" aria-labelledby="ended-title">
<h2 id="ended-title">What has ended</h2>
${operationTable(ended, now)}
<p><a href="/ui/operations">All operations</a></p>
</section>`;
  return { title, main };
}

const answer = (kind: string, to: string, words: string, more: Html | string): Html =>
  html`<li class="answer ${kind}"><a href="${to}"><strong>${words}</strong></a>
<span>${more}</span></li>`;

/** Whether the newest look saw all that there is. */
const isSure = ({ at, trouble }: Surveyed): boolean => at !== null && trouble === null;

function needsAnswer(needs: readonly Need[], errors: number, survey: Surveyed): Html {
  const warnings = needs.length - errors;
  if (needs.length > 0) {
    const words = `${count(needs.length, 'thing needs', 'things need')} you`;
    const kinds = [
      errors > 0 && count(errors, 'error'),
      warnings > 0 && count(warnings, 'warning'),
    ];
    return answer(
      errors > 0 ? 'error' : 'warning',
      '#needs',
      words,
      kinds.filter(Boolean).join(', '),
    );
  }
  // Nothing is known to be wrong, and that is not the same as nothing being wrong.
  if (!isSure(survey)) return answer('silent', '#needs', 'Not known', 'no look yet');
  return answer('fine', '#needs', 'Nothing needs you', 'no error, no warning');
}

function runsAnswer(open: readonly Operation[], running: readonly Running[]): Html {
  if (open.length === 0) return answer('fine', '#running', 'Nothing runs', '');
  const left = running.flatMap(({ progress }) => progress?.secondsLeft ?? []);
  const words = count(open.length, 'operation runs', 'operations run');
  const more =
    left.length === 0 ? 'no merge has a known end' : `${duration(Math.max(...left))} left`;
  return answer('busy', '#running', words, html`<span data-longest>${more}</span>`);
}

function agreeAnswer({ at, volumes, trouble }: Surveyed, needs: readonly Need[], now: number) {
  if (at === null) {
    return answer('silent', '#chains', 'The first look is under way', 'reload to see it');
  }
  const doubted = new Set(needs.flatMap(({ passing, volume }) => (passing ? [] : [volume])));
  const fine = volumes.filter(({ volume }) => !doubted.has(volume));
  const mute = volumes.filter(({ report }) => report.ok && report.value.cinder === null);
  const seen = html`Cinder, disk and libvirt, seen ${time(at, now)}${
    mute.length > 0 ? `; Cinder said nothing of ${mute.length}` : ''
  }`;
  if (volumes.length === 0) return answer('silent', '#chains', 'No volume is in use here', seen);
  const all = fine.length === volumes.length;
  const kind = trouble !== null || mute.length > 0 ? 'silent' : all ? 'fine' : 'warning';
  const words = all
    ? `${count(volumes.length, 'volume agrees', 'volumes agree')}`
    : `${fine.length} of ${volumes.length} volumes agree`;
  return answer(kind, '#chains', words, seen);
}
