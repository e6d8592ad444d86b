import { expect, test } from 'vitest';
import type { Refusal } from '#domain/failure.ts';
import type { ServerId } from '#domain/ids.ts';
import { err } from '#domain/result.ts';
import { api, asRequestsDoes, CINDER, createBody, deleteInfo, PATH, post } from './harness.ts';

const server = 'server-1' as ServerId;
const refusing = (refusal: Refusal) => async () => err({ kind: 'refused', refusal } as const);
const away = (host?: string) =>
  refusing({ kind: 'guest-not-found', server, ...(host !== undefined && { host }) });
const hosts = { compute2: 'https://compute2.example:8797' };

test('a request for a guest of another host is sent on to it, as it came', async () => {
  const it = api({ answer: away('compute2'), hosts });
  const created = await post(it, createBody());
  expect(created.statusCode).toBe(307);
  expect(created.headers.location).toBe(`https://compute2.example:8797${PATH}`);
  const url = `${PATH}/snapshot-1?delete_info=${asRequestsDoes(deleteInfo())}`;
  const deleted = await it.app.inject({ method: 'DELETE', url, headers: CINDER });
  expect(deleted.statusCode).toBe(307);
  expect(deleted.headers.location).toBe(`https://compute2.example:8797${url}`);
  expect(it.lines.join()).toContain('info Sent on to compute2');
});

test.each([
  ['nobody knows where it is', away()],
  ['its host is none that was named', away('compute3')],
  ['its host has a name of JavaScript', away('constructor')],
  ['it is here, and something else is in the way', refusing({ kind: 'guest-saved', server })],
])('it is refused when %s', async (_, answer) => {
  const no = await post(api({ answer, hosts }), createBody());
  expect(no.statusCode).toBe(400);
  expect(no.headers.location).toBeUndefined();
});

test('a host that names no others sends nothing on', async () => {
  expect((await post(api({ answer: away('compute2') }), createBody())).statusCode).toBe(400);
});
