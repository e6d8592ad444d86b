import { defineConfig } from 'vitest/config';
import { longestFirst } from './test/support/longest-first.ts';

const LIVE = ['test/live/**/*.test.ts', 'test/**/*.live.test.ts'];
/** The first one waits for others nearly all of its ten minutes (test/live/gluster.test.ts). */
const LONGEST = ['live/gluster', 'contract/hypervisor.live', 'live/interrupted', 'live/nova'];
/** They stop, kill or reload the libvirtd that all others share. */
const ALONE = ['test/live/boot-guard.test.ts', 'test/live/quiesce.test.ts'];

const common = {
  pool: 'forks',
  testTimeout: 300_000,
  hookTimeout: 300_000,
} as const;

/**
 * The contract and the end-to-end tests on real components, two files at a time: each has guests,
 * ports and folders of its own, and waits for others much of the time.
 */
export default defineConfig({
  test: {
    // Whichever file comes first finds every package there.
    globalSetup: 'test/live/lab/everything.ts',
    passWithNoTests: true,
    sequence: { sequencer: longestFirst(...LONGEST) },
    projects: [
      {
        test: {
          ...common,
          name: 'side by side',
          include: LIVE,
          exclude: ALONE,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...common,
          name: 'alone',
          include: ALONE,
          fileParallelism: false,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
