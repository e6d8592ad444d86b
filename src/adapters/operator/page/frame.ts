import { type Html, html } from './html.ts';

export interface Frame {
  /** This host's name, as in [DEFAULT] host. */
  readonly host: string;
  readonly title: string;
  readonly here: '/ui/' | '/ui/operations' | null;
  readonly main: Html;
  /** Whether there is a session that can be ended. */
  readonly session?: boolean;
}

const PLACES = [
  ['/ui/', 'Overview'],
  ['/ui/operations', 'Operations'],
] as const;

/**
 * A whole page. The script replaces what is in `main` with what the server says by then, so
 * everything in it is written once, here.
 */
export function frame({ host, title, here, main, session = false }: Frame): string {
  return `<!doctype html>\n${html`<html lang="en">
${head({ host, title }, SCRIPT)}<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<p class="brand">chainkeeper <span class="host">${host}</span></p>
<nav aria-label="Pages"><ul>${PLACES.map(
    ([path, words]) => html`<li><a href="${path}"${current(here === path)}>${words}</a></li>`,
  )}</ul></nav>
<input id="find" type="search" aria-label="Find a volume, guest or file" placeholder="Find" hidden>
<p id="live" role="status">As of the last load. <a href="">Reload</a></p>
${session ? LOG_OUT : null}</header>
<main id="main" tabindex="-1">
${main}
</main>
<footer><p>Nothing can be changed here: what is to be done is done in a shell on this host. Times
are UTC.</p></footer>
<div id="said" class="unseen" role="log" aria-live="polite"></div>
</body>
</html>
`}`;
}

/** What both kinds of pages begin with. */
const head = ({ host, title }: Pick<Frame, 'host' | 'title'>, more: Html | null = null) =>
  html`<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · ${host} · chainkeeper</title>
<link rel="icon" href="/ui/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/ui/page.css">
${more}</head>
`;

const SCRIPT = html`<script type="module" src="/ui/page.js"></script>
`;

const LOG_OUT = html`<form method="post" action="/ui/logout" class="logout">
<button type="submit">Log out</button></form>
`;

/** A page without a script, and for those who may not see the others. */
export const bare = ({ host, title, main }: Omit<Frame, 'here' | 'session'>): string =>
  `<!doctype html>\n${html`<html lang="en">
${head({ host, title })}<body>
<header><p class="brand">chainkeeper <span class="host">${host}</span></p></header>
<main id="main">
${main}
</main>
</body>
</html>
`}`;

/** Of a link: that it leads to where one is. */
export const current = (here: boolean): Html | null => (here ? html` aria-current="page"` : null);
