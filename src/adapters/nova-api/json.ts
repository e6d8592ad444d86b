import { err, ok, type Result } from '#domain/result.ts';
import { quoted } from './fault.ts';
import { LIMITS } from './limits.ts';

/** Keys that mean something to JavaScript objects and nothing to Nova. */
const PROTOTYPE_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * A JSON text that can be read in one way only, or a phrase that says what is wrong with it. Two
 * equal keys are read differently by two parsers (RFC 8259, section 4), and what is asked for here
 * cannot be undone.
 */
export function parseJson(text: string): Result<unknown, string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return err('it is not valid JSON');
  }
  const flaw = findFlaw(text);
  return flaw === null ? ok(value) : err(flaw);
}

/** Walks the tokens of a text that is known to be JSON. */
function findFlaw(text: string): string | null {
  const open: Set<string>[] = [];
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"(?:\s*:)?|[{}[\]]/g)) {
    if (token === '{' || token === '[') open.push(new Set());
    else if (token === '}' || token === ']') open.pop();
    else if (token.endsWith(':')) {
      const key = String(JSON.parse(token.slice(0, -1)));
      const keys = open.at(-1);
      if (PROTOTYPE_KEYS.has(key)) return `the key ${quoted(key)} is not allowed`;
      if (keys?.has(key)) return `the key ${quoted(key)} appears twice`;
      keys?.add(key);
    }
    if (open.length > LIMITS.jsonDepth) return `it is nested deeper than ${LIMITS.jsonDepth}`;
  }
  return null;
}
