import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { unchanged } from '#adapters/system/memory-ffi.ts';

const NODE = '/opt/node 24/bin/node';

/** As /proc/PID/smaps has it (proc(5)), of what counts here. */
const part = (head: string, anonymousKb: number, swapKb = 0) =>
  `${head}\nSize:       16 kB\nRss:        16 kB\nAnonymous:  ${anonymousKb} kB\n` +
  `Swap:       ${swapKb} kB\nVmFlags: rd\n`;

test('given back is what the program file has mapped, and nobody wrote to', () => {
  const smaps = [
    part(`00400000-00746000 r--p 00000000 fe:00 53585                          ${NODE}`, 0),
    part(`0074a000-03044000 r-xp 0034a000 fe:00 53585                          ${NODE}`, 0),
    // Relocated at the start, and protected since.
    part(`06b52000-06b56000 r--p 06752000 fe:00 53585                          ${NODE}`, 16),
    // The same, once it is swapped out.
    part(`06b46000-06b4a000 r--p 06746000 fe:00 53585                          ${NODE}`, 0, 16),
    part(`06b56000-06b7d000 rw-p 06756000 fe:00 53585                          ${NODE}`, 0),
    part('365db000-36f50000 rw-p 00000000 00:00 0                              [heap]', 16),
    part('7f8f00000000-7f8f00021000 rw-p 00000000 00:00 0 ', 16),
    // What V8 has copied next to the code that it makes.
    part(`7f8f97580000-7f8f97785000 r-xp 01627000 fe:00 53585                  ${NODE}`, 0),
    part('7f8fa0000000-7f8fa0100000 r--p 00000000 fe:00 4711                   /lib/libc.so.6', 0),
  ].join('');
  expect(unchanged(smaps, NODE)).toEqual([
    { from: 0x400000, to: 0x746000 },
    { from: 0x74a000, to: 0x3044000 },
  ]);
  expect(unchanged('', NODE)).toEqual([]);
});

test('a process that has given back goes on, with less in memory', () => {
  const source = join(import.meta.dirname, '../../../src/adapters/system/memory-ffi.ts');
  const script = `
    import { readFileSync } from 'node:fs';
    import { giveBack } from ${JSON.stringify(source)};
    const files = () => Number(/RssFile:\\s+(\\d+)/.exec(readFileSync('/proc/self/status'))[1]);
    const before = files();
    giveBack();
    const after = files();
    const words = new Intl.ListFormat('en').format(['still', 'here']);
    console.log(JSON.stringify({ before, after, words }));`;
  const args = ['--input-type=module', '-e', script];
  const said = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
  expect(said.words).toBe('still and here');
  // In KiB; 46 of 57 MB were given back when this was written.
  expect(said.before - said.after).toBeGreaterThan(15_000);
});
