import { defineConfig } from 'vitest/config';

/** The contract and the end-to-end tests on real components: one file after the other. */
export default defineConfig({
  test: {
    include: ['test/live/**/*.test.ts', 'test/**/*.live.test.ts'],
    // Whichever file comes first finds every package there.
    globalSetup: 'test/live/lab/everything.ts',
    passWithNoTests: true,
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
