import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const page = readFileSync('docs/HAZARDS.md', 'utf8');
const rows = page.split('\n').filter((line) => /^\| [HF]\d+ \|/.test(line));
const cells = (row: string) =>
  row
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());

test('every hazard of the list has its row, with nothing left out', () => {
  const wanted = [
    ...Array.from({ length: 24 }, (_, at) => `H${at + 1}`),
    ...Array.from({ length: 14 }, (_, at) => `F${at + 1}`),
  ];
  expect(rows.map((row) => cells(row)[0])).toEqual(wanted);
  for (const row of rows) expect(cells(row).filter((cell) => cell.length > 0)).toHaveLength(6);
});

test.each(rows.map((row) => [cells(row)[0], row] as const))(
  '%s names tests that are there',
  (_, row) => {
    const named = (cells(row)[5] ?? '').split(/; (?=`)/);
    for (const one of named) {
      const [, file = '', words = ''] = /^`(test\/[^`]+)`(?:: (.*))?$/.exec(one) ?? [];
      expect(existsSync(file), one).toBe(true);
      expect(readFileSync(file, 'utf8')).toContain(words);
    }
  },
);

test.each(rows.map((row) => [cells(row)[0], row] as const))(
  '%s names laws that are held',
  (_, row) => {
    const laws = (cells(row)[4] ?? '').split(', ').map(Number);
    const numbers = readFileSync('sim/world/laws.ts', 'utf8');
    for (const law of laws) expect(numbers).toContain(`number: ${law},`);
  },
);
