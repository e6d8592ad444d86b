import type { OutgoingHttpHeaders } from 'node:http';
import { describe, expect, test } from 'vitest';
import {
  api,
  asRequestsDoes,
  CINDER,
  createBody,
  deleteInfo,
  PATH,
  post,
  remove,
  SNAPSHOT,
  VOLUME,
} from './harness.ts';

const FILE_RULE =
  'it must be a bare file name of at most 255 letters, digits and . _ : @ + -, without any ' +
  'directory, such as volume-1234.snapshot-abcd.';
const ID_RULE = 'it must be 1 to 255 printable ASCII characters without a slash.';
const at = (field: string) => `Invalid input for field/attribute ${field}: `;
const INFO = 'snapshot.create_info';
const valid = JSON.stringify(createBody());
const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
const withFile = (name: string): [string, object, string] => [
  `new_file ${JSON.stringify(name)}`,
  createBody({ new_file: name }),
  at(`${INFO}.new_file`) + FILE_RULE,
];

describe('a create with', () => {
  test.each<[string, string | Buffer | object, string]>([
    ['no body', '', 'Malformed request body: it is not valid JSON.'],
    ['half a body', valid.slice(0, -1), 'Malformed request body: it is not valid JSON.'],
    ['a tail', `${valid}x`, 'Malformed request body: it is not valid JSON.'],
    ['two documents', valid + valid, 'Malformed request body: it is not valid JSON.'],
    ['NaN', '{"snapshot":NaN}', 'Malformed request body: it is not valid JSON.'],
    ['XML', '<snapshot/>', 'Malformed request body: it is not valid JSON.'],
    ['a byte order mark', `\ufeff${valid}`, 'Malformed request body: it is not valid JSON.'],
    ['UTF-16', Buffer.from(valid, 'utf16le'), 'Malformed request body: it is not valid JSON.'],
    ['Latin-1', Buffer.from([0x22, 0xe9, 0x22]), 'Malformed request body: it is not valid UTF-8.'],
    ['null', 'null', 'The request body must be a JSON object.'],
    ['a list', '[]', 'The request body must be a JSON object.'],
    ['a string', '"snapshot"', 'The request body must be a JSON object.'],
    ['a number', '1e999', 'The request body must be a JSON object.'],
    ['nesting', deep(9), 'Malformed request body: it is nested deeper than 8.'],
    ['much nesting', deep(8000), 'Malformed request body: it is nested deeper than 8.'],
    [
      'nesting below an unknown key',
      valid.replace('{', `{"x":${'{"a":'.repeat(8)}1${'}'.repeat(8)},`),
      'Malformed request body: it is nested deeper than 8.',
    ],
    [
      'snapshot twice',
      valid.replace('{', '{"snapshot":{},'),
      "Malformed request body: the key 'snapshot' appears twice.",
    ],
    [
      'new_file twice',
      valid.replace('"new_file"', '"new_file":"evil","new_file"'),
      "Malformed request body: the key 'new_file' appears twice.",
    ],
    [
      'new_file twice, once escaped',
      valid.replace('"new_file"', '"new\\u005ffile" : "evil","new_file"'),
      "Malformed request body: the key 'new_file' appears twice.",
    ],
    [
      '__proto__',
      valid.replace('{', '{"__proto__":{"a":1},'),
      "Malformed request body: the key '__proto__' is not allowed.",
    ],
    [
      '__proto__, escaped',
      valid.replace('{', '{"\\u005f_proto__":{},'),
      "Malformed request body: the key '__proto__' is not allowed.",
    ],
    [
      'constructor',
      valid.replace('{', '{"constructor":{"prototype":{}},'),
      "Malformed request body: the key 'constructor' is not allowed.",
    ],
    ['an empty object', {}, `${at('snapshot')}'snapshot' is a required property.`],
    ['snapshot null', { snapshot: null }, `${at('snapshot')}it must be a JSON object.`],
    [
      'no volume_id',
      createBody({}, { volume_id: undefined }),
      `${at('snapshot.volume_id')}'volume_id' is a required property.`,
    ],
    [
      'no create_info',
      createBody({}, { create_info: undefined }),
      `${at(INFO)}'create_info' is a required property.`,
    ],
    [
      'create_info a list',
      createBody({}, { create_info: [] }),
      `${at(INFO)}it must be a JSON object.`,
    ],
    [
      'no snapshot_id',
      createBody({ snapshot_id: undefined }),
      `${at(`${INFO}.snapshot_id`)}'snapshot_id' is a required property.`,
    ],
    [
      'no type',
      createBody({ type: undefined }),
      `${at(`${INFO}.type`)}'type' is a required property.`,
    ],
    [
      'no new_file',
      createBody({ new_file: undefined }),
      `${at(`${INFO}.new_file`)}'new_file' is a required property.`,
    ],
    ['type raw', createBody({ type: 'raw' }), `${at(`${INFO}.type`)}it must be 'qcow2'.`],
    ['type QCOW2', createBody({ type: 'QCOW2' }), `${at(`${INFO}.type`)}it must be 'qcow2'.`],
    ['type null', createBody({ type: null }), `${at(`${INFO}.type`)}it must be 'qcow2'.`],
    [
      'a number for volume_id',
      createBody({}, { volume_id: 1 }),
      `${at('snapshot.volume_id')}it must be a string.`,
    ],
    ['an empty volume_id', createBody({}, { volume_id: '' }), at('snapshot.volume_id') + ID_RULE],
    [
      'a slash in volume_id',
      createBody({}, { volume_id: 'a/b' }),
      at('snapshot.volume_id') + ID_RULE,
    ],
    ['volume_id ..', createBody({}, { volume_id: '..' }), at('snapshot.volume_id') + ID_RULE],
    [
      'a long id',
      createBody({ snapshot_id: 'x'.repeat(256) }),
      at(`${INFO}.snapshot_id`) + ID_RULE,
    ],
    [
      'a newline in an id',
      createBody({ snapshot_id: 'a\nb' }),
      at(`${INFO}.snapshot_id`) + ID_RULE,
    ],
    [
      'half a character',
      createBody({ snapshot_id: '\ud800' }),
      at(`${INFO}.snapshot_id`) + ID_RULE,
    ],
    ['id null', createBody({ id: null }), `${at(`${INFO}.id`)}it must be a string.`],
    [
      'a key beside snapshot',
      createBody({}, {}, { force: true }),
      "Additional properties are not allowed ('force' was unexpected).",
    ],
    [
      'a key in snapshot',
      createBody({}, { a: 1, b: 2 }),
      "Additional properties are not allowed ('a', 'b' were unexpected).",
    ],
    [
      'a key in create_info that looks like a path',
      createBody({ '/etc/passwd': 1 }),
      'Additional properties are not allowed (with an odd name was unexpected).',
    ],
    withFile(''),
    withFile('.'),
    withFile('..'),
    withFile('/etc/passwd'),
    withFile('../volume-1'),
    withFile('a/b'),
    withFile('a/../b'),
    withFile('.hidden'),
    withFile('-o'),
    withFile('a b'),
    withFile('a\u0000b'),
    withFile('a\nb'),
    withFile('json:{"driver":"file"}'),
    withFile('a\\b'),
    withFile('é'),
    withFile('a<b>'),
    withFile('x'.repeat(256)),
  ])('%s', async (_, body, message) => {
    const it = api();
    const answer = await post(it, body);
    expect(answer.json()).toEqual({ badRequest: { code: 400, message } });
    expect(answer.statusCode).toBe(400);
    expect(answer.headers['content-type']).toBe('application/json; charset=UTF-8');
    expect(it.calls).toEqual([]);
  });
});

describe('a delete with', () => {
  const info = (change: object) => `?delete_info=${asRequestsDoes(deleteInfo(change))}`;
  const text = (json: string) => `?delete_info=${encodeURIComponent(json)}`;
  const good = JSON.stringify(deleteInfo());
  const NO_INFO = "Query parameter 'delete_info' is missing: give its JSON.";
  const JSON_RULE = 'Malformed delete_info: it is not valid JSON.';

  test.each<[string, string, string, string?]>([
    ['no query', '', NO_INFO],
    ['another query', '?x=1', NO_INFO],
    ['an empty delete_info', '?delete_info=', JSON_RULE],
    ['a bare delete_info', '?delete_info', JSON_RULE],
    ['half of it', text(good.slice(0, -1)), JSON_RULE],
    ['a raw &', `?delete_info=${asRequestsDoes(deleteInfo()).replace('volume', 'a&b')}`, JSON_RULE],
    ['null', text('null'), 'delete_info must be a JSON object.'],
    ['a list', text('[]'), 'delete_info must be a JSON object.'],
    ['a string', text('"x"'), 'delete_info must be a JSON object.'],
    ['nesting', text(deep(9)), 'Malformed delete_info: it is nested deeper than 8.'],
    [
      'a key twice',
      text(good.replace('{', '{"merge_target_file":"x",')),
      "Malformed delete_info: the key 'merge_target_file' appears twice.",
    ],
    [
      '__proto__',
      text(good.replace('{', '{"__proto__":{},')),
      "Malformed delete_info: the key '__proto__' is not allowed.",
    ],
    [
      'no volume_id',
      info({ volume_id: undefined }),
      "delete_info: 'volume_id' is a required property.",
    ],
    ['volume_id null', info({ volume_id: null }), `${at('volume_id')}it must be a string.`],
    ['a slash in volume_id', info({ volume_id: '../x' }), at('volume_id') + ID_RULE],
    [
      'no file_to_merge',
      info({ file_to_merge: undefined }),
      "delete_info: 'file_to_merge' is a required property.",
    ],
    [
      'no merge_target_file',
      info({ merge_target_file: undefined }),
      "delete_info: 'merge_target_file' is a required property.",
    ],
    ['type raw', info({ type: 'raw' }), `${at('type')}it must be 'qcow2'.`],
    [
      'file_to_merge a number',
      info({ file_to_merge: 1 }),
      `${at('file_to_merge')}it must be a string.`,
    ],
    ['file_to_merge empty', info({ file_to_merge: '' }), at('file_to_merge') + FILE_RULE],
    ['file_to_merge /a', info({ file_to_merge: '/a' }), at('file_to_merge') + FILE_RULE],
    ['a + in a name', info({ file_to_merge: 'a+b' }), at('file_to_merge') + FILE_RULE],
    ['a target ../a', info({ merge_target_file: '../a' }), at('merge_target_file') + FILE_RULE],
    [
      'two different delete_info',
      `${info({})}&${info({ file_to_merge: null }).slice(1)}`,
      "Two different 'delete_info' were given.",
    ],
    [
      'broken percent signs',
      '?delete_info=%7',
      'Malformed query string: it is not percent-encoded UTF-8.',
    ],
    [
      'an overlong slash',
      '?delete_info=%c0%af',
      'Malformed query string: it is not percent-encoded UTF-8.',
    ],
    ['a slash in the id', info({}), `Invalid snapshot id: ${ID_RULE}`, 'a%2fb'],
    ['a control character in the id', info({}), `Invalid snapshot id: ${ID_RULE}`, 'a%00'],
    ['a long id', info({}), `Invalid snapshot id: ${ID_RULE}`, 'x'.repeat(256)],
    ['a broken id', info({}), 'Malformed request URL.', '%zz'],
  ])('%s', async (_, query, message, id = SNAPSHOT) => {
    const it = api();
    const answer = await remove(it, query, {}, id);
    expect(answer.json()).toEqual({ badRequest: { code: 400, message } });
    expect(answer.statusCode).toBe(400);
    expect(it.calls).toEqual([]);
  });

  test('an unknown key in the query at 2.75', async () => {
    const it = api();
    const headers = { 'openstack-api-version': 'compute 2.75' };
    const answer = await remove(it, `${info({})}&force=1`, headers);
    const message = "Additional properties are not allowed ('force' was unexpected).";
    expect(answer.json()).toEqual({ badRequest: { code: 400, message } });
    expect(it.calls).toEqual([]);
  });
});

describe('a request with', () => {
  interface Bad {
    readonly method?: string;
    readonly url?: string;
    readonly headers?: OutgoingHttpHeaders;
    readonly payload?: string;
  }
  const range = (version: string) =>
    `Version ${version} is not supported by the API. Minimum is 2.1 and maximum is 2.75.`;
  const format = (version: string) =>
    `API Version String ${version}is of invalid format. Must be of format MajorNum.MinorNum.`;
  const NOWHERE = 'The resource could not be found.';
  const METHOD = 'The method specified is not allowed for this resource.';
  const TYPE = 'Unsupported Content-Type: send application/json.';
  const version = (text: string) => ({ headers: { 'x-openstack-nova-api-version': text } });
  const many = Object.fromEntries(Array.from({ length: 70 }, (_, n) => [`x-${n}`, '1']));

  test.each<[string, Bad, number, string, string]>([
    ['version 2.76', version('2.76'), 406, 'computeFault', range('2.76')],
    ['version 2.0', version('2.0'), 406, 'computeFault', range('2.0')],
    ['version 1.1', version('1.1'), 406, 'computeFault', range('1.1')],
    ['version 3.0', version('3.0'), 406, 'computeFault', range('3.0')],
    ['version 2', version('2'), 400, 'badRequest', format('2 ')],
    ['version 2.01', version('2.01'), 400, 'badRequest', format('2.01 ')],
    ['an empty version', version(''), 400, 'badRequest', format('')],
    ['version <x>', version('<x>'), 400, 'badRequest', format('')],
    [
      'a version of two parts',
      { headers: { 'openstack-api-version': 'compute 2.1 x' } },
      400,
      'badRequest',
      format(''),
    ],
    ['an unknown path', { url: '/v2.1/servers' }, 404, 'itemNotFound', NOWHERE],
    ['an unknown root', { url: '/v3' }, 404, 'itemNotFound', NOWHERE],
    [
      'an odd project',
      { url: '/v2.1/NOPE/os-assisted-volume-snapshots' },
      404,
      'itemNotFound',
      NOWHERE,
    ],
    ['GET', { method: 'GET' }, 405, 'badMethod', METHOD],
    ['PUT', { method: 'PUT' }, 405, 'badMethod', METHOD],
    ['OPTIONS', { method: 'OPTIONS' }, 405, 'badMethod', METHOD],
    ['PROPFIND', { method: 'PROPFIND' }, 405, 'badMethod', METHOD],
    ['DELETE of all', { method: 'DELETE' }, 405, 'badMethod', METHOD],
    ['POST to the root', { url: '/' }, 405, 'badMethod', METHOD],
    ['POST to a snapshot', { url: `${PATH}/x` }, 405, 'badMethod', METHOD],
    ['POST to /healthcheck', { url: '/healthcheck' }, 405, 'badMethod', METHOD],
    ['an empty type', { headers: { 'content-type': '' } }, 415, 'badMediaType', TYPE],
    ['text', { headers: { 'content-type': 'text/plain' } }, 415, 'badMediaType', TYPE],
    ['half a type', { headers: { 'content-type': 'json' } }, 415, 'badMediaType', TYPE],
    [
      'a type that begins well',
      { headers: { 'content-type': 'application/jsonp' } },
      415,
      'badMediaType',
      TYPE,
    ],
    [
      'a form',
      { headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      415,
      'badMediaType',
      TYPE,
    ],
    [
      'a large body',
      { payload: valid + ' '.repeat(16_384) },
      413,
      'overLimit',
      'The request body exceeds 16384 bytes.',
    ],
    [
      'a long URL',
      { url: `${PATH}?x=${'x'.repeat(8192)}` },
      414,
      'computeFault',
      'The URL exceeds 8192 bytes.',
    ],
    [
      'a long id in the URL',
      { method: 'DELETE', url: `${PATH}/${'x'.repeat(9000)}` },
      414,
      'computeFault',
      'The URL exceeds 8192 bytes.',
    ],
    [
      'large headers',
      { headers: { 'x-large': 'x'.repeat(16_384) } },
      431,
      'computeFault',
      'The headers exceed 16384 bytes.',
    ],
    ['many headers', { headers: many }, 431, 'computeFault', 'More than 64 header fields.'],
  ])('%s', async (_, bad, status, name, message) => {
    const it = api();
    const { method = 'POST', url = PATH, payload = valid } = bad;
    const answer = await it.app.inject({
      method: method as 'POST',
      url,
      headers: { ...CINDER, 'content-type': 'application/json', ...bad.headers },
      payload,
    });
    expect(answer.json()).toEqual({ [name]: { code: status, message } });
    expect(answer.statusCode).toBe(status);
    expect(answer.headers['content-type']).toBe('application/json; charset=UTF-8');
    if (status === 405) expect(answer.headers.allow).toMatch(/^(GET, HEAD|POST|DELETE)$/);
    expect(it.calls).toEqual([]);
  });

  test('a body without a content type', async () => {
    const it = api();
    const answer = await it.app.inject({ method: 'POST', url: PATH, payload: valid });
    expect(answer.json()).toEqual({ badMediaType: { code: 415, message: TYPE } });
    expect(it.calls).toEqual([]);
  });

  test('a HEAD of what cannot be read has no body', async () => {
    const answer = await api().app.inject({ method: 'HEAD', url: PATH });
    expect([answer.statusCode, answer.body]).toEqual([405, '']);
  });

  test('the largest body that is allowed', async () => {
    const it = api();
    expect((await post(it, valid.padEnd(16_384))).statusCode).toBe(200);
    expect(it.calls[0]?.request.volume).toBe(VOLUME);
  });
});
