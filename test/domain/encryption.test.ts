import { describe, expect, test } from 'vitest';
import { nextCreate } from '#domain/create-saga.ts';
import { type EncryptedDisk, keyOf, type LayerKey } from '#domain/encryption.ts';
import { explain } from '#domain/failure.ts';
import { planCreate } from '#domain/plan-create.ts';
import { planDelete } from '#domain/plan-delete.ts';
import { chain, file } from '../support/chains.ts';
import { reloaded } from '../support/sagas.ts';
import {
  disk,
  failed,
  header,
  headersOf,
  REFUSED,
  SERVER,
  SUBJECT,
  saw,
  sight,
  WOKE,
} from '../support/sights.ts';

const CHAIN = chain('b', 'a', 'v');
const key = (name: string, says: Partial<LayerKey> = {}): LayerKey => ({
  file: file(name),
  format: 'luks',
  engine: 'qemu',
  secret: 'uuid-1',
  ...says,
});
const of = (...keys: readonly LayerKey[]): EncryptedDisk => ({ target: 'vda', chain: CHAIN, keys });

test('a plain volume has no key, and one whose layers are all encrypted has one', () => {
  expect(keyOf(of())).toEqual({ ok: true, value: null });
  const value = { secret: 'uuid-1', engine: 'qemu' };
  expect(keyOf(of(key('b'), key('a'), key('v')))).toEqual({ ok: true, value });
  const old = { engine: null };
  const seen = of(key('b', old), key('a', old), key('v', old));
  expect(keyOf(seen)).toEqual({ ok: true, value: { secret: 'uuid-1', engine: null } });
});

/** Each with what the sentence says of it. */
const refused: readonly [string, EncryptedDisk, string][] = [
  ['a plain overlay', of(key('a'), key('v')), 'a is encrypted and b is not'],
  ['a plain layer between', of(key('b'), key('v')), 'b is encrypted and a is not'],
  ['a plain base', of(key('b'), key('a')), 'b is encrypted and v is not'],
  ['AES of old', of(key('b'), key('a'), key('v', { format: 'qcow' })), "v has 'qcow' by qemu"],
  ['librbd', of(key('b', { engine: 'librbd' }), key('a'), key('v')), "b has 'luks' by librbd"],
  ['two secrets', of(key('b'), key('a', { secret: 'uuid-2' }), key('v')), 'b and a have different'],
  [
    'no secret by UUID',
    of(...['b', 'a', 'v'].map((name) => key(name, { secret: null }))),
    'names no secret of b by its UUID',
  ],
];

test.each(refused)('%s is refused', (_, seen, words) => {
  const found = keyOf(seen);
  if (found.ok) expect.unreachable();
  expect(explain(found.error)).toMatch(/^Disk vda is encrypted in a way .* detached\.$/);
  expect(explain(found.error)).toContain(words);
});

describe('of an encrypted disk', () => {
  const keys = ['b', 'a', 'v'].map((name) => key(name));
  const CREATE = { ...SUBJECT, newFile: file('new') };
  const view = disk(CHAIN, { keys });
  const over = (encryption: 'none' | 'luks') => ({ new: header({ encryption })('b', 'qcow2') });
  const LIMITS = { maxChainDepth: 8 };
  const create = (headers: ReturnType<typeof over>, guest = view) =>
    planCreate(CREATE, sight(guest, 'creating', { headers }), LIMITS);

  test('a create has the name of the key, for an overlay with LUKS and no other', () => {
    const named = { secret: 'uuid-1', engine: 'qemu' };
    expect(create(over('luks'))).toMatchObject({ ok: true, value: { key: named, mend: null } });
    const flaws = [{ kind: 'encryption', says: 'it is not encrypted, and the volume is' }];
    expect(create(over('none'))).toMatchObject({ error: { kind: 'overlay-refused', flaws } });
    const plain = create(over('luks'), disk(CHAIN));
    expect(plain).toMatchObject({ error: { kind: 'overlay-refused' } });
  });

  test('a create needs the guest to run', () => {
    const off = create(over('luks'), { ...view, process: null });
    expect(off).toMatchObject({ ok: false, error: { kind: 'encrypted-and-off' } });
  });

  test('a create that may have been asked of a QEMU that died waits for the next one', () => {
    const accepted = { kind: 'create', request: CREATE, at: 'accepted', limits: LIMITS } as const;
    const seen = (guest = view, says = {}) =>
      saw(sight(guest, 'creating', { headers: over('luks'), ...says }));
    const asked = nextCreate(accepted, seen());
    const key = { secret: 'uuid-1', engine: 'qemu' };
    expect(asked.effect).toMatchObject({ do: 'snapshot', process: 'qemu-1', key });
    const woken = nextCreate(reloaded(asked.saga), WOKE).saga;
    const off = { ...view, process: null };
    const waiting = nextCreate(woken, seen(off));
    expect(waiting).toMatchObject({ saga: { at: 'switching' }, effect: { do: 'watch' } });
    const again = nextCreate(waiting.saga, seen({ ...view, process: 'qemu-2' }));
    expect(again.effect).toMatchObject({ do: 'snapshot', process: 'qemu-2', key });
    const late = nextCreate(waiting.saga, seen(off, { late: true }));
    expect(late).toMatchObject({ saga: { at: 'end', outcome: 'unknown' }, tell: null });
    // Nobody was asked for anything: then it has failed.
    const refused = nextCreate(nextCreate(asked.saga, failed(REFUSED)).saga, seen(off));
    expect(refused).toMatchObject({ saga: { at: 'end', outcome: 'failed' } });
  });

  test('a delete has the name of the key', () => {
    const seen = sight(view, 'deleting', { headers: headersOf(CHAIN) });
    const request = { ...SUBJECT, fileToMerge: file('v'), mergeTarget: null };
    const named = { secret: 'uuid-1', engine: 'qemu' };
    expect(planDelete(request, seen)).toMatchObject({ ok: true, value: { key: named } });
    const mixed = sight(disk(CHAIN, { keys: keys.slice(1) }), 'deleting');
    expect(planDelete(request, mixed)).toMatchObject({ error: { kind: 'encrypted' } });
  });

  test('a delete needs the guest to run: qemu-img would ask for the passphrase', () => {
    const off = disk(CHAIN, { keys, process: null });
    const request = { ...SUBJECT, fileToMerge: file('v'), mergeTarget: null };
    const refused = planDelete(request, sight(off, 'deleting', { headers: headersOf(CHAIN) }));
    const why = { kind: 'encrypted-and-off', target: 'vda', server: SERVER };
    expect(refused).toEqual({ ok: false, error: why });
  });
});
