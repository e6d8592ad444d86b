import { describe, expect, test } from 'vitest';
import type { Refusal } from '#domain/failure.ts';
import { err, ok } from '#domain/result.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import {
  api,
  asRequestsDoes,
  CINDER,
  createBody,
  deleteInfo,
  FILE,
  PATH,
  post,
  REQUEST_ID,
  remove,
  SNAPSHOT,
  VOLUME,
} from './harness.ts';

const PROJECT = '0123456789abcdef0123456789abcdef';
const BASES = ['/v2.1', '/v2', '', `/v2.1/${PROJECT}`, `/v2/${PROJECT}`, `/${PROJECT}`];
const query = (info: object) => `?delete_info=${asRequestsDoes(info)}`;

describe("Cinder's own requests", () => {
  test.each(BASES)('a create under %s', async (base) => {
    const it = api();
    const answer = await post(it, createBody(), {}, `${base}/os-assisted-volume-snapshots`);
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({ snapshot: { id: null, volumeId: VOLUME } });
    expect(answer.headers['content-type']).toBe('application/json; charset=UTF-8');
    expect(it.calls).toEqual([
      {
        verb: 'create',
        request: { volume: VOLUME, snapshot: SNAPSHOT, newFile: FILE },
        caller: {
          requestId: answer.headers['x-openstack-request-id'],
          globalRequestId: CINDER['x-openstack-request-id'],
        },
      },
    ]);
  });

  test.each(BASES)('a delete under %s, without a content type', async (base) => {
    const it = api();
    const path = `${base}/os-assisted-volume-snapshots`;
    const answer = await remove(it, query(deleteInfo()), {}, SNAPSHOT, path);
    expect(answer.statusCode).toBe(204);
    expect(answer.body).toBe('');
    expect(it.calls.map((call) => call.request)).toEqual([
      { volume: VOLUME, snapshot: SNAPSHOT, fileToMerge: `volume-${VOLUME}`, mergeTarget: null },
    ]);
  });

  test('a delete whose query has : , + raw', async () => {
    const it = api();
    const raw =
      `?delete_info=%7B%22file_to_merge%22:+%22a.1%22,+%22merge_target_file%22:+%22a%22,` +
      `+%22type%22:+%22qcow2%22,+%22volume_id%22:+%22${VOLUME}%22%7D`;
    expect(query(deleteInfo({ file_to_merge: 'a.1', merge_target_file: 'a' }))).toBe(raw);
    expect((await remove(it, raw)).statusCode).toBe(204);
    expect(it.calls[0]?.request).toMatchObject({ fileToMerge: 'a.1', mergeTarget: 'a' });
  });

  test('a delete with a content type and no body, as other clients send it', async () => {
    const it = api();
    const headers = { 'content-type': 'application/json' };
    expect((await remove(it, query(deleteInfo()), headers)).statusCode).toBe(204);
  });

  test("tempest's delete: the id None and nothing but the volume", async () => {
    const it = api();
    const answer = await remove(it, query({ volume_id: VOLUME }), {}, 'None');
    expect(answer.statusCode).toBe(204);
    expect(it.calls[0]?.request).toMatchObject({ snapshot: 'None', fileToMerge: null });
  });

  test('the optional id of a create comes back', async () => {
    const answer = await post(api(), createBody({ id: 'mine' }));
    expect(answer.json()).toEqual({ snapshot: { id: 'mine', volumeId: VOLUME } });
  });

  test('the same delete_info twice is one', async () => {
    const again = query(deleteInfo()).replace('?', '&');
    expect((await remove(api(), query(deleteInfo()) + again)).statusCode).toBe(204);
  });

  test('/v2 strips unknown keys on all three levels', async () => {
    const it = api();
    const body = createBody({ a: 1 }, { b: 2 }, { c: 3 });
    const answer = await post(it, body, {}, '/v2/os-assisted-volume-snapshots');
    expect(answer.statusCode).toBe(200);
    expect(it.calls[0]?.request).toEqual({ volume: VOLUME, snapshot: SNAPSHOT, newFile: FILE });
  });
});

describe('microversions', () => {
  const NEW = 'openstack-api-version';
  const OLD = 'x-openstack-nova-api-version';
  test.each([
    [{}, '2.1'],
    [{ [OLD]: '2.1' }, '2.1'],
    [{ [OLD]: '2.74' }, '2.74'],
    [{ [OLD]: 'latest' }, '2.75'],
    [{ [NEW]: 'compute 2.51' }, '2.51'],
    [{ [NEW]: 'compute latest' }, '2.75'],
    [{ [NEW]: 'COMPUTE 2.51, identity 3.0' }, '2.51'],
    [{ [NEW]: 'compute 2.2, compute 2.3' }, '2.3'],
    [{ [NEW]: 'identity 9.9' }, '2.1'],
    [{ [NEW]: 'compute' }, '2.1'],
    [{ [NEW]: 'compute 2.51', [OLD]: '2.2' }, '2.51'],
  ])('%j is %s', async (headers, version) => {
    const { app } = api();
    const payload = createBody();
    const answer = await app.inject({ method: 'POST', url: PATH, headers, payload });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers[NEW]).toBe(`compute ${version}`);
    expect(answer.headers[OLD]).toBe(version);
    expect(answer.headers.vary).toEqual(['OpenStack-API-Version', 'X-OpenStack-Nova-API-Version']);
  });

  test('/v2 has none, and does not read them', async () => {
    const headers = { [OLD]: '9.9' };
    const answer = await post(api(), createBody(), headers, '/v2/os-assisted-volume-snapshots');
    expect(answer.statusCode).toBe(200);
    expect(answer.headers).not.toHaveProperty(OLD);
  });

  test.each([
    ['2.74', 204],
    ['2.75', 400],
  ])('an unknown query key at %s: %i', async (version, status) => {
    const it = api();
    const answer = await remove(it, `${query(deleteInfo())}&force=1`, { [OLD]: version });
    expect(answer.statusCode).toBe(status);
    expect(it.calls).toHaveLength(status === 204 ? 1 : 0);
  });
});

describe('request ids', () => {
  test.each([
    ['POST', PATH],
    ['DELETE', `${PATH}/x`],
    ['GET', '/'],
    ['GET', '/nowhere'],
    ['PUT', PATH],
    ['PROPFIND', PATH],
    ['GET', '/%zz'],
    ['GET', '/healthcheck'],
  ])('%s %s has both, fresh each time', async (method, url) => {
    const { app } = api();
    const seen = new Set<unknown>();
    for (let at = 0; at < 2; at += 1) {
      const { headers } = await app.inject({ method: method as 'GET', url, headers: CINDER });
      expect(headers['x-openstack-request-id']).toMatch(REQUEST_ID);
      expect(headers['x-compute-request-id']).toBe(headers['x-openstack-request-id']);
      seen.add(headers['x-openstack-request-id']);
    }
    expect(seen.size).toBe(2);
    expect(seen).not.toContain(CINDER['x-openstack-request-id']);
  });

  test.each(['', 'req-', 'x', CINDER['x-openstack-request-id'].toUpperCase(), 'req-1\u00e9'])(
    "a caller's %j is not taken over",
    async (id) => {
      const it = api();
      await post(it, createBody(), { 'x-openstack-request-id': id });
      expect(it.calls[0]?.caller.globalRequestId).toBeNull();
    },
  );
});

describe('trouble', () => {
  const refusal: Refusal = { kind: 'bad-request', problem: 'It is raining.' };
  const fault = { who: 'libvirt', detail: 'no socket', code: 38 } as const;
  test.each<[Trouble, number, string, string]>([
    [{ kind: 'refused', refusal }, 400, 'badRequest', 'It is raining.'],
    [
      { kind: 'fault', fault: { ...fault, kind: 'unreachable' } },
      503,
      'serviceUnavailable',
      'libvirt cannot be reached (no socket): nothing was changed, try again.',
    ],
    [
      { kind: 'fault', fault: { ...fault, kind: 'rejected' } },
      500,
      'computeFault',
      'libvirt refused (38): no socket',
    ],
    [
      { kind: 'fault', fault: { ...fault, kind: 'unknown' } },
      500,
      'computeFault',
      'libvirt gave no clear answer (no socket): the outcome is looked up, not guessed.',
    ],
  ])('%j', async (trouble, status, name, message) => {
    const it = api({ answer: async () => err(trouble) });
    for (const answer of [await post(it, createBody()), await remove(it, query(deleteInfo()))]) {
      expect(answer.statusCode).toBe(status);
      expect(answer.headers['content-type']).toBe('application/json; charset=UTF-8');
      expect(answer.json()).toEqual({ [name]: { code: status, message } });
      expect(answer.headers['retry-after']).toBe(status === 503 ? '5' : undefined);
      expect(answer.headers['x-openstack-nova-api-version']).toBe('2.1');
    }
  });

  test('a defect is answered without a word of it, logged, and handed on', async () => {
    const defects: unknown[] = [];
    const defect = new Error('secret /path');
    const it = api({
      answer: () => Promise.reject(defect),
      defect: (error) => defects.push(error),
    });
    const answer = await post(it, createBody());
    expect(answer.statusCode).toBe(500);
    expect(answer.body).toContain('"computeFault":{"code":500,"message":"Unexpected API Error');
    expect(answer.body).not.toContain('secret');
    expect(it.lines.join()).toContain('secret');
    expect(defects).toEqual([defect]);
  });

  test('a full queue says so at once, and is empty again afterwards', async () => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const it = api({
      maxQueued: 2,
      answer: async () => {
        await gate;
        return ok({ operation: null });
      },
    });
    const waiting = [post(it, createBody()), remove(it, query(deleteInfo()))];
    await expect.poll(() => it.calls.length).toBe(2);
    const full = await post(it, createBody());
    expect(full.statusCode).toBe(503);
    expect(full.headers['retry-after']).toBe('5');
    expect(full.json().serviceUnavailable.message).toMatch(/^Too many requests are waiting/);
    expect(it.calls).toHaveLength(2);
    open();
    expect((await Promise.all(waiting)).map((answer) => answer.statusCode)).toEqual([200, 204]);
    expect((await post(it, createBody())).statusCode).toBe(200);
  });
});

test("the access line is Nova's", async () => {
  const it = api();
  await post(it, createBody());
  const line = it.lines[0] ?? '';
  expect(line).toContain(`info 127.0.0.1 "POST ${PATH}" status: 200 len: `);
  expect(line).toMatch(/ len: \d+ microversion: 2\.1 time: \d+\.\d{6}$/);
  expect(it.lines.join()).not.toContain('notused');
});

test('a snapshot that Cinder does not know is logged with its id', async () => {
  const it = api({ answer: async () => ok({ operation: null }) });
  const url = `${PATH}/${SNAPSHOT}?delete_info=${encodeURIComponent(JSON.stringify(INFO))}`;
  expect((await it.app.inject({ method: 'DELETE', url })).statusCode).toBe(204);
  expect(it.lines[0]).toBe(`info Cinder knows no snapshot ${SNAPSHOT}: nothing was done`);
});

const INFO = { volume_id: VOLUME, file_to_merge: null, merge_target_file: null };
