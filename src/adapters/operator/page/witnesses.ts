import { layersOf } from '#domain/chain.ts';
import type { Finding, FindingCode } from '#domain/diagnosis.ts';
import type { ChainReport } from '#ports/inspect.ts';
import { type Html, html } from './html.ts';
import { count } from './words.ts';

/** Who can be wrong about a chain. */
export type Witness = 'libvirt' | 'headers' | 'Cinder' | 'journal';

/** Whose word it is that each finding doubts. */
const DOUBTS: Readonly<Record<FindingCode, Witness>> = {
  'header-behind': 'headers',
  'header-lies': 'headers',
  'header-format': 'headers',
  'header-unreadable': 'headers',
  'unsafe-overlay': 'headers',
  'config-overrides': 'libvirt',
  'format-differs': 'libvirt',
  'unknown-format': 'libvirt',
  'stray-layer': 'libvirt',
  'unsupported-source': 'libvirt',
  'chain-deep': 'libvirt',
  'foreign-job': 'libvirt',
  'active-behind': 'Cinder',
  'active-stranger': 'Cinder',
  attachments: 'Cinder',
  'snapshot-stuck': 'Cinder',
  'snapshot-without-layer': 'Cinder',
  'layer-without-snapshot': 'Cinder',
  'operation-unknown': 'journal',
  'merge-unproven': 'journal',
  unsent: 'journal',
  'changed-by-another': 'journal',
};

export const WITNESSES: readonly Witness[] = ['libvirt', 'headers', 'Cinder', 'journal'];

/** What one witness says of a chain, in a word and a sign: never in a colour alone. */
export function verdict(report: ChainReport, witness: Witness): Html {
  const doubts = report.findings.filter(({ code }) => DOUBTS[code] === witness);
  const [worst] = doubts;
  if (worst !== undefined) return sign(worst.severity, said(doubts));
  if (!wasAsked(report, witness)) return sign('silent', 'no word');
  return sign('fine', html`<span class="unseen">agrees</span>`);
}

type Sign = Finding['severity'] | 'fine' | 'silent';
const SIGNS: Readonly<Record<Sign, string>> = { error: '✗', warning: '!', fine: '✓', silent: '–' };

export const sign = (kind: Sign, words: Html | string): Html =>
  html`<span class="sign ${kind}"><span aria-hidden="true">${SIGNS[kind]}</span> ${words}</span>`;

/** "Agrees" is only for who has said something. */
function wasAsked({ headers, cinder, guest }: ChainReport, witness: Witness): boolean {
  if (witness === 'Cinder') return cinder !== null;
  if (witness !== 'headers') return true;
  // A volume without overlays has no header that could say anything.
  return layersOf(guest.chain).length === 1 || Object.keys(headers).length > 0;
}

const said = (doubts: readonly Finding[]): string =>
  [...new Set(doubts.map(({ code }) => code))].slice(0, 2).join(', ') +
  (doubts.length > 2 ? ` (${count(doubts.length, 'finding')})` : '');
