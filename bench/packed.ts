import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/** Builds what the package has into `folder`, with our own dependencies; answers its program. */
export function packed(folder: string): string {
  execFileSync(process.execPath, ['scripts/pack.mjs'], { cwd: ROOT, stdio: 'ignore' });
  mkdirSync(folder);
  // Without src, from which a checkout would be served.
  for (const part of ['bin', 'dist', 'contrib', 'package.json']) {
    cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  }
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'bin/chainkeeper.js');
}
