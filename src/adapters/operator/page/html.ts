import { escapeText } from '../escape.ts';

/** Markup that a browser may have as it is. Only `html` makes it. */
export class Html {
  readonly #markup: string;
  constructor(markup: string) {
    this.#markup = markup;
  }
  toString(): string {
    return this.#markup;
  }
}

/** What a template takes: markup as it is, all else as text. */
export type Piece = Html | string | number | null | readonly Piece[];

/**
 * A piece of the page. Whatever is put into it is text, and is shown as that: names and faults come
 * from others. An attribute's value must be in double quotes, and an address must begin with ours.
 */
export function html(texts: TemplateStringsArray, ...pieces: readonly Piece[]): Html {
  const markup = texts.map((text, at) => text + (at < pieces.length ? render(pieces[at]) : ''));
  return new Html(markup.join(''));
}

function render(piece: Piece | undefined): string {
  if (piece === null || piece === undefined) return '';
  if (piece instanceof Html) return piece.toString();
  if (typeof piece === 'object') return piece.map(render).join('');
  return escapeHtml(String(piece));
}

/** What a terminal would obey too: a mark that turns the direction of writing turns a page's. */
const escapeHtml = (text: string): string =>
  escapeText(text).replace(/[&<>"']/g, (it) => NAMES[it] ?? it);

const NAMES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
