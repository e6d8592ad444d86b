import { inspect } from 'node:util';
import { whyUnwritten } from '#adapters/sqlite/opening.ts';

/**
 * What is to be said of an error that ends the process. A disk that fills up is no defect, and no
 * stack tells an operator what to do about it; a defect is told with all that is known of it.
 */
export function lastWords(error: unknown): string {
  const why = whyUnwritten(error);
  if (why === null) return inspect(error);
  return (
    `chainkeeper: The journal cannot be written: ${why}. What is not written down is not done, ` +
    'so this process ends; the next start goes on from what is.'
  );
}
