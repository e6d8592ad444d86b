import { configDefaults, defineConfig } from 'vitest/config';

/** Everything that needs no foreign component. */
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, 'test/live/**', 'test/**/*.live.test.ts'],
  },
});
