import { readFileSync } from 'node:fs';
import koffi from 'koffi';

/** Of madvise(2): the pages are read from their file again should anybody look. */
const MADV_DONTNEED = 4;

/** Long enough to cost nothing: a look takes some 6 ms. */
const EVERY_MS = 20_000;

/**
 * Gives back, now and three times a minute, what was touched once and is not at work: pages of
 * Node's own file, which are half of what a small process has in memory and most of them for its
 * start, and what the C library keeps free.
 */
export function giveBack(): Disposable {
  const libc = koffi.load('libc.so.6');
  const madvise = libc.func('int madvise(uintptr_t at, size_t length, int advice)');
  const trim = libc.func('int malloc_trim(size_t keep)');
  const give = () => {
    for (const { from, to } of unchanged(smaps(), process.execPath)) {
      madvise(from, to - from, MADV_DONTNEED);
    }
    trim(0);
  };
  give();
  const timer = setInterval(give, EVERY_MS);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

interface Mapping {
  readonly from: number;
  readonly to: number;
}

/**
 * The parts of the program file at `path` that stay where they are as long as the process runs, and
 * of which no page was ever written to (then it would be lost). V8 has a copy of some of it among
 * its own pages, to be unmapped when it likes: that one is left alone.
 */
export function unchanged(text: string, path: string): readonly Mapping[] {
  const found: Mapping[] = [];
  let base: number | null = null;
  for (const part of text.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ \d+ +(.*)$/m.exec(part);
    if (head === null || head[5] !== path) continue;
    const [from, to, offset] = [head[1], head[2], head[4]].map((it) =>
      Number.parseInt(it ?? '', 16),
    );
    if (from === undefined || to === undefined || offset === undefined) continue;
    base ??= from - offset;
    const isClean = /^Anonymous: +0 kB$/m.test(part) && /^Swap: +0 kB$/m.test(part);
    const written = !isClean || head[3]?.includes('w');
    if (from - offset === base && !written) found.push({ from, to });
  }
  return found;
}

/** Where the kernel does not say what is where, nothing is given back. */
function smaps(): string {
  try {
    return readFileSync('/proc/self/smaps', 'utf8');
  } catch {
    return '';
  }
}
