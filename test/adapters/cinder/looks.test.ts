import { describe, expect, test } from 'vitest';
import { none } from '#adapters/cinder/auth.ts';
import { Rest } from '#adapters/cinder/rest.ts';
import { CinderVolumes } from '#adapters/cinder/volumes.ts';
import type { SnapshotId, VolumeId } from '#domain/ids.ts';
import { ok } from '#domain/result.ts';
import { fault, json, Loopback } from './pretend-cinder.ts';

/** One look at a Cinder that answers `body`, and the request that it made. */
async function look<T>(body: unknown, at: (volumes: CinderVolumes) => Promise<T>, status = 200) {
  await using cinder = await Loopback.open((_, response) => json(response, status, body));
  await using rest = new Rest({ authorizer: none({ endpoint: `${cinder.url}/v3` }) });
  const telemetry = { log: () => {} };
  const seen = await at(new CinderVolumes({ rest, dialect: 'auto', telemetry }));
  return { seen, heard: cinder.heard[0] };
}

const snapshot = (it: CinderVolumes) => it.snapshot('s/1' as SnapshotId);
const attachments = (it: CinderVolumes) => it.attachments('v/1' as VolumeId);
const activeFile = (it: CinderVolumes) => it.activeFile('a/1');
const gone = { itemNotFound: { code: 404, message: 'could not be found' } };
const malformed = { ok: false, error: { kind: 'rejected', who: 'Cinder', code: 'malformed' } };

describe('a snapshot', () => {
  const body = (more: object) => ({
    snapshot: { id: 's1', volume_id: 'v1', status: 'creating', size: 1, metadata: {}, ...more },
  });
  const progress = (it: unknown) => body({ 'os-extended-snapshot-attributes:progress': it });

  test('is its volume, its status and, where policy shows it, its progress', async () => {
    const { seen, heard } = await look(progress('42%'), snapshot);
    expect(seen).toEqual(ok({ volume: 'v1', status: 'creating', progress: '42%' }));
    expect(heard).toMatchObject({ method: 'GET', url: '/v3/snapshots/s%2F1' });
    const silent = ok({ volume: 'v1', status: 'creating', progress: null });
    expect((await look(progress(null), snapshot)).seen).toEqual(silent);
    expect((await look(body({}), snapshot)).seen).toEqual(silent);
  });

  test('may be one that Cinder does not have', async () => {
    expect((await look(gone, snapshot, 404)).seen).toEqual(ok(null));
  });

  test('may have a status that we do not know', async () => {
    const { seen } = await look(body({ status: 'new-in-2031' }), snapshot);
    expect(seen).toMatchObject({ value: { status: 'new-in-2031' } });
  });

  test.each([
    ['nothing', {}],
    ['a list', { snapshot: [] }],
    ['no status', body({ status: undefined })],
    ['an empty volume', body({ volume_id: '' })],
    ['a number for progress', progress(42)],
  ])('that makes no sense is a fault which names the place: %s', async (_, answer) => {
    const { seen } = await look(answer, snapshot);
    expect(seen).toMatchObject(malformed);
    expect(seen).toMatchObject({ error: { detail: expect.stringContaining('snapshot') } });
  });
});

describe('the attachments of a volume', () => {
  const body = (...list: unknown[]) => ({ volume: { id: 'v1', attachments: list } });
  const entry = { id: 'v1', volume_id: 'v1', host_name: null, device: '/dev/vdb' };

  test('are those to servers', async () => {
    const toServer = { ...entry, attachment_id: 'a1', server_id: 'b1' };
    const toHost = { ...entry, attachment_id: 'a2', server_id: null };
    const { seen, heard } = await look(body(toServer, toHost), attachments);
    expect(seen).toEqual(ok([{ id: 'a1', server: 'b1' }]));
    expect(heard).toMatchObject({ method: 'GET', url: '/v3/volumes/v%2F1' });
    expect((await look(body(), attachments)).seen).toEqual(ok([]));
  });

  test('of a volume that Cinder does not have are null', async () => {
    expect((await look(gone, attachments, 404)).seen).toEqual(ok(null));
  });

  test.each([
    ['no list', { volume: {} }],
    ['a server without an attachment', body({ ...entry, server_id: 'b1' })],
    ['a word in the list', body('a1')],
  ])('that make no sense are a fault: %s', async (_, answer) => {
    expect((await look(answer, attachments)).seen).toMatchObject(malformed);
  });
});

describe('the active file', () => {
  const body = (info: unknown) => ({ attachment: { id: 'a1', connection_info: info } });

  test("is the attachment's, in the version that has attachments", async () => {
    const { seen, heard } = await look(body({ name: 'volume-1.s', format: 'qcow2' }), activeFile);
    expect(seen).toEqual(ok('volume-1.s'));
    expect(heard).toMatchObject({ method: 'GET', url: '/v3/attachments/a%2F1' });
    expect(heard?.headers['openstack-api-version']).toBe('volume 3.27');
  });

  test.each([
    null,
    {},
    { name: null },
    { name: 7 },
    { name: 'volumes/rbd-image' },
    { name: '../../etc/shadow' },
  ])('is not given by %j', async (info) => {
    expect((await look(body(info), activeFile)).seen).toEqual(ok(null));
  });

  test('is not given for an attachment that is gone; nonsense is a fault', async () => {
    expect((await look(gone, activeFile, 404)).seen).toEqual(ok(null));
    expect((await look({ attachments: [] }, activeFile)).seen).toMatchObject(malformed);
    expect((await look(body('name'), activeFile)).seen).toMatchObject(malformed);
  });
});

test.each([204, 400, 401, 403, 406, 413, 429, 500])('HTTP %i to a look is a fault', async (it) => {
  await using cinder = await Loopback.open((_, response) => {
    if (it === 204) response.writeHead(204).end();
    else fault(response, it, 'any', 'so it is');
  });
  await using rest = new Rest({ authorizer: none({ endpoint: cinder.url }) });
  const volumes = new CinderVolumes({ rest, dialect: 'auto', telemetry: { log: () => {} } });
  for (const at of [snapshot, attachments, activeFile]) {
    expect(await at(volumes)).toMatchObject({ ok: false, error: { kind: 'rejected', code: it } });
  }
});
