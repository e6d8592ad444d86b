import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { edited } from './bug.ts';
import { bugNamed } from './bugs.ts';

const edit = bugNamed(process.env.PLANTED)?.edit;
const root = join(import.meta.dirname, '../..');

/** One test file with the bug planted that the environment names. */
export default defineConfig({
  plugins: [
    {
      name: 'planted',
      enforce: 'pre',
      load: (id) =>
        edit !== undefined && id.split('?')[0] === join(root, edit.file)
          ? edited(readFileSync(join(root, edit.file), 'utf8'), edit)
          : null,
    },
  ],
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    // The next run has another bug in the same file.
    fsModuleCache: false,
  },
});
