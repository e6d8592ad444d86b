import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** The tests that no mutant of the domain and the runner may survive: see scripts/mutation/. */
export default defineConfig({
  test: {
    include: [
      'test/domain/**/*.test.ts',
      ...['runner', 'operate', 'aftercare', 'service'].map((it) => `test/${it}.test.ts`),
    ],
    setupFiles: ['test/support/repeatable.ts'],
    // A test that a busy machine slows down is no test that has caught something.
    testTimeout: 120_000,
    sequence: { sequencer: sequencer() },
  },
});

/** The test of the mutated file comes first, for the first red one ends the run. */
function sequencer() {
  return class extends BaseSequencer {
    override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
      const mutated = this.ctx.config.related?.map((file) => basename(file, '.ts')) ?? [];
      const own = ({ moduleId }: TestSpecification) =>
        Number(!mutated.includes(basename(moduleId, '.test.ts')));
      return files.toSorted((a, b) => own(a) - own(b) || (a.moduleId < b.moduleId ? -1 : 1));
    }
  };
}
