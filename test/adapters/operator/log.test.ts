import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { OsloLog } from '#adapters/operator/log.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-log-'));
afterAll(() => rmSync(folder, { recursive: true }));

const NOON = new Date(2026, 10, 22, 7, 20, 11, 23).getTime();
let count = 0;

function open(says: { debug?: boolean; useJson?: boolean } = {}) {
  count += 1;
  const file = join(folder, `${count}.log`);
  const log = new OsloLog({
    debug: false,
    useJson: false,
    file,
    now: () => NOON,
    pid: 4242,
    ...says,
  });
  return { log, file, text: () => readFileSync(file, 'utf8') };
}

test('lines as oslo.log writes them', () => {
  const { log, text } = open();
  log.log('info', 'chainkeeper stops');
  log.log('warning', 'b', { requestId: 'req-1' });
  log.log('error', 'c', { requestId: 'req-1', globalRequestId: 'req-2', operation: 'op-1' });
  log.log('info', 'd', { requestId: 'req-1', user: 'u-1', project: 'p-1' });
  log.log('info', 'e', { requestId: 'req-1', user: 'a b]', project: null });
  expect(text().split('\n')).toEqual([
    '2026-11-22 07:20:11.023 4242 INFO chainkeeper [-] chainkeeper stops',
    '2026-11-22 07:20:11.023 4242 WARNING chainkeeper [None req-1 - - - - - -] b',
    '2026-11-22 07:20:11.023 4242 ERROR chainkeeper [req-2 req-1 - - - - - -] [operation: op-1] c',
    '2026-11-22 07:20:11.023 4242 INFO chainkeeper [None req-1 u-1 p-1 - - - -] d',
    '2026-11-22 07:20:11.023 4242 INFO chainkeeper [None req-1 - - - - - -] e',
    '',
  ]);
});

test('one record is one line that no terminal obeys', () => {
  const { log, text } = open();
  log.log('info', 'a\nb\r\tc \u001b[2J\u0000\u009b \u202e\u2028', { requestId: 'r\n' });
  expect(text()).toBe(
    '2026-11-22 07:20:11.023 4242 INFO chainkeeper [None r\\n - - - - - -] ' +
      'a\\nb\\r\\tc \\u001b[2J\\u0000\\u009b \\u202e\\u2028\n',
  );
});

test('debug lines only when asked for', () => {
  const quiet = open();
  quiet.log.log('debug', 'a');
  expect(quiet.text()).toBe('');
  const loud = open({ debug: true });
  loud.log.log('debug', 'a');
  expect(loud.text()).toContain(' DEBUG chainkeeper [-] a\n');
});

test("JSON with the keys of oslo.log's JSONFormatter", () => {
  const { log, text } = open({ useJson: true });
  log.log('warning', 'a\n\u009b', { requestId: 'req-1', operation: 'op-1', user: 'u-1' });
  expect(text()).not.toContain('\u009b');
  expect(text().split('\n')).toHaveLength(2);
  expect(JSON.parse(text())).toMatchObject({
    message: 'a\n\u009b',
    asctime: '2026-11-22 07:20:11,023',
    levelname: 'WARNING',
    levelno: 30,
    name: 'chainkeeper',
    process: 4242,
    context: { request_id: 'req-1', global_request_id: null, user_id: 'u-1' },
    extra: { operation: 'op-1' },
  });
});

test('a renamed file is followed until it is opened anew', () => {
  const { log, file } = open();
  log.log('info', 'before');
  renameSync(file, `${file}.1`);
  log.log('info', 'between');
  log.reopen();
  log.log('info', 'after');
  expect(readFileSync(`${file}.1`, 'utf8')).toMatch(/before\n.*between\n$/);
  expect(readFileSync(file, 'utf8')).toMatch(/ after\n$/);
});

test.each([
  ['X-Auth-Token: gAAAA-b', 'X-Auth-Token: ***'],
  ['{"x-service-token":"gAAAA","a":1}', '{"x-service-token":"***","a":1}'],
  ['Authorization: Basic dTpw', 'Authorization: Basic ***'],
  ['connect to rabbit://u:p#1@h:5672/', 'connect to rabbit://u:***@h:5672/'],
  ['password=a;b', 'password=***;b'],
  ["admin_password = 'x y'", "admin_password = '*** y'"],
  ['application_credential_secret: x', 'application_credential_secret: ***'],
  ['GET /v3?X-Auth-Token=abc&limit=1', 'GET /v3?X-Auth-Token=***&limit=1'],
  ["Secret not found: no secret with matching uuid 'a'", null],
  ['secret: nobody has it', null],
  ['a token of peace: none', null],
  ['http://127.0.0.1:8776/v3 says a@b', null],
])('what is secret by its name is not logged: %s', (said, logged) => {
  const { log, text } = open();
  log.log('info', said);
  expect(text().trim().split('[-] ')[1]).toBe(logged ?? said);
});
