import { promisify } from 'node:util';
import koffi from 'koffi';

// <fcntl.h> of Linux.
const F_OFD_GETLK = 36;
const F_WRLCK = 1;
const F_UNLCK = 2;
const SEEK_SET = 0;

type Flock = { type: number; whence: number; start: number; length: number; pid: number };
type Fcntl = (fd: number, command: number, lock: Flock) => Promise<number>;

let fcntl: Fcntl | null = null;

function bind(): Fcntl {
  const flock = koffi.struct({
    type: 'short',
    whence: 'short',
    start: 'int64',
    length: 'int64',
    pid: 'int',
  });
  const libc = koffi.load('libc.so.6');
  return promisify(
    libc.func('fcntl', 'int', ['int', 'int', koffi.inout(koffi.pointer(flock))]).async,
  ) as unknown as Fcntl;
}

/**
 * Whether somebody else has a lock on this byte of an open file; null where the file system cannot
 * say. Nothing is locked by asking. Waits for a share on a thread of the pool.
 */
export async function isLocked(fd: number, byte: number): Promise<boolean | null> {
  fcntl ??= bind();
  const lock: Flock = { type: F_WRLCK, whence: SEEK_SET, start: byte, length: 1, pid: 0 };
  if ((await fcntl(fd, F_OFD_GETLK, lock)) !== 0) return null;
  return Number(lock.type) !== F_UNLCK;
}
