import { afterEach, beforeEach, expect, test } from 'vitest';
import { KeystoneDesk } from '#adapters/keystone/desk.ts';
import { KeystoneHttp } from '#adapters/keystone/http.ts';
import { explainFault } from '#domain/failure.ts';
import { ok } from '#domain/result.ts';
import { type PretendKeystone, pretendKeystone } from './pretend-keystone.ts';

/** The real one is asked in test/live/keystone.test.ts. */
let keystone: PretendKeystone;
let desk: KeystoneDesk;
beforeEach(async () => {
  keystone = await pretendKeystone();
  desk = new KeystoneDesk(new KeystoneHttp({ authUrl: keystone.authUrl }));
});
afterEach(async () => {
  await desk[Symbol.asyncDispose]();
  await keystone[Symbol.asyncDispose]();
});

const WORDS = {
  ...{ user: 'boss', password: 'pa"ss', domain: 'People' },
  ...{ project: 'ops', projectDomain: 'Cloud' },
};

test('a token is made for whoever is known, and given back by itself', async () => {
  keystone.state.login = { roles: ['admin'], lifeS: 900 };
  const lent = await desk.login(WORDS);
  expect(lent).toEqual(ok({ token: 'ours-1', user: expect.any(String), lifeMs: 900_000 }));
  await desk.giveBack('ours-1');
  expect(keystone.state.revoked).toEqual([{ token: 'ours-1', by: 'ours-1' }]);
});

test('who is not known gets none', async () => {
  keystone.state.login = null;
  expect(await desk.login(WORDS)).toEqual(ok(null));
});

test.each([500, 403, 300])(
  'a Keystone that says %d is a fault, without the password',
  async (it) => {
    keystone.state.broken = { status: it, body: { error: { message: `bad ${WORDS.password}` } } };
    const fault = await desk.login(WORDS);
    if (fault.ok) throw new Error('let in');
    expect(explainFault(fault.error)).toContain('Keystone');
    expect(explainFault(fault.error)).not.toContain(WORDS.password);
    await desk.giveBack('ours-1');
  },
);
