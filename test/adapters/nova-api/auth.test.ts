import { hashSync } from 'bcryptjs';
import { describe, expect, test } from 'vitest';
import { httpBasic, noAuth } from '#adapters/nova-api/auth.ts';
import { api, createBody, PATH, post } from './harness.ts';

const hash = hashSync('pa:ss', 4);
const FILE = `# Cinder\n\ncinder:${hash}\r\nother:${hashSync('x', 4).replace('$2b$', '$2y$')}\n`;
const ASKED = { action: 'create', project: null } as const;
const basic = (text: string) => ({
  authorization: `Basic ${Buffer.from(text).toString('base64')}`,
});

test('noAuth lets everybody in', async () => {
  expect(await noAuth().authenticate({}, ASKED)).toEqual({ ok: true, user: null });
});

describe('httpBasic', () => {
  test('knows its users, also the second time', async () => {
    const auth = httpBasic(FILE);
    for (let at = 0; at < 2; at += 1) {
      expect(await auth.authenticate(basic('cinder:pa:ss'), ASKED)).toEqual({
        ok: true,
        user: 'cinder',
      });
      expect(await auth.authenticate(basic('other:x'), ASKED)).toEqual({ ok: true, user: 'other' });
    }
  });

  test.each([
    ['nothing', {}],
    ['a wrong password', basic('cinder:pass')],
    ["another's password", basic('other:pa:ss')],
    ['an unknown user with a known password', basic('nobody:pa:ss')],
    ['no colon', basic('cinder')],
    ['no base64', { authorization: 'Basic !' }],
    ['another scheme', { authorization: 'Bearer x' }],
    ['nobody', basic(':')],
  ])('refuses %s', async (_, headers) => {
    const auth = httpBasic(FILE);
    await auth.authenticate(basic('cinder:pa:ss'), ASKED);
    expect(await auth.authenticate(headers, ASKED)).toMatchObject({
      ok: false,
      status: 401,
      wwwAuthenticate: 'Basic realm="chainkeeper"',
    });
  });

  test('a storm of wrong passwords is cut off, and who is known gets in', async () => {
    const auth = httpBasic(FILE);
    await auth.authenticate(basic('cinder:pa:ss'), ASKED);
    const storm = Array.from({ length: 40 }, (_, at) =>
      auth.authenticate(basic(`cinder:${at}`), ASKED),
    );
    expect(await auth.authenticate(basic('cinder:pa:ss'), ASKED)).toMatchObject({ ok: true });
    const verdicts = await Promise.all(storm);
    expect(verdicts.filter((it) => !it.ok && it.status === 401)).toHaveLength(16);
    expect(verdicts.filter((it) => !it.ok && it.status === 503)).toHaveLength(24);
    expect(await auth.authenticate(basic('other:x'), ASKED)).toMatchObject({ ok: true });
  });

  test.each([
    ['', 'The user file names no user: nobody could call.'],
    ['cinder', "Line 1 of the user file is not 'user:hash'."],
    ['# x\n:abc', "Line 2 of the user file is not 'user:hash'."],
    ['cinder:$apr1$abc$def', 'Line 1 of the user file: the hash of cinder is not bcrypt'],
    ['cinder:{SHA}abc', 'Line 1 of the user file: the hash of cinder is not bcrypt'],
    ['cinder:password', 'Line 1 of the user file: the hash of cinder is not bcrypt'],
    [`a:${hash}\na:${hash}`, 'Line 2 of the user file names a a second time.'],
    [
      `a:${hash.replace('$04$', '$31$')}`,
      'Line 1 of the user file: the bcrypt cost of a must be 4 to 14.',
    ],
  ])('refuses the file %j', (text, message) => {
    expect(() => httpBasic(text)).toThrow(message);
  });
});

describe('at the door', () => {
  test('a 401 has the form of keystonemiddleware, and nothing was read', async () => {
    const it = api({ auth: httpBasic(FILE) });
    const answer = await post(it, 'not json at all');
    expect(answer.statusCode).toBe(401);
    expect(answer.headers['www-authenticate']).toBe('Basic realm="chainkeeper"');
    expect(answer.headers['content-type']).toBe('application/json; charset=UTF-8');
    expect(answer.json()).toEqual({
      error: {
        code: 401,
        title: 'Unauthorized',
        message: 'The request you have made requires authentication.',
      },
    });
    expect(it.calls).toEqual([]);
  });

  test.each([
    [403, 'forbidden'],
    [503, 'serviceUnavailable'],
  ] as const)('a %i is %s', async (status, name) => {
    const it = api({
      auth: { authenticate: async () => ({ ok: false, status, message: 'Not now.' }) },
    });
    const answer = await it.app.inject({ method: 'DELETE', url: `${PATH}/x` });
    expect(answer.statusCode).toBe(status);
    expect(answer.json()).toEqual({ [name]: { code: status, message: 'Not now.' } });
    expect(it.calls).toEqual([]);
  });

  test('who may come in, comes in', async () => {
    const it = api({ auth: httpBasic(FILE) });
    expect((await post(it, createBody(), basic('cinder:pa:ss'))).statusCode).toBe(200);
    expect(it.calls).toHaveLength(1);
  });
});
