/**
 * Text of others for a terminal or a log, where a control character would draw, hide or forge a
 * line: C0 and C1, the line separators, and the marks that turn the direction of writing.
 */
export function escapeText(text: string): string {
  return text.replace(HARMFUL, (it) => NAMES[it] ?? code(it));
}

/** JSON in which every character that a terminal would obey is escaped. */
export function escapeJson(json: string): string {
  return json.replace(BEYOND_C0, code);
}

const NAMES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
const BEYOND = '\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069';
const BEYOND_C0 = new RegExp(`[${BEYOND}]`, 'g');
const HARMFUL = new RegExp(`[\\x00-\\x1f${BEYOND}]`, 'g');
const code = (it: string): string => `\\u${it.charCodeAt(0).toString(16).padStart(4, '0')}`;
