import type { OperationId, ServerId, SnapshotId, VolumeId } from '#domain/ids.ts';
import { err, ok } from '#domain/result.ts';
import type { Saga } from '#domain/saga.ts';
import type { ChainReport, Diagnosis, OperationReport } from '#ports/inspect.ts';
import type { Operation } from '#ports/journal.ts';
import { chain, file, format } from '../../../support/chains.ts';
import { disk, header, SERVER, VOLUME } from '../../../support/sights.ts';
import { ENDED, OPEN } from '../pretend-inspect.ts';

/** What whoever names a thing could call it, told apart by where it is. */
export const evil = (where: string): string =>
  `<script src="//${where}">alert('${where}')</script><img src=x onerror=alert(1)>"'&\u202e`;

/** Every name and every sentence in it is somebody else's. */
export const HOSTILE: ChainReport = {
  volume: evil('volume') as VolumeId,
  guest: disk(chain(evil('active'), evil('middle'), evil('base')), {
    server: evil('server') as ServerId,
    target: evil('target'),
    source: { kind: 'files', directory: evil('directory') },
    job: null,
  }),
  headers: {
    [evil('active')]: header()(evil('backing'), evil('format')),
    [evil('middle')]: err({ kind: 'missing', says: evil('flaw') }),
  },
  cinder: evil('cinder'),
  snapshots: [
    { id: evil('id') as SnapshotId, volume: VOLUME, status: evil('status'), progress: null },
  ],
  findings: [
    { code: 'header-lies', severity: 'error', saw: evil('saw'), todo: evil('todo') },
    { code: 'unsent', severity: 'warning', saw: evil('late'), todo: evil('later') },
  ],
};

export const DIAGNOSED: Diagnosis = {
  volume: HOSTILE.volume,
  server: HOSTILE.guest.server,
  guest: evil('guest'),
  target: evil('target'),
  report: ok(HOSTILE),
};

const request = {
  volume: HOSTILE.volume,
  snapshot: evil('snapshot') as SnapshotId,
  server: HOSTILE.guest.server,
};

/** A commit that goes on. */
export const MERGING: Operation = {
  ...OPEN,
  id: evil('open') as OperationId,
  requestId: evil('request'),
  globalRequestId: evil('global'),
  saga: {
    kind: 'delete',
    request: { ...request, fileToMerge: file(evil('middle')), mergeTarget: file(evil('base')) },
    at: 'merging',
    plan: {
      process: 'p',
      target: 'vda',
      directory: '/mnt',
      merge: { kind: 'commit', top: file(evil('middle')), into: file(evil('base')) },
      before: chain(evil('active'), evil('middle'), evil('base')),
      after: chain(evil('active'), evil('base')),
      repointed: file(evil('active')),
      size: 1,
      key: null,
    },
    tries: 1,
    heard: 'nothing',
    doubts: 0,
  } satisfies Saga,
};

export const PARKED: Operation = {
  ...ENDED,
  id: evil('parked') as OperationId,
  saga: { ...ENDED.saga, at: 'end', outcome: 'unknown', reason: evil('reason') } as Saga,
};

export const story = (operation: Operation): OperationReport => ({
  operation,
  evidence: [{ seq: 41, at: ENDED.askedAt, kind: 'decided', detail: evil('detail') }],
  notices: [
    {
      seq: 42,
      operation: operation.id,
      snapshot: request.snapshot,
      update: {
        kind: 'deleted',
        formats: [{ file: file(evil('told')), format: format(evil('as')), provenance: 'reported' }],
      },
      state: 'pending',
    },
  ],
});

export { SERVER };
