import { accessSync, constants, lstatSync, readlinkSync, type Stats, statSync } from 'node:fs';

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

/**
 * Why a path cannot be used, by the errno that a system call gave (errno(3)), and what to do about
 * it: `what is so: what to do`. An errno that is not known here is named.
 */
export function whyNot(code: string): string {
  const known = WORDS[code];
  if (known !== undefined) return known;
  if (code === 'EACCES' || code === 'EPERM') {
    return `uid ${process.getuid?.()} may not: run it as a user who may, or change owner and mode`;
  }
  return `the system says ${code}: look into its log, or name another`;
}

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'it is not there: make it, or name another',
  ENOTDIR: 'part of the path is a file and no folder: name another',
  EISDIR: 'it is a folder: name a file',
  ELOOP: 'its symbolic links lead in a circle: mend them, or name another',
  ENAMETOOLONG: 'the name is longer than a file system takes: name a shorter one',
  EROFS: 'its file system is read-only: mount it writable, or name another',
  ENOSPC: 'its file system is full: free some room there',
  EDQUOT: 'the quota there is used up: free some room',
  EIO: 'its disk gives errors: see dmesg',
  ESTALE: 'its share was exported anew: mount it again',
  EMFILE: 'this process has no file descriptor left: raise LimitNOFILE',
  ENFILE: 'this host has no file descriptor left: raise fs.file-max',
  ERR_INVALID_ARG_VALUE: 'the name has a NUL byte in it: name another',
};

/**
 * What lies at a path, in words (`a folder`, `a link to /x, where nothing is`), or null: nothing.
 * Throws what lstat(2) fails with otherwise.
 */
export function thingAt(path: string): string | null {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return null;
  if (!there.isSymbolicLink()) return kindOf(there);
  const at = statSync(path, { throwIfNoEntry: false });
  return at === undefined ? `a link to ${readlinkSync(path)}, where nothing is` : kindOf(at);
}

function kindOf(it: Stats): string {
  if (it.isDirectory()) return 'a folder';
  if (it.isFile()) return 'a file';
  if (it.isFIFO()) return 'a named pipe';
  return it.isSocket() ? 'a socket' : 'a device';
}
