import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { XMLValidator } from 'fast-xml-parser';
import fastify from 'fastify';
import { beforeEach, describe, expect, test } from 'vitest';
import { addPage, type PageWorld, POLICY } from '#adapters/operator/page/routes.ts';
import { systemClock } from '#adapters/system/clock.ts';
import type { Merge } from '#domain/chain.ts';
import type { Finding } from '#domain/diagnosis.ts';
import type { SnapshotId, VolumeId } from '#domain/ids.ts';
import { err, ok, type Result } from '#domain/result.ts';
import type { Saga } from '#domain/saga.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import type { ChainReport, Diagnosis, OperationReport, Progress } from '#ports/inspect.ts';
import type { Operation } from '#ports/journal.ts';
import { chain, file } from '../../../support/chains.ts';
import { disk, header, headersOf, SERVER } from '../../../support/sights.ts';
import { AWAY, CHAIN, ENDED, OPEN, pretendTelemetry, ROTTEN } from '../pretend-inspect.ts';
import * as hostile from './hostile.ts';

const NOW = ENDED.updatedAt + 3_600_000;
let host: {
  volumes: Result<readonly Diagnosis[], Trouble>;
  open: Operation[];
  ended: Operation[];
  progress: Progress | null;
  chain: Result<ChainReport, Trouble>;
  story: OperationReport | null;
};
let telemetry = pretendTelemetry();
beforeEach(() => {
  telemetry = pretendTelemetry();
  host = {
    volumes: ok([diagnosed(CHAIN)]),
    open: [],
    ended: [ENDED],
    progress: null,
    chain: ok(CHAIN),
    story: { operation: ENDED, evidence: [], notices: [] },
  };
});

function page(more: Partial<PageWorld['inspect']> = {}) {
  const app = fastify({ routerOptions: { maxParamLength: 500, ignoreTrailingSlash: true } });
  addPage(app, {
    host: 'cmp-04',
    telemetry,
    clock: { ...systemClock, now: () => NOW },
    inspect: {
      diagnoses: async () => host.volumes,
      chain: async () => host.chain,
      changes: async () => ({
        last: 0,
        operations: host.open.map((operation, seq) => ({ seq, operation })),
      }),
      operations: async (state) => (state === 'ended' ? host.ended : [...host.open, ...host.ended]),
      operation: async () => host.story,
      progress: () => host.progress,
      ...more,
    },
  });
  return app;
}

async function get(url = '/ui/', headers = {}, app = page()) {
  const answer = await app.inject({ url, headers });
  return { status: answer.statusCode, headers: answer.headers, body: answer.body };
}

/** What a person reads: without markup, one space between words. */
const words = (html: string): string =>
  html
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();

const diagnosed = (report: ChainReport): Diagnosis => ({
  volume: report.volume,
  server: SERVER,
  guest: 'instance-00000001',
  target: 'vda',
  report: ok(report),
});
const wrong = (code: Finding['code'], severity: Finding['severity']): Finding => ({
  code,
  severity,
  saw: `what is ${code}`,
  todo: `mend ${code}`,
});
const volume = (name: string, more: Partial<ChainReport> = {}): ChainReport => ({
  ...CHAIN,
  volume: name as VolumeId,
  ...more,
});

describe('the three answers', () => {
  const answers = async () => {
    const { body } = await get();
    const list = /<ul id="answers"[\s\S]*?<\/ul>/.exec(body)?.[0] ?? '';
    return [...list.matchAll(/<strong>(.*?)<\/strong>/g)].map(([, it]) => it);
  };

  test('all is well', async () => {
    expect(await answers()).toEqual(['Nothing needs you', 'Nothing runs', '1 volume agrees']);
    expect((await get()).body).toContain('<title>All well · cmp-04 · chainkeeper</title>');
  });

  test('something is wrong, and something runs', async () => {
    const ill = volume('ill', { findings: [wrong('header-lies', 'error')] });
    const odd = volume('odd', { findings: [wrong('chain-deep', 'warning')] });
    host.volumes = ok([CHAIN, ill, odd].map(diagnosed));
    host.open = [OPEN];
    const needs = ['2 things need you', '1 operation runs', '1 of 3 volumes agree'];
    expect(await answers()).toEqual(needs);
    const { body } = await get();
    expect(body).toContain('<title>1 error · cmp-04');
    expect(body.indexOf('what is header-lies')).toBeLessThan(body.indexOf('what is chain-deep'));
    expect(words(body)).toContain('Next: mend header-lies');
  });

  test('what nobody could look at is not called well', async () => {
    host.volumes = err(AWAY);
    expect(await answers()).toEqual(['Not known', 'Nothing runs', 'The first look is under way']);
    expect(words((await get()).body)).toContain('libvirt');
    host.volumes = ok([{ ...diagnosed(CHAIN), report: err(ROTTEN) }]);
    expect((await answers())[2]).toBe('0 of 1 volumes agree');
  });

  test('a Cinder that says nothing is no Cinder that agrees', async () => {
    host.volumes = ok([diagnosed({ ...CHAIN, cinder: null, snapshots: null })]);
    const { body } = await get();
    expect(words(body)).toContain('Cinder said nothing of 1');
    expect(body).toContain('<li class="answer silent"><a href="#chains">');
  });

  test('what Cinder is still taking in needs nobody, for as long as it may take', async () => {
    const behind = wrong('active-behind', 'warning');
    const taking = volume('volume-1', { findings: [behind] });
    host.volumes = ok([diagnosed(taking)]);
    host.ended = [{ ...ENDED, updatedAt: NOW - 899_000 }];
    expect((await answers())[0]).toBe('Nothing needs you');
    expect(words((await get()).body)).toContain('1 more comes with a change');
    host.ended = [{ ...ENDED, updatedAt: NOW - 900_000 }];
    expect((await answers())[0]).toBe('1 thing needs you');
    host.volumes = ok([diagnosed({ ...taking, findings: [{ ...behind, severity: 'error' }] })]);
    host.ended = [{ ...ENDED, updatedAt: NOW }];
    expect((await answers())[0]).toBe('1 thing needs you');
  });

  test('an outcome that nobody knows is said once, also of a volume that is gone', async () => {
    const unknown = { ...ENDED, saga: { ...ENDED.saga, outcome: 'unknown' } as Saga };
    host.ended = [unknown];
    expect((await answers())[0]).toBe('1 thing needs you');
    expect(words((await get()).body)).toContain('Next: chainkeeper ops show op-1');
    const saw = { ...wrong('operation-unknown', 'error'), todo: 'chainkeeper ops settle op-1' };
    host.volumes = ok([diagnosed({ ...CHAIN, findings: [saw] })]);
    expect((await answers())[0]).toBe('1 thing needs you');
  });
});

describe('what runs', () => {
  const merging = { ...hostile.MERGING, id: OPEN.id, requestId: 'req-77', saga: MERGING };

  test('with progress, rate, time left, request id and place in the journal', async () => {
    host.open = [merging];
    host.progress = {
      job: 'commit',
      done: 2 ** 30,
      total: 2 ** 32,
      rate: 2 ** 27,
      secondsLeft: 84,
    };
    host.story = {
      operation: merging,
      evidence: [{ seq: 7, at: NOW, kind: 'started', detail: 'commit s1 into v' }],
      notices: [],
    };
    const { body } = await get();
    expect(body).toMatch(/<progress max="100" value="25"/);
    expect(words(body)).toContain('25% 128 MiB/s 1 min 24 s left');
    expect(words(body)).toContain('1 operation runs 1 min 24 s left');
    expect(words(body)).toContain('req-77');
    expect(words(body)).toMatch(/journal 7, \d\d:\d\d:\d\d : started commit s1 into v/);
    expect(body).toMatch(/<li class="layer going"[^>]*title="s1">.*goes down into v/);
  });

  test('a job without numbers has no percentage', async () => {
    host.open = [merging];
    host.progress = { job: 'commit', done: 0, total: 1, rate: null, secondsLeft: null };
    const { body } = await get();
    expect(body).toMatch(/<progress max="100" aria-label/);
    expect(words(body)).toContain('beginning or ending');
  });

  test('a pull says what goes up, and a create what becomes active', async () => {
    const { body: pull } = await told({ ...MERGING.plan, merge: { kind: 'pull', onto: null } });
    expect(pull.match(/goes up into s2/g)).toHaveLength(2);
    const { body: partly } = await told({
      ...MERGING.plan,
      merge: { kind: 'pull', onto: MERGING.plan.after.on?.file ?? null },
    });
    expect(partly.match(/goes up into s2/g)).toHaveLength(1);
  });

  async function told(plan: (typeof MERGING)['plan']) {
    const operation = { ...merging, saga: { ...MERGING, plan } };
    host.open = [operation];
    host.story = { operation, evidence: [], notices: [] };
    return get();
  }
});

const MERGING = {
  ...(hostile.MERGING.saga as Extract<Saga, { at: 'merging' }>),
  request: { ...(ENDED.saga as Extract<Saga, { kind: 'delete' }>).request },
  plan: {
    ...(hostile.MERGING.saga as Extract<Saga, { at: 'merging' }>).plan,
    merge: { kind: 'commit', top: file('s1'), into: file('v') } as Merge,
    before: chain('s2', 's1', 'v'),
    after: chain('s2', 'v'),
  },
};

describe('the chains', () => {
  test('each drawn base first, with format, size and owner of each layer', async () => {
    const id = '0b0e4d4c-3a55-4b0e-9d0d-5b2d4f5f0a11' as SnapshotId;
    const gone = 'aaaaaaaa-3a55-4b0e-9d0d-5b2d4f5f0a11';
    const files = chain(`v.${id}`, `v.${gone}`, 'v.odd', 'v');
    const snapshots = [{ id, volume: CHAIN.volume, status: 'available', progress: null }];
    const headers = headersOf(files);
    host.volumes = ok([diagnosed({ ...CHAIN, guest: disk(files), headers, snapshots })]);
    const { body } = await get();
    const drawn = /<ol class="chain"[\s\S]*?<\/ol>/.exec(body)?.[0] ?? '';
    expect([...drawn.matchAll(/<li[\s\S]*?<\/li>/g)].map(([it]) => words(it))).toEqual([
      'raw 1 GiB the volume',
      'qcow2 192 KiB nobody known',
      'qcow2 192 KiB snapshot aaaaaaaa, since deleted',
      'qcow2 192 KiB ACTIVE, snapshot 0b0e4d4c, available',
    ]);
  });

  test('what a witness contradicts is marked where it is', async () => {
    const headers = { ...CHAIN.headers, s2: header()('v', 'raw') };
    host.volumes = ok([diagnosed({ ...CHAIN, headers, cinder: 's1' })]);
    const drawn = /<ol class="chain"[\s\S]*?<\/ol>/.exec((await get()).body)?.[0] ?? '';
    expect([...drawn.matchAll(/<li[\s\S]*?<\/li>/g)].map(([it]) => words(it))).toEqual([
      'raw 1 GiB the volume',
      'qcow2 192 KiB nobody known in use, says Cinder',
      'qcow2 192 KiB ACTIVE, nobody known contradicted',
    ]);
    expect(drawn.match(/class="layer [a-z ]*wrong"/g)).toHaveLength(2);
  });

  test('of a deep one the middle is folded, and its own page has all of it', async () => {
    const deep = chain(...Array.from({ length: 12 }, (_, at) => `s${at}`), 'v');
    host.volumes = ok([diagnosed({ ...CHAIN, guest: disk(deep), headers: headersOf(deep) })]);
    const { body } = await get();
    expect(body.match(/<li class="layer/g)).toHaveLength(5);
    expect(words(body)).toContain('8 more');
    host.chain = ok({ ...CHAIN, guest: disk(deep), headers: headersOf(deep) });
    expect((await get('/ui/chains/volume-1')).body.match(/<li class="layer/g)).toHaveLength(13);
  });

  test('a witness who was not heard does not agree, and the one who lies is named', async () => {
    const findings = [wrong('header-lies', 'error'), wrong('chain-deep', 'warning')];
    host.volumes = ok([diagnosed({ ...CHAIN, cinder: null, findings })]);
    const { body } = await get();
    const cells = /<td class="number">384 KiB<\/td>([\s\S]*?)<\/tr>/.exec(body)?.[1] ?? '';
    expect(cells.split('</td>').map(words)).toEqual([
      '! chain-deep',
      '✗ header-lies',
      '– no word',
      '✓ agrees',
      '',
    ]);
  });

  test('those that need somebody come first, then those at work, then the deepest', async () => {
    const depth = (name: string, ...files: string[]) =>
      volume(name, { guest: disk(chain(...files)) });
    host.volumes = ok(
      [
        depth('flat', 'v'),
        depth('deep', 's2', 's1', 'v'),
        volume('warned', { findings: [wrong('chain-deep', 'warning')] }),
        volume('volume-1', { guest: disk(chain('v')) }),
        volume('ill', { findings: [wrong('header-lies', 'error')] }),
      ].map(diagnosed),
    );
    host.open = [OPEN];
    const { body } = await get();
    const rows = [...body.matchAll(/<tr data-key="(.*?)\/server-1"/g)];
    expect(rows.map(([, name]) => name)).toEqual(['ill', 'warned', 'volume-1', 'deep', 'flat']);
  });

  test('a thousand are in pages, and can be searched', async () => {
    host.volumes = ok(Array.from({ length: 1000 }, (_, at) => diagnosed(volume(`v-${at}`))));
    const { body } = await get('/ui/?page=20');
    expect(body.match(/<tr data-key="v-/g)).toHaveLength(50);
    expect(words(body)).toContain('1000 volumes, page 20 of 20');
    expect(words((await get('/ui/?page=99')).body)).toContain('page 20 of 20');
    const found = await get('/ui/?find=v-77&page=x');
    expect(words(found.body)).toContain('11 volumes with “v-77” in them');
    const odd = await get(`/ui/?find=${encodeURIComponent('"><script>')}&find=x`);
    expect(odd.body).toContain('&quot;&gt;&lt;script&gt;');
  });
});

test('depth and size over all chains of this host', async () => {
  const flat = volume('flat', { guest: disk(chain('v')), headers: {} });
  host.volumes = ok([CHAIN, flat].map(diagnosed));
  const { body } = await get();
  const bars = /<table class="bars">([\s\S]*?)<\/table>/.exec(body)?.[1] ?? '';
  expect(words(bars)).toContain('Layers Volumes 1 1 2 0 3 to 4 1 5 to 8 0');
  expect(words(body)).toContain('Volumes 2, 4 files Virtual size 2 GiB In overlays 384 KiB');
  expect(words(body)).toContain('Deepest volume-1 , 3 layers');
});

test('the story of an operation, with request ids and the numbers of the journal', async () => {
  host.story = {
    operation: { ...ENDED, requestId: 'req-own', globalRequestId: 'req-global' },
    evidence: [{ seq: 12, at: ENDED.askedAt, kind: 'decided', detail: 'commit s1 into v' }],
    notices: [
      {
        seq: 13,
        operation: ENDED.id,
        snapshot: ENDED.saga.request.snapshot,
        update: { kind: 'deleted', formats: [] },
        state: 'pending',
      },
    ],
  };
  const { body } = await get('/ui/operations/op-1');
  const text = words(body);
  expect(text).toContain('✓ merged · the chain is s2 on v');
  expect(text).toContain('Request id req-own Global request id req-global');
  expect(text).toContain('12 22:13:20 decided commit s1 into v');
  expect(text).toContain('13 deleted pending');
  expect(text).toContain('Where the time went preflight 2.125 ms event 40 ms');
  expect((await get('/ui/operations?state=ended')).body).toContain('href="/ui/operations/op-1"');
});

describe('what others have named', () => {
  const PAGES = ['/ui/', '/ui/operations', '/ui/operations/x', '/ui/chains/x'];

  test.each(PAGES)('is text on %s, whatever it is', async (url) => {
    host.volumes = ok([hostile.DIAGNOSED, { ...hostile.DIAGNOSED, report: err(EVIL) }]);
    host.open = [hostile.MERGING];
    host.ended = [hostile.PARKED];
    host.chain = ok(hostile.HOSTILE);
    host.progress = { job: 'commit', done: 1, total: 4, rate: 1, secondsLeft: 3 };
    host.story = hostile.story(url === '/ui/operations/x' ? hostile.PARKED : hostile.MERGING);
    const { body } = await get(url);
    expect(body).toContain('&lt;script src=');
    expect(body.match(/<script[^>]*>/g)).toEqual(['<script type="module" src="/ui/page.js">']);
    expect(body).not.toMatch(/<img|\u202e|\son\w+=["']/);
    expect(body).not.toMatch(/\s(href|src)="(?!\/ui\/|#|"|)/);
    // Nothing has broken out of its attribute: it is a well-formed document still.
    expect(XMLValidator.validate(asXml(body), { allowBooleanAttributes: true })).toBe(true);
  });

  test('is text in a sentence about what could not be seen', async () => {
    host.chain = err(EVIL);
    const { status, body } = await get('/ui/chains/x');
    expect([status, body.includes('<img')]).toEqual([404, false]);
    host.volumes = err({
      ...AWAY,
      fault: { kind: 'unreachable', who: 'libvirt', detail: '<img>' },
    } as Trouble);
    expect((await get()).body).toContain('&lt;img&gt;');
  });

  test('no template leaves an attribute without its quotes', () => {
    const folder = 'src/adapters/operator/page';
    const texts = readdirSync(folder)
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(join(folder, name), 'utf8'));
    expect(texts.join('').match(/\s[\w-]+=\$\{/g)).toBe(null);
    // Only html() and the doctype make markup of a text.
    expect(texts.join('').match(/new Html\(/g)).toHaveLength(1);
  });
});

const EVIL: Trouble = {
  kind: 'refused',
  refusal: { kind: 'bad-request', problem: hostile.evil('refusal') },
};

/** HTML as this page writes it, with its void elements closed. */
const asXml = (body: string): string =>
  body.replace('<!doctype html>', '').replace(/<(meta|link|input|br)\b([^>]*)>/g, '<$1$2/>');

describe('the answers', () => {
  const PLACES = ['/ui/', '/ui/operations', '/ui/page.js', '/ui/page.css', '/ui/icon.svg'];

  test.each([...PLACES, '/ui/nothing', '/nothing'])('%s has the policy', async (url) => {
    const { headers } = await get(url);
    expect(headers['content-security-policy']).toBe(POLICY);
    expect(headers['x-content-type-options']).toBe('nosniff');
  });

  test('the policy lets in our own script, style, data and picture, and no form', () => {
    expect(POLICY).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
  });

  test.each(PLACES)('%s needs not be sent twice, and has a HEAD', async (url) => {
    const app = page();
    const first = await app.inject({ url });
    const etag = String(first.headers.etag);
    const again = await app.inject({ url, headers: { 'if-none-match': etag } });
    expect([first.statusCode, again.statusCode, again.body]).toEqual([200, 304, '']);
    const head = await app.inject({ method: 'HEAD', url });
    expect([head.statusCode, head.body, head.headers.etag]).toEqual([200, '', etag]);
    const other = await app.inject({ url, headers: { 'if-none-match': '"x"' } });
    expect(other.statusCode).toBe(200);
  });

  test.each(['/ui/nothing', '/ui/operations/x', '/ui/chains/x', '/ui/../etc'])(
    '%s is not there',
    async (url) => {
      host.story = null;
      host.chain = err(ROTTEN);
      expect((await get(url)).status).toBe(404);
    },
  );

  test('libvirt that does not answer is no missing page', async () => {
    host.chain = err(AWAY);
    expect((await get('/ui/chains/x')).status).toBe(503);
  });

  test.each(['POST', 'PUT', 'DELETE'] as const)('%s is not for a page', async (method) => {
    expect((await page().inject({ method, url: '/ui/' })).statusCode).toBe(404);
  });
});
