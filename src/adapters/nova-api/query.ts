import { err, ok, type Result } from '#domain/result.ts';

/** The parameters of a query string: every value that each name was given. */
export type Query = ReadonlyMap<string, readonly string[]>;

/**
 * Reads a query as WebOb does for Nova: `&` separates, `+` is a space. requests, which Cinder uses,
 * leaves `: , + &` raw inside `delete_info` (seen with novaclient 18.1). Stricter in one
 * point: what is not percent-encoded UTF-8 is refused, not passed through.
 */
export function parseQuery(url: string): Result<Query, string> {
  const at = url.indexOf('?');
  const query = new Map<string, string[]>();
  for (const pair of at < 0 ? [] : url.slice(at + 1).split('&')) {
    if (pair === '') continue;
    const cut = pair.includes('=') ? pair.indexOf('=') : pair.length;
    const name = decode(pair.slice(0, cut));
    const value = decode(pair.slice(cut + 1));
    if (name === null || value === null) {
      return err('Malformed query string: it is not percent-encoded UTF-8.');
    }
    query.set(name, [...(query.get(name) ?? []), value]);
  }
  return ok(query);
}

function decode(text: string): string | null {
  if (/[^\x21-\x7e]/.test(text)) return null;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return null;
  }
}
