import { accessSync, constants } from 'node:fs';

/** The name of the errno that a system call failed with, else the error's own words. */
export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);

/** The errno with which a path cannot be used so, or found at all; null when it can. */
export function inaccessible(path: string, mode: number = constants.F_OK): string | null {
  try {
    accessSync(path, mode);
    return null;
  } catch (error) {
    return codeOf(error);
  }
}
