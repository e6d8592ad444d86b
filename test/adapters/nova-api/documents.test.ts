import { describe, expect, test } from 'vitest';
import { api } from './harness.ts';

const PROJECT = '0123456789abcdef0123456789abcdef';

describe('version documents', () => {
  test('at the root, all of them', async () => {
    const { app } = api({ publicEndpoint: 'https://compute.example:8797/' });
    const answer = await app.inject('/');
    expect(answer.statusCode).toBe(200);
    expect(answer.json().versions.map((it: { id: string }) => it.id)).toEqual(['v2.0', 'v2.1']);
    expect(answer.json().versions[1]).toEqual({
      id: 'v2.1',
      status: 'CURRENT',
      version: '2.75',
      min_version: '2.1',
      updated: '2013-07-23T11:33:21Z',
      links: [{ rel: 'self', href: 'https://compute.example:8797/v2.1/' }],
    });
  });

  test.each([
    ['/v2.1', 'v2.1', '2.75'],
    ['/v2.1/', 'v2.1', '2.75'],
    [`/v2.1/${PROJECT}`, 'v2.1', '2.75'],
    [`/v2.1/${PROJECT}/`, 'v2.1', '2.75'],
    ['/v2', 'v2.0', ''],
    ['/v2/', 'v2.0', ''],
    [`/v2/${PROJECT}/`, 'v2.0', ''],
  ])('at %s, one', async (url, id, version) => {
    const { app } = api();
    const answer = await app.inject({ url, headers: { host: 'c.example:8797' } });
    expect(answer.statusCode).toBe(200);
    expect(answer.headers['content-type']).toBe('application/json; charset=UTF-8');
    const document = answer.json().version;
    expect(document).toMatchObject({ id, version });
    expect(document.links[0].href).toMatch(/^http:\/\/c\.example:8797\/v2(\.1)?\/$/);
    expect(document['media-types']).toEqual([
      {
        base: 'application/json',
        type: `application/vnd.openstack.compute+json;version=${id.slice(1)}`,
      },
    ]);
    const head = await app.inject({ method: 'HEAD', url });
    expect([head.statusCode, head.body]).toEqual([200, '']);
  });

  test('need no token and no fitting version', async () => {
    const { app } = api({
      auth: { authenticate: async () => ({ ok: false, status: 401, message: 'no' }) },
    });
    const headers = { 'openstack-api-version': 'compute 2.104' };
    expect((await app.inject({ url: '/v2.1/', headers })).statusCode).toBe(200);
  });

  test('repeat no odd Host header', async () => {
    const { app } = api();
    const answer = await app.inject({ url: '/v2.1', headers: { host: 'a"<script>' } });
    expect(answer.json().version.links[0].href).toBe('/v2.1/');
  });
});

describe('/healthcheck', () => {
  const json = { accept: 'application/json' };
  test('when all is well', async () => {
    const { app } = api();
    const text = await app.inject('/healthcheck');
    expect([text.statusCode, text.body]).toEqual([200, 'OK']);
    expect(text.headers['content-type']).toBe('text/plain; charset=UTF-8');
    const head = await app.inject({ method: 'HEAD', url: '/healthcheck' });
    expect([head.statusCode, head.body]).toEqual([204, '']);
    const detail = await app.inject({ url: '/healthcheck', headers: json });
    expect(detail.headers['content-type']).toBe('application/json; charset=UTF-8');
    expect(detail.json()).toEqual({ detailed: false, reasons: ['OK'] });
  });

  test('when it is not', async () => {
    const { app } = api({ health: async () => 'libvirt is away' });
    const text = await app.inject('/healthcheck');
    expect([text.statusCode, text.body]).toEqual([503, 'libvirt is away']);
    expect((await app.inject({ method: 'HEAD', url: '/healthcheck' })).statusCode).toBe(503);
    const detail = await app.inject({ url: '/healthcheck', headers: json });
    expect([detail.statusCode, detail.json()]).toEqual([
      503,
      { detailed: false, reasons: ['libvirt is away'] },
    ]);
  });
});
