import { accessSync, constants, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { codeOf, inaccessible, thingAt, whyNot } from '#adapters/system/access.ts';
import { StartupProblem } from './startup-problem.ts';

/**
 * The folder of the journal, made where it is not there, or one sentence for the operator. One
 * level only: a parent that is not there is a mistake, or a file system not yet mounted.
 */
export function makeStatePath(path: string): void {
  const it = `The state_path ${path}`;
  try {
    const thing = thingAt(path);
    if (thing !== null && thing !== 'a folder') {
      throw new StartupProblem(`${it} is ${thing}: move it, or name a folder.`);
    }
    const above = dirname(path);
    if (thing === null && inaccessible(above) === 'ENOENT') {
      const todo = 'mount its file system, or make that folder';
      throw new StartupProblem(`${it} cannot be made, because ${above} is not there: ${todo}.`);
    }
    if (thing === null) mkdirSync(path, 0o750);
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    if (error instanceof StartupProblem) throw error;
    throw new StartupProblem(`${it} cannot be used: ${whyNot(codeOf(error))}.`);
  }
}
