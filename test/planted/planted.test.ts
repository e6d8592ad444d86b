import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { LAWS } from '#sim/world/laws.ts';
import { type Bug, edited } from './bug.ts';
import { BUGS, CANARY, HARMLESS } from './bugs.ts';
import { noticed } from './hunting.ts';

vi.setConfig({ testTimeout: 120_000 });

const root = join(import.meta.dirname, '../..');
const textOf = (file: string) => readFileSync(join(root, file), 'utf8');

/** Those that are noticed soonest, of each law one or two; `npm run planted` takes them all. */
const SAMPLE: readonly string[] = [
  "the overlay's header is not looked at",
  'the mend is forgotten',
  'the status is not read again right before the switch',
  'created is said before anybody looked',
  'a pull is reported before the barrier',
  'every format that is told is qcow2',
  'the header of a raw base is read',
  'the word goes out before it is on disk',
  'the word is not in the same entry as the step',
  'evidence is dropped',
  'words about one snapshot overtake each other',
  'a status is told once, as well as it goes',
  'the answer comes before the journal',
  'a delete leaves the progress as it finds it',
  'a refused delete sets the progress back',
];

describe('the bugs', () => {
  test('are at least forty, each with a name of its own', () => {
    expect(new Set(BUGS.map(({ name }) => name)).size).toBe(BUGS.length);
    expect(BUGS.length).toBeGreaterThanOrEqual(40);
  });

  test('are meant for laws that there are', () => {
    const numbers = LAWS.map(({ number }) => number);
    for (const { name, laws } of BUGS) {
      if (laws !== undefined) expect(numbers, name).toEqual(expect.arrayContaining([...laws]));
      expect(laws, name).not.toEqual([]);
    }
  });

  test.each([...BUGS, CANARY, HARMLESS].filter(({ edit }) => edit))(
    'can be planted: $name',
    ({ edit }) => {
      if (edit === undefined) return expect.unreachable();
      const text = textOf(edit.file);
      const planted = edited(text, edit);
      expect(planted).not.toBe(text);
      expect(planted.split('\n')).toHaveLength(text.split('\n').length);
    },
  );
});

describe('an edit', () => {
  const edit = { file: 'a.ts', find: 'one', put: 'two' };

  test('applies to the one place that it names', () => {
    expect(edited('a one\nb', edit)).toBe('a two\nb');
    expect(edited('one f( one one', { ...edit, after: 'f(' })).toBe('one f( two one');
  });

  test.each([
    ['nothing', edit],
    ['one and one', edit],
    ['one f( one', { ...edit, after: 'g(' }],
    ['one f(', { ...edit, after: 'f(' }],
    ['f( f( one', { ...edit, after: 'f(' }],
    ['one', { ...edit, put: 'two\nlines' }],
  ])('that does not apply, to "%s", is said', (text, wrong) => {
    expect(() => edited(text, wrong)).toThrow('a.ts');
  });

  test('of a file that no world has fails, and so does one that is no program', async () => {
    const outside: Bug = {
      ...{ name: CANARY.name, habit: 'ours', laws: [1] },
      edit: { file: 'src/main.ts', find: 'x', put: 'y' },
    };
    await expect(noticed(outside)).rejects.toThrow('src/main.ts');
  });
});

describe('the hunt', () => {
  test('finds the canary in the first history, by law 1', async () => {
    expect(await noticed(CANARY)).toMatchObject({ by: 'law 1', seed: 1 });
  });

  test('finds nothing where nothing was changed in meaning', async () => {
    expect(await noticed(HARMLESS, 40)).toMatchObject({ by: null, told: 40, remark: '' });
  });

  test.concurrent.each(SAMPLE)('notices: %s', async (name) => {
    const bug = BUGS.find((one) => one.name === name);
    if (bug?.laws === undefined) return expect.unreachable();
    const { by } = await noticed(bug);
    expect(bug.laws.map((law) => `law ${law}`)).toContain(by);
  });
});
