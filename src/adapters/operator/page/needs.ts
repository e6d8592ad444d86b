import type { Finding, FindingCode } from '#domain/diagnosis.ts';
import type { OperationId, VolumeId } from '#domain/ids.ts';
import type { Diagnosis } from '#ports/inspect.ts';
import type { Operation } from '#ports/journal.ts';
import { maskSecrets } from '../mask.ts';
import { troubleWords } from '../report-json.ts';
import { type Html, html } from './html.ts';
import { operationLink, volumeLink } from './links.ts';
import { sign } from './witnesses.ts';
import { count } from './words.ts';

/** Something that a person should do, or should at least know. */
export interface Need {
  readonly severity: Finding['severity'];
  readonly code: string;
  readonly volume: VolumeId;
  /** `instance-00000001 vda`, or null where no guest here has it. */
  readonly place: string | null;
  readonly operation: OperationId | null;
  /** It comes with a change that is just being made, and goes with it. */
  readonly passing: boolean;
  readonly saw: string;
  /** The safe next step. */
  readonly todo: string;
}

/** What is seen while Cinder takes in what an operation has done, and for how long, in ms. */
const PASSES: Partial<Record<string, number>> = {
  'active-behind': 900_000,
  'snapshot-stuck': 900_000,
  'snapshot-without-layer': 60_000,
  'layer-without-snapshot': 60_000,
  unsent: 60_000,
} satisfies Partial<Record<FindingCode, number>>;

export interface NeedsWorld {
  readonly volumes: readonly Diagnosis[];
  /** Operations whose outcome nobody knows. */
  readonly unknown: readonly Operation[];
  /** When an operation last changed something of a volume. */
  readonly changed: ReadonlyMap<VolumeId, number>;
  readonly now: number;
}

/** What needs somebody, the worst first: of the chains, and of the journal. */
export function needsOf({ volumes, unknown, changed, now }: NeedsWorld): readonly Need[] {
  const chains = volumes.flatMap((one) => ofChain(one, now - (changed.get(one.volume) ?? 0)));
  const told = chains.map(({ saw, todo }) => `${saw} ${todo}`).join('\n');
  const journal = unknown.filter(({ id }) => !told.includes(id)).map(ofOperation);
  const all = [...chains, ...journal];
  return [...all.filter(isError), ...all.filter((one) => !isError(one))];
}

const isError = ({ severity }: Need): boolean => severity === 'error';

/** `quietMs`: for how long no operation has changed the volume. */
function ofChain({ volume, guest, target, report }: Diagnosis, quietMs: number): readonly Need[] {
  const at = { volume, place: `${guest} ${target}`, operation: null, passing: false };
  if (!report.ok) {
    const saw = `it could not be looked at: ${maskSecrets(troubleWords(report.error))}`;
    return [{ ...at, severity: 'warning', code: 'unseen', saw, todo: 'chainkeeper doctor' }];
  }
  return report.value.findings.map((finding) => {
    const passing = finding.severity === 'warning' && quietMs < (PASSES[finding.code] ?? 0);
    return { ...at, ...finding, passing };
  });
}

/** Of a volume that no guest here has any more, which no look at the chains can find. */
function ofOperation({ id, saga }: Operation): Need {
  const why = saga.at === 'end' ? maskSecrets(saga.reason) : '';
  const { volume } = saga.request;
  return {
    severity: 'error',
    code: 'operation-unknown',
    volume,
    place: null,
    operation: id,
    passing: false,
    saw: `nobody knows how this ${saga.kind} ended: ${why}`,
    todo: `chainkeeper ops show ${id}`,
  };
}

const NOTHING = 'Nothing: no witness is contradicted, and no outcome is unknown.';
/** So many are shown; with more than that the first ones are worth mending first. */
const MOST = 50;

/** `sure`: every volume was looked at, so that nothing found is nothing to be found. */
export function needsSection(all: readonly Need[], sure: boolean): Html {
  const needs = all.filter(({ passing }) => !passing);
  const passing = all.filter((one) => one.passing);
  const more = needs.length - MOST;
  return html`<section id="needs" aria-labelledby="needs-title">
<h2 id="needs-title">What needs you</h2>
${
  needs.length === 0
    ? html`<p class="quiet">${sure ? NOTHING : 'Nothing that is known.'}</p>`
    : html`<ul class="needs">${needs.slice(0, MOST).map(needItem)}</ul>`
}
${more > 0 ? html`<p>${count(more, 'more', 'more')}: chainkeeper doctor tells all.</p>` : null}
${
  passing.length === 0
    ? null
    : html`<details id="passing"><summary>${count(passing.length, 'more comes', 'more come')} with a
change that Cinder is taking in, and should go with it</summary>
<ul class="needs">${passing.slice(0, MOST).map(needItem)}</ul></details>`
}
</section>
`;
}

/** One thing, with the safe next step in words that can be copied. */
export function needItem({ severity, code, volume, place, operation, saw, todo }: Need): Html {
  return html`<li class="need ${severity}" data-key="${volume}/${code}/${saw}">
<p>${sign(severity, severity)} <code>${code}</code> · volume ${volumeLink(volume)}${
    place === null ? null : html` · ${place}`
  }${operation === null ? null : html` · operation ${operationLink(operation)}`}</p>
<p>${saw}</p>
<p class="todo"><span>Next:</span> <samp>${todo}</samp></p>
</li>
`;
}
