/**
 * Text of others with the values of what is secret by its name taken out, as oslo_utils.strutils
 * mask_password does: `password=x`, `"token": "x"`, an X-Auth-Token or Authorization header, the
 * password of a URL. What is ours never has one: src/config-shape.ts Secret.
 */
export function maskSecrets(text: string): string {
  return text.replace(URL_PASSWORD, '$1***@').replace(NAMED, (_, name: string) => `${name}***`);
}

const WORDS = [
  'x-(?:auth|service|subject)-token',
  '[a-z_-]*(?:password|passwd)',
  '[a-z_-]+[_-](?:secret|token)',
  'api_key',
].join('|');
const IS = '["\']?\\s*[:=]\\s*["\']?';
const HEADER = `authorization${IS}(?:basic|bearer)\\s+`;
const NAMED = new RegExp(`(${HEADER}|\\b(?:${WORDS})${IS})[^\\s"'&,;}]+`, 'gi');
const URL_PASSWORD = /(\b[a-z][a-z0-9+.-]*:\/\/[^\s/@:]*:)[^\s/@]+@/gi;
