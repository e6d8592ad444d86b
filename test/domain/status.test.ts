import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CINDER_STATUSES,
  DIALECTS,
  type Dialect,
  isPlain,
  livePercent,
  mayMove,
  type SnapshotStatus,
  type StatusBody,
  speak,
  statusFor,
  type Update,
} from '#domain/status.ts';
import { file, format } from '../support/chains.ts';

const overlay = { file: file('volume-1234.snapshot-abcd'), format: format('qcow2') };
const base = { file: file('volume-1234'), format: format('raw') };
const created: Update = { kind: 'created', formats: [{ ...overlay, provenance: 'reported' }] };
const committed: Update = { kind: 'deleted', formats: [{ ...base, provenance: 'assumed' }] };
const pulled: Update = {
  kind: 'deleted',
  formats: [
    { ...overlay, provenance: 'reported' },
    { ...base, provenance: 'assumed' },
  ],
};

const creating = { status: 'creating', progress: '90%' } as const;
const deleting = { status: 'deleting', progress: '90%' } as const;
const creatingDone = { status: 'creating_compute_complete', progress: '90%' } as const;
const deletingDone = { status: 'deleting_compute_complete', progress: '90%' } as const;
const both = { 'volume-1234.snapshot-abcd': 'qcow2', 'volume-1234': 'raw' };
const ofOverlay = { 'volume-1234.snapshot-abcd': 'qcow2' };
const ofBase = { 'volume-1234': 'raw' };

/** interface.md, "What we tell Cinder", word by word. */
const words: readonly [string, Update, Record<Dialect, StatusBody>][] = [
  ['reset', { kind: 'deleting', percent: 0 }, same({ status: 'deleting', progress: '0%' })],
  ['running', { kind: 'deleting', percent: 41.9 }, same({ status: 'deleting', progress: '41%' })],
  [
    'created',
    created,
    {
      spec: { ...creatingDone, file_format: ofOverlay },
      format: { ...creating, file_format: ofOverlay },
      status: creatingDone,
      stock: creating,
    },
  ],
  [
    'deleted by commit',
    committed,
    {
      spec: { ...deletingDone, file_format: ofBase },
      format: { ...deleting, file_format: ofBase },
      status: deletingDone,
      stock: deleting,
    },
  ],
  [
    'deleted by pull',
    pulled,
    {
      spec: { ...deletingDone, file_format: both },
      format: { ...deleting, file_format: both },
      status: deletingDone,
      stock: deleting,
    },
  ],
  ['create failed', { kind: 'create-failed' }, same({ status: 'error', progress: '0%' })],
  ['delete failed', { kind: 'delete-failed' }, same({ status: 'error_deleting', progress: '0%' })],
];

describe.each(words)('%s', (_, update, expected) => {
  test.each(DIALECTS)('in dialect %s', (dialect) => {
    expect(speak(update, dialect)).toEqual(expected[dialect]);
    expect(Object.keys(speak(update, dialect))).toEqual(Object.keys(expected[dialect]));
  });

  test('is plain exactly when every dialect says the same', () => {
    const heard = new Set(DIALECTS.map((dialect) => JSON.stringify(speak(update, dialect))));
    expect(isPlain(update)).toBe(heard.size === 1);
  });

  test('is a move that Cinder allows from the status that it makes sense in', () => {
    for (const dialect of DIALECTS) {
      expect(mayMove(statusFor(update), speak(update, dialect).status)).toBe(true);
    }
  });
});

test('the dialects are tried from the most to the least telling', () => {
  expect(DIALECTS).toEqual(['spec', 'format', 'status', 'stock']);
});

/** Every whole and half percent, and whatever a foreign job makes up. */
const percents = [...Array.from({ length: 205 }, (_, at) => at / 2), 89.999, 90.001, -1, 1e9];

test('live progress never says 90% or 100%, is whole, and never runs ahead', () => {
  const holds = (percent: number) => {
    const whole = livePercent(percent);
    expect([90, 100]).not.toContain(whole);
    expect(Number.isInteger(whole) && whole >= 0 && whole <= 99).toBe(true);
    if (percent >= 0) expect(whole).toBeLessThanOrEqual(percent);
    for (const dialect of DIALECTS) {
      const said = speak({ kind: 'deleting', percent }, dialect);
      expect(said).toEqual({ status: 'deleting', progress: `${whole}%` });
    }
  };
  percents.forEach(holds);
  fc.assert(fc.property(fc.double({ noNaN: true }), holds));
});

test('live progress never goes back', () => {
  const percent = fc.double({ min: 0, max: 100, noNaN: true });
  fc.assert(
    fc.property(percent, percent, (one, other) => {
      const [less, more] = [Math.min(one, other), Math.max(one, other)];
      expect(livePercent(less)).toBeLessThanOrEqual(livePercent(more));
    }),
  );
});

test('progress that is no number is never told as one', () => {
  expect(livePercent(Number.NaN)).toBe(0);
});

test('only a finished operation ever says 90%', () => {
  for (const [, update] of words) {
    for (const dialect of DIALECTS) {
      expect(speak(update, dialect).progress === '90%').toBe(!isPlain(update));
    }
  }
});

const STATUSES: readonly SnapshotStatus[] = [
  ...CINDER_STATUSES,
  'creating_compute_complete',
  'deleting_compute_complete',
];

test('a compute service moves a snapshot on from creating and deleting only', () => {
  const moves = STATUSES.flatMap((from) =>
    STATUSES.filter((to) => mayMove(from, to)).map((to) => `${from} to ${to}`),
  );
  expect(moves).toEqual([
    'creating to creating',
    'creating to error',
    'creating to creating_compute_complete',
    'deleting to deleting',
    'deleting to error_deleting',
    'deleting to deleting_compute_complete',
  ]);
});

test('a file may have any name that is a name', () => {
  const formats = ['__proto__', 'constructor'].map((name) => {
    return { file: file(name), format: format('raw'), provenance: 'reported' } as const;
  });
  const said = JSON.stringify(speak({ kind: 'deleted', formats }, 'spec').file_format);
  expect(said).toBe('{"__proto__":"raw","constructor":"raw"}');
});

function same(body: StatusBody): Record<Dialect, StatusBody> {
  return { spec: body, format: body, status: body, stock: body };
}
