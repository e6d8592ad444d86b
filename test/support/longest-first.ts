import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * Begins with these files, named by how their path ends. A fresh clone has no record of how long
 * each takes, and with the last file to begin being a long one everybody would wait for it.
 */
export function longestFirst(...longest: readonly string[]): typeof BaseSequencer {
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
