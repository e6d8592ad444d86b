import { configDefaults, defineConfig } from 'vitest/config';
import { longestFirst } from './test/support/longest-first.ts';

const LONGEST = ['laws/histories', 'contrib/cinder', 'laws/crash-twice', 'nova-api/any-input'];

/** Everything that needs no foreign component. */
export default defineConfig({
  test: {
    // No test is timed: this is for one that hangs, on a machine as busy as they come.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/live/**', 'test/**/*.live.test.ts'],
    // By default one core of them is left to vitest itself, which hardly needs it.
    maxWorkers: '100%',
    sequence: { sequencer: longestFirst(...LONGEST) },
    // A process or thread that a test starts spends most of its second on stripping types. Node
    // looks at the source before it takes what it kept: a planted bug is compiled anew.
    env: { NODE_COMPILE_CACHE: `${import.meta.dirname}/node_modules/.cache/compiled` },
  },
});
