// What of node_modules goes into the Debian package.
import { existsSync, readFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { root } from './root.mjs';

/** The Node that `npm ci` brings: the makers' own binary, and its terms. */
export const NODE = {
  binary: 'node_modules/node/bin/node',
  licence: `node_modules/node/node_modules/node-linux-${process.arch}/LICENSE`,
};

/** What package-lock.json wants in production, as far as it is for this machine. */
export function productionPackages() {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(([path, it]) => path !== '' && !it.dev && !it.devOptional)
    .filter(([path, { optional }]) => {
      if (existsSync(join(root, path))) return true;
      if (optional) return false;
      throw new Error(`${path} is not installed: npm ci`);
    })
    .map(([path]) => {
      const said = JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8'));
      return { path, ...said };
    });
}

const CODE = ['.js', '.cjs', '.mjs', '.json', '.node'];
export const LICENCE = /^(licen[cs]e|copying|notice)\b/i;
/** Folders right in a package that are for those who make it; deeper down a name says nothing. */
const ASIDE = /^(\..*|tests?|benchmarks?|docs?|examples?|scripts|node_modules)$/;
/** Of another C library than Debian's. */
const FOREIGN = /^musl_/;

/** Whether the file, or folder, at `path` in a package is there to be run, or says its terms. */
export function runs(path, isFolder) {
  const name = basename(path);
  if (isFolder) return !ASIDE.test(path) && !FOREIGN.test(name);
  const others = /\.(test|spec|bench|eslintrc)\./;
  return LICENCE.test(name) || (CODE.includes(extname(name)) && !others.test(name));
}
