import { describe, expect, test } from 'vitest';
import { html } from '#adapters/operator/page/html.ts';
import { bytes, count, duration, name, time } from '#adapters/operator/page/words.ts';

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1 KiB'],
  [1536, '1.5 KiB'],
  [196_624, '192 KiB'],
  [2 ** 30 * 9.7, '9.7 GiB'],
  [2 ** 50 * 2000, '2000 PiB'],
])('%d bytes are %s', (many, words) => expect(bytes(many)).toBe(words));

test.each([
  [-1, '0 s'],
  [59.4, '59 s'],
  [59.6, '1 min'],
  [80, '1 min 20 s'],
  [3600, '1 h'],
  [7384, '2 h 3 min'],
  [200_000, '2 d 7 h'],
])('%d seconds are %s', (seconds, words) => expect(duration(seconds)).toBe(words));

test('a moment of today is a time, any other has its date', () => {
  const at = Date.parse('2026-11-26T09:43:03.500Z');
  expect(`${time(at, at)}`).toContain('>09:43:03<');
  expect(`${time(at, at + 86_400_000)}`).toContain('>2026-11-26 09:43<');
});

test('a UUID is told apart by its first part, and all of it is there', () => {
  const id = '0b0e4d4c-3a55-4b0e-9d0d-5b2d4f5f0a11';
  expect(`${name(`volume-${id}`)}`).toBe(`<code title="volume-${id}">volume-0b0e4d4c</code>`);
  expect(`${name('volume-1')}`).toBe('<code>volume-1</code>');
});

test('one and many', () => {
  const words = [count(1, 'error'), count(2, 'error'), count(0, 'thing needs', 'things need')];
  expect(words).toEqual(['1 error', '2 errors', '0 things need']);
});

describe('a template', () => {
  test('takes markup as it is, and everything else as text', () => {
    const inner = html`<b>${'<i>'}</b>`;
    expect(`${html`<p title="${'"\'&'}">${[inner, 7, null, '\u0000\u202e']}</p>`}`).toBe(
      '<p title="&quot;&#39;&amp;"><b>&lt;i&gt;</b>7\\u0000\\u202e</p>',
    );
  });

  test('does not believe what says that it is markup', () => {
    const forged = { toString: () => '<script>' } as unknown as string;
    expect(() => `${html`${forged}`}`).toThrow();
  });
});
