import { type Html, html } from './html.ts';

/** 1536 is `1.5 KiB`. */
export function bytes(count: number): string {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(1, count)) / 10));
  const value = count / 1024 ** power;
  const digits = power === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits).replace(/\.0$/, '')} ${UNITS[power]}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** 80 is `1 min 20 s`; of longer times the two largest units. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const sizes = [86_400, 3600, 60, 1] as const;
  const first = sizes.findIndex((size) => whole >= size);
  const pair = [first, first + 1].map((at) => {
    const size = sizes[at] ?? 1;
    const count = Math.floor((whole % (sizes[at - 1] ?? Infinity)) / size);
    return count === 0 ? '' : `${count} ${NAMES[at]}`;
  });
  return pair.filter((word) => word !== '').join(' ');
}

const NAMES = ['d', 'h', 'min', 's'];

/** When, in UTC; with the date unless it is today's. */
export function time(at: number, now: number): Html {
  const iso = new Date(at).toISOString();
  const [day = '', clock = ''] = iso.split('T');
  const today = new Date(now).toISOString().startsWith(day);
  const shown = today ? clock.slice(0, 8) : `${day} ${clock.slice(0, 5)}`;
  return html`<time datetime="${iso}" title="${iso}">${shown}</time>`;
}

/** A name that people tell apart by the first part of each UUID in it. */
export const short = (name: string): string =>
  name.replace(/([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, '$1');

/** The short form of a name that was shortened, with all of it on demand. */
export function name(full: string): Html {
  const it = short(full);
  return it === full ? html`<code>${full}</code>` : html`<code title="${full}">${it}</code>`;
}

/** `1 volume`, `2 volumes`. */
export const count = (many: number, one: string, more = `${one}s`): string =>
  `${many} ${many === 1 ? one : more}`;

/** Enough of a request id to tell it from others, and all of it on demand. */
export const requestId = (id: string): Html => html`<code title="${id}">${id.slice(0, 12)}</code>`;
