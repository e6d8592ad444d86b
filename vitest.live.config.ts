import { defineConfig } from 'vitest/config';

/** The contract and the end-to-end tests on real components: one file after the other. */
export default defineConfig({
  test: {
    include: ['test/live/**/*.test.ts', 'test/**/*.live.test.ts'],
    passWithNoTests: true,
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 300_000,
  },
});
