import { configDefaults, defineConfig } from 'vitest/config';

/** Everything that needs no foreign component. */
export default defineConfig({
  test: {
    // No test is timed: this is for one that hangs, on a machine as busy as they come.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/live/**', 'test/**/*.live.test.ts'],
  },
});
