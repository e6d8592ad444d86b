import { expect, test } from 'vitest';
import { explain, explainFault, type Fault, type Outside, type Refusal } from '#domain/failure.ts';
import type { OperationId, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { file } from '../support/chains.ts';

const volume = 'volume-id' as VolumeId;
const snapshot = 'snapshot-id' as SnapshotId;
const server = 'server-id' as ServerId;

/** One of each kind: a new kind without a row does not compile. */
const refusals: { readonly [K in Refusal['kind']]: Extract<Refusal, { kind: K }> } = {
  'bad-request': { kind: 'bad-request', problem: 'The body is not JSON: send an object.' },
  'unknown-volume': { kind: 'unknown-volume', volume },
  'other-name': { kind: 'other-name', snapshot, file: file('volume-1.other') },
  'other-volume': { kind: 'other-volume', snapshot, volume },
  'wrong-status': { kind: 'wrong-status', snapshot, status: 'available', needed: 'creating' },
  'other-snapshot': {
    kind: 'other-snapshot',
    own: file('volume-1.snapshot-1'),
    file: file('volume-1.snapshot-2'),
  },
  'other-arguments': { kind: 'other-arguments', snapshot, state: 'merging' },
  unsettled: { kind: 'unsettled', snapshot, reason: 'the chain became another one' },
  'not-attached': { kind: 'not-attached', volume },
  'attached-twice': { kind: 'attached-twice', volume, times: 2 },
  'guest-not-found': { kind: 'guest-not-found', server },
  'guest-saved': { kind: 'guest-saved', server },
  'disk-not-found': { kind: 'disk-not-found', server, volume },
  'ambiguous-disk': { kind: 'ambiguous-disk', server, volume, targets: ['vdb', 'vdc'] },
  'unsupported-source': { kind: 'unsupported-source', target: 'vda', source: 'network' },
  encrypted: { kind: 'encrypted', target: 'vda', why: 's1 is encrypted and v is not' },
  'encrypted-and-off': { kind: 'encrypted-and-off', target: 'vda', server },
  'remote-and-off': { kind: 'remote-and-off', target: 'vda', server },
  'foreign-job': { kind: 'foreign-job', target: 'vda', job: 'copy' },
  'active-differs': { kind: 'active-differs', cinder: file('s1'), live: file('s2') },
  'unknown-format': { kind: 'unknown-format', file: file('base-1') },
  'format-differs': {
    kind: 'format-differs',
    file: file('v'),
    live: 'qcow2',
    expected: 'raw',
  },
  'broken-chain': { kind: 'broken-chain', file: file('s2'), problem: 'names no format for s1' },
  'chain-too-deep': { kind: 'chain-too-deep', depth: 65, limit: 64 },
  'other-directory': { kind: 'other-directory', file: file('v'), directory: '/elsewhere' },
  'already-in-chain': { kind: 'already-in-chain', file: file('s1') },
  'not-in-chain': { kind: 'not-in-chain', file: file('x'), chain: [file('s1'), file('v')] },
  'not-adjacent': { kind: 'not-adjacent', top: file('s2'), into: file('v') },
  'top-is-active': { kind: 'top-is-active', top: file('s2') },
  'not-one-layer': { kind: 'not-one-layer', active: file('s2'), onto: file('s1'), between: 0 },
  'overlay-refused': {
    kind: 'overlay-refused',
    file: file('new'),
    flaws: [
      { kind: 'backing-name', says: 'it names /etc/passwd' },
      { kind: 'state', says: 'it is marked corrupt' },
    ],
  },
  'header-disagrees': { kind: 'header-disagrees', file: file('s2'), says: 'x', live: 's1' },
  'agent-not-connected': { kind: 'agent-not-connected', server, agent: 'not configured' },
  'size-differs': { kind: 'size-differs', file: file('s1'), size: 512, disk: 1024 },
  'has-begun': { kind: 'has-begun', at: 'merging' },
  'has-ended': { kind: 'has-ended', outcome: 'merged' },
  'not-ended': { kind: 'not-ended', at: 'flushing' },
  'unknown-snapshot': { kind: 'unknown-snapshot', snapshot },
  waits: { kind: 'waits', operation: 'op-1' as OperationId, what: 'delete' },
  'at-work': { kind: 'at-work', volume },
  contradicted: { kind: 'contradicted', as: 'done', seen: 's1 is in the chain of s2 on s1' },
};

test.each(Object.values(refusals))('$kind has its sentence, which names what was seen', (it) => {
  const sentence = explain(it);
  expect(sentence).toMatch(/^[A-Za-z][^\n]*[a-z0-9)>]\.$/);
  expect(sentence).not.toMatch(/undefined|null|\[object|NaN/);
  for (const fact of factsOf(it)) expect(sentence).toContain(fact);
});

test('no two refusals sound the same', () => {
  const sentences = Object.values(refusals).map(explain);
  expect(new Set(sentences).size).toBe(sentences.length);
});

test('of several facts each is told apart from the next', () => {
  expect(explain(refusals['ambiguous-disk'])).toContain('(vdb, vdc)');
  expect(explain(refusals['not-in-chain'])).toContain('(s1 on v)');
  expect(explain(refusals['overlay-refused'])).toContain(
    'it names /etc/passwd; it is marked corrupt. ',
  );
});

test('a delete that is about another snapshot is told what it would have destroyed', () => {
  expect(explain(refusals['other-snapshot'])).toContain(
    'in the chain too: what another snapshot needs would be merged. Delete the snapshot again',
  );
});

test('a pull of everything is named as one', () => {
  const sentence = explain({ ...refusals['not-one-layer'], onto: null });
  expect(sentence).toContain('s2 and the end of the chain');
});

const OUTSIDES: readonly Outside[] = [
  'libvirt',
  'Cinder',
  'Keystone',
  'the share',
  'qemu-img',
  'the journal',
];
const faults: { readonly [K in Fault['kind']]: Extract<Fault, { kind: K }> } = {
  unreachable: { kind: 'unreachable', who: 'libvirt', detail: 'no such socket' },
  rejected: { kind: 'rejected', who: 'libvirt', detail: 'disk full', code: 38 },
  unknown: { kind: 'unknown', who: 'libvirt', detail: 'end of file' },
};

test.each(Object.values(faults))('a fault that is $kind has its sentence', (fault) => {
  for (const who of OUTSIDES) {
    const sentence = explainFault({ ...fault, who });
    expect(sentence.startsWith(who)).toBe(true);
    for (const fact of factsOf({ ...fault, who })) expect(sentence).toContain(fact);
  }
});

test('a fault says whether anything can have happened', () => {
  expect(explainFault(faults.unreachable)).toContain('nothing was changed');
  expect(explainFault(faults.unknown)).toMatch(/looked up, not guessed\.$/);
  expect(explainFault(faults.rejected)).toBe('libvirt refused (38): disk full');
});

/** Every fact in a failure but its kind, and the kinds of the flaws in it. */
function factsOf(it: Refusal | Fault): readonly string[] {
  const { kind: _, ...facts } = it;
  return Object.values(facts).flatMap((fact): readonly string[] =>
    Array.isArray(fact)
      ? fact.map((one) => (typeof one === 'string' ? one : one.says))
      : [String(fact)],
  );
}
