/** One of each kind of refusal, in the words that docs/REFUSALS.md has for what varies. */
import type { Refusal } from '#domain/failure.ts';
import type { FileName, OperationId, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';

const volume = 'VOLUME' as VolumeId;
const snapshot = 'SNAPSHOT' as SnapshotId;
const server = 'SERVER' as ServerId;
const operation = 'OPERATION' as OperationId;
const file = 'FILE' as FileName;
const other = 'OTHER' as FileName;
const target = 'vda';

type Samples = {
  readonly [Kind in Refusal['kind']]: Omit<Extract<Refusal, { kind: Kind }>, 'kind'>;
};

/** A kind that is new and not here does not compile. */
const SAMPLES: Samples = {
  'bad-request': { problem: "Invalid input for field/attribute ... (Nova's sentences)" },
  'unknown-volume': { volume },
  'other-volume': { snapshot, volume },
  'wrong-status': { snapshot, status: 'available', needed: 'deleting' },
  'other-name': { snapshot, file },
  'other-snapshot': { own: file, file: other },
  'other-arguments': { snapshot, state: 'merging' },
  unsettled: { snapshot, reason: 'REASON' },
  'not-attached': { volume },
  'attached-twice': { volume, times: 2 },
  'guest-not-found': { server, host: 'HOST' },
  'guest-saved': { server },
  'disk-not-found': { server, volume },
  'ambiguous-disk': { server, volume, targets: ['vda', 'vdb'] },
  'unsupported-source': { target, source: 'network (rbd)' },
  encrypted: { target, why: 'WHY' },
  'encrypted-and-off': { target, server },
  'remote-and-off': { target, server },
  'foreign-job': { target, job: 'copy' },
  'active-differs': { cinder: other, live: file },
  'unknown-format': { file },
  'format-differs': { file, live: 'qcow2', expected: 'raw' },
  'broken-chain': { file, problem: 'PROBLEM' },
  'chain-too-deep': { depth: 65, limit: 64 },
  'other-directory': { file, directory: 'DIRECTORY' },
  'already-in-chain': { file },
  'not-in-chain': { file, chain: [other] },
  'not-adjacent': { top: file, into: other },
  'top-is-active': { top: file },
  'not-one-layer': { active: file, onto: other, between: 2 },
  'overlay-refused': { file, flaws: [{ kind: 'size', says: 'REASONS' }] },
  'header-disagrees': { file, says: 'THIS', live: 'THAT' },
  'agent-not-connected': { server, agent: 'not connected' },
  'size-differs': { file, size: 1, disk: 2 },
  'has-begun': { at: 'merging' },
  'has-ended': { outcome: 'merged' },
  'not-ended': { at: 'merging' },
  'at-work': { volume },
  'unknown-snapshot': { snapshot },
  waits: { operation, what: 'delete, merging' },
  contradicted: { as: 'done', seen: 'SEEN' },
};

export const ofEachKind: readonly Refusal[] = Object.entries(SAMPLES).map(
  ([kind, sample]) => ({ kind, ...sample }) as Refusal,
);
