import { expect, test } from 'vitest';
import { Choices } from '#sim/world/choices.ts';

/** What a small world decides: the numbers, in order. */
function decided(choices: Choices): readonly number[] {
  const numbers: number[] = [];
  for (let round = 0; round < 40; round++) {
    numbers.push(choices.pick('a', 7), Number(choices.chance('b', 'often')));
    numbers.push([10, 20, 30].indexOf(choices.of('c', [10, 20, 30])));
  }
  return numbers;
}

test('the same seed decides the same, another seed decides otherwise', () => {
  expect(decided(new Choices(5))).toEqual(decided(new Choices(5)));
  expect(decided(new Choices(5))).not.toEqual(decided(new Choices(6)));
});

test('every number below the limit is drawn', () => {
  const choices = new Choices(1);
  const drawn = new Set(Array.from({ length: 400 }, () => choices.pick('x', 9)));
  expect([...drawn].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

test('a world is told again by its decisions other than 0', () => {
  const first = new Choices(5);
  const numbers = decided(first);
  expect([...first.made.values()].every((value) => value !== 0)).toBe(true);
  const again = new Choices(5, first.made);
  expect(decided(again)).toEqual(numbers);
  expect(again.made).toEqual(first.made);
});

test('a decision that is taken away is quiet, and leaves all others as they were', () => {
  const first = new Choices(5);
  const numbers = decided(first);
  const at = numbers.findIndex((value, index) => index % 3 === 0 && value !== 0);
  const without = new Map(first.made);
  expect(without.delete(`a#${at / 3}`)).toBe(true);
  const expected = numbers.with(at, 0);
  expect(decided(new Choices(5, without))).toEqual(expected);
});

test('places do not disturb each other: one more question elsewhere changes nothing here', () => {
  const some = new Choices(9);
  const more = new Choices(9);
  const here = (choices: Choices) => choices.pick('here', 1000);
  const alone = [here(some), here(some), here(some)];
  const between = [here(more), more.pick('there', 5), here(more), more.pick('x', 3), here(more)];
  expect([between[0], between[2], between[4]]).toEqual(alone);
});

test('a stronger fault strikes more often, one that is off never', () => {
  const struck = (strength: 'off' | 'rare' | 'some' | 'often') => {
    const choices = new Choices(3);
    return Array.from({ length: 4000 }, () => choices.chance('x', strength)).filter(Boolean).length;
  };
  expect(struck('off')).toBe(0);
  expect(struck('rare')).toBeGreaterThan(0);
  expect(struck('some')).toBeGreaterThan(2 * struck('rare'));
  expect(struck('often')).toBeGreaterThan(2 * struck('some'));
});
