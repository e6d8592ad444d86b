import { readFileSync } from 'node:fs';

/** package.json lies three folders up from here, in a checkout and in the package. */
export function version(): string {
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}
