import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder of its own, removed with all that is in it. */
export async function temporary(within = tmpdir()) {
  const directory = await mkdtemp(join(within, 'chainkeeper-'));
  return {
    directory,
    path: (name: string) => join(directory, name),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}
