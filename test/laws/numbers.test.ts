import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LAWS, MISSING_GUARDS } from '#sim/world/laws.ts';

/** Where a law is held: the file under test/, and the words of a test in it. */
type Held = readonly [file: string, words: string];

/** Every law that no world watches, or that needs more than a world. */
const HELD: Readonly<Record<number, readonly Held[]>> = {
  2: [
    ['laws/crash-twice.test.ts', 'law 2: QEMU killed at a moment'],
    ['live/kill.test.ts', ''],
    ['live/durable-pull.test.ts', ''],
  ],
  6: [
    ['domain/sight.test.ts', 'of a chain only overlays are ever read'],
    ['laws/paths.test.ts', 'law 26: no shell, every format named'],
  ],
  18: [['laws/crash-twice.test.ts', 'killed before or after any call, and again']],
  19: [['laws/histories.test.ts', 'law 19: the same seed gives the same history']],
  20: [['laws/repeated-step.test.ts', 'each effect twice, the second answer counts']],
  22: [
    ['laws/blocked.test.ts', 'law 22: whatever call hangs for one volume'],
    ['runner.test.ts', 'volumes do not wait for each other'],
  ],
  24: [
    ['laws/paths.test.ts', 'law 24: whatever is accepted as a name'],
    ['laws/paths.test.ts', 'law 24: it is the file that was looked at'],
    ['laws/paths.test.ts', 'law 24: an overlay with another header in its place'],
    ['laws/paths.test.ts', 'law 24: an overlay with other data in its place'],
    ['live/swapped.test.ts', 'not called done when the next start would open another file'],
    ['contract/images.share.test.ts', 'a link, wherever it leads, is not followed'],
  ],
  25: [
    ['laws/outside.test.ts', 'law 25: nothing is written but in the folder of the journal'],
    ['laws/outside.test.ts', 'law 25: a write elsewhere would be seen'],
  ],
  26: [
    ['laws/outside.test.ts', 'law 26: whatever is logged is one line'],
    ['laws/paths.test.ts', 'law 26: no shell, every format named'],
    ['laws/paths.test.ts', 'law 26: what a header says is never taken for a format'],
    ['laws/paths.test.ts', 'law 26: nothing in src can start a shell'],
    ['adapters/nova-api/any-input.test.ts', 'only what is valid reaches the port'],
  ],
  31: [
    ['laws/bounds.test.ts', 'law 31: a program at rest holds nothing'],
    ['laws/bounds.test.ts', 'law 31: the journal does not grow with what is over'],
    ['adapters/nova-api/contract.test.ts', 'a full queue says so at once'],
    ['sender.test.ts', 'of a snapshot that was told everything nothing is kept'],
    ['contract/images.share.test.ts', 'a file handle is never left open'],
    ['adapters/libvirt/lanes.live.test.ts', 'leave the memory as it was'],
  ],
  33: [
    ['laws/parsers.test.ts', 'law 33: the parser is total'],
    ['domain/qcow2.test.ts', 'any bytes give facts or one flaw'],
    ['contract/images.share.test.ts', 'of a huge file no more than a page'],
    ['live/qcow2.test.ts', ''],
  ],
  34: [
    ['laws/parsers.test.ts', 'law 34: what was read of a header, written again'],
    ['laws/parsers.test.ts', 'law 34: the XML that we send'],
  ],
  36: [
    ['laws/outside.test.ts', 'law 36: no secret is in the log'],
    ['config.test.ts', 'a secret is shown to nobody who does not ask for it'],
  ],
  38: [['laws/histories.test.ts', 'law 38: each kind of history does happen']],
};

const WAITS: Readonly<Record<number, string>> = {
  37: 'there is one version of the journal: nothing can have been written by another',
};

const NUMBERS = Array.from({ length: 38 }, (_, at) => at + 1);
const watched = new Set(LAWS.map(({ number }) => number));

test.each(NUMBERS)('law %i is watched in every world, held by a test, or waits', (number) => {
  const held = HELD[number] ?? [];
  const ways = [watched.has(number), held.length > 0, number in WAITS];
  expect(ways.filter(Boolean), 'at least one').not.toEqual([]);
  if (number in WAITS) expect(ways).toEqual([false, false, true]);
  for (const [file, words] of held) {
    const text = readFileSync(join(import.meta.dirname, '..', file), 'utf8');
    expect(text, file).toContain(words);
    expect(text, `${file} has tests`).toMatch(/\b(test|law|Contract)(\.\w+)*\(/);
  }
});

test('laws have one number each, from 1 to 38', () => {
  const numbers = LAWS.map(({ number }) => number);
  expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
  for (const number of [...numbers, ...Object.keys(HELD).map(Number)]) {
    expect(NUMBERS).toContain(number);
  }
});

test('every guard that is to come has a law', () => {
  for (const { law } of Object.values(MISSING_GUARDS)) expect(NUMBERS).toContain(law);
});
