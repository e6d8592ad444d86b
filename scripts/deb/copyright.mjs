// debian/copyright, in Debian's machine-readable form: whose each part is, and on which terms.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LICENCE, NODE, productionPackages } from './packages.mjs';
import { root } from './root.mjs';

/** Terms that let us pass a package on, in a package under the Apache licence. */
const ALLOWED = ['MIT', 'ISC', 'BSD-2-Clause', 'BSD-3-Clause', 'Apache-2.0', '0BSD'];

const COMMON = 'On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.';

export function copyright(name, lib) {
  const ours = `Files: *
Copyright: 2026, the chainkeeper authors
License: Apache-2.0
 ${COMMON}
`;
  const head = 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n';
  if (name !== 'chainkeeper') return `${head}Upstream-Name: chainkeeper\n\n${ours}`;
  const terms = readFileSync(join(root, NODE.licence), 'utf8');
  const node = paragraph(`${lib}/node`, 'MIT-and-others', terms, 'Node.js contributors and others');
  const others = productionPackages().map((it) => ofPackage(it, lib));
  return [`${head}Upstream-Name: chainkeeper\n`, ours, node, ...others].join('\n');
}

function ofPackage({ path, name, version, license, author }, lib) {
  if (!ALLOWED.includes(license)) {
    throw new Error(`${name} ${version} has the licence '${license}': may it be passed on?`);
  }
  const who = typeof author === 'object' ? author.name : author;
  return paragraph(`${lib}/${path}/*`, license, termsOf(path, license), who ?? `${name} authors`);
}

function paragraph(files, licence, terms, who) {
  const owners = terms.match(/^ *copyright (\(c\)|©|[0-9]).*/gim) ?? [who];
  const list = owners.slice(0, 20).map((it) => it.trim().replace(/^copyright /i, ''));
  const text = terms
    .trim()
    .split('\n')
    .map((line) => (line.trim() === '' ? ' .' : ` ${line}`));
  return `Files: ${files}\nCopyright: ${list.join('\n ')}\nLicense: ${licence}\n${text.join('\n')}\n`;
}

/**
 * What the package says itself, or the one that it is a part of (koffi's binary has its terms in
 * koffi). Some give no more than the licence's name; then it is the text that goes by that name.
 */
function termsOf(path, licence) {
  if (licence === 'Apache-2.0') return COMMON;
  const own = licenceIn(path);
  if (own !== null) return own;
  if (path.startsWith('node_modules/@koromix/koffi-')) return licenceIn('node_modules/koffi');
  if (licence !== 'MIT') throw new Error(`${path} does not say its terms`);
  return readFileSync(join(root, 'contrib/debian/mit.txt'), 'utf8');
}

function licenceIn(path) {
  const file = readdirSync(join(root, path)).find((it) => LICENCE.test(it) && !/^notice/i.test(it));
  return file === undefined ? null : readFileSync(join(root, path, file), 'utf8');
}
