import { configDefaults, defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

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
    sequence: { sequencer: sequencer() },
    // A process or thread that a test starts spends most of its second on stripping types. Node
    // looks at the source before it takes what it kept: a planted bug is compiled anew.
    env: { NODE_COMPILE_CACHE: `${import.meta.dirname}/node_modules/.cache/compiled` },
  },
});

/** With the last file to begin being a long one, all but one core would wait for it. */
function sequencer() {
  const longest = ['laws/histories', 'contrib/cinder', 'laws/crash-twice', 'nova-api/any-input'];
  const rank = ({ moduleId }: TestSpecification) => {
    const at = longest.findIndex((file) => moduleId.endsWith(`/${file}.test.ts`));
    return at < 0 ? longest.length : at;
  };
  return class extends BaseSequencer {
    /** Elsewhere by how long each took here before, if anybody knows, or else by its size. */
    override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
      return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
    }
  };
}
