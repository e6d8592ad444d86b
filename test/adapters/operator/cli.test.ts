import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { headerAt } from '#adapters/images/images.ts';
import { type AdminApi, listenAdmin } from '#adapters/operator/admin-api.ts';
import { runCli } from '#adapters/operator/cli.ts';
import { describedOptions } from '#app/config-sample.ts';
import { err, ok } from '#domain/result.ts';
import type { Check } from '#ports/doctor.ts';
import type { PlanReport } from '#ports/inspect.ts';
import type { Change, Operation } from '#ports/journal.ts';
import { chain, file, format } from '../../support/chains.ts';
import {
  AWAY,
  CHAIN,
  ENDED,
  LYING,
  OPEN,
  PLAN,
  pretendAssisted,
  pretendClock,
  pretendInspect,
  pretendMeasures,
  pretendOperate,
  pretendTelemetry,
  ROTTEN,
  SAID_NO,
} from './pretend-inspect.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-cli-'));
const socket = join(folder, 'a.sock');
const it = pretendInspect();
const orders = pretendOperate();
let checks: readonly Check[] = [];
let api: AdminApi;
/** What a shell hands on without a word, and no server reads. */
const LONG = 'a'.repeat(100_000);
/** Ctrl-C. */
let stop = Promise.withResolvers<void>();
let tty = false;

beforeAll(async () => {
  const listening = await listenAdmin(
    {
      inspect: it.inspect,
      operate: orders.operate,
      assisted: pretendAssisted().assisted,
      clock: pretendClock,
      telemetry: pretendTelemetry(),
      measures: pretendMeasures,
      host: 'cmp-04',
      document: () => ({}),
      eventsEveryMs: 20,
    },
    socket,
  );
  if (!listening.ok) throw new Error(listening.error);
  api = listening.value;
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  orders.ordered.length = 0;
  orders.answer = ok(ENDED);
  it.asked.length = 0;
  it.chain = ok(CHAIN);
  it.plan = ok(PLAN);
});

async function run(...argv: string[]) {
  let [out, said] = ['', ''];
  const served: (readonly string[])[] = [];
  const asked: unknown[] = [];
  const code = await runCli(argv, {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (said += text) },
    serve: async (files) => {
      served.push(files);
      return 7;
    },
    doctor: async (options) => {
      asked.push(options);
      return checks;
    },
    config: {
      sample: () => '[api]\n',
      options: describedOptions,
      validate: (files) => {
        asked.push(files);
        return checks;
      },
    },
    header: headerAt,
    interrupted: () => stop.promise,
    tty,
    width: 100,
    findSocket: (files) => (files.includes('bad') ? err('bad: no such file') : ok(socket)),
  });
  return { code, out, err: said, served, asked };
}

describe('chain show', () => {
  test('as a table', async () => {
    expect(await run('chain', 'show', 'server-1:vda')).toMatchObject({
      code: 0,
      err: 'chainkeeper: volume volume-1, server server-1 vda\n',
      out: `\
+-------+------+--------+---------+----------+--------+-------------------+
| layer | file | format | libvirt | header   | cinder | note              |
+-------+------+--------+---------+----------+--------+-------------------+
|     0 | v    | raw    | ok      | not read | -      | base, read-only   |
|     1 | s1   | qcow2  | ok      | ok       | -      | read-only         |
|     2 | s2   | qcow2  | ok      | ok       | ACTIVE | guest writes here |
+-------+------+--------+---------+----------+--------+-------------------+
`,
    });
    expect(it.asked).toEqual([{ ref: 'server-1:vda' }]);
  });

  test('as JSON and YAML, whole or by columns', async () => {
    const whole = JSON.parse((await run('chain', 'show', 'v', '-f', 'json')).out);
    expect(whole).toMatchObject({ volume: 'volume-1', layers: [{ file: 'v' }, {}, {}] });
    expect(parse((await run('chain', 'show', 'v', '-f', 'yaml')).out)).toEqual(whole);
    const some = await run('chain', 'show', 'v', '-f', 'json', '-c', 'file', '-c', 'cinder');
    expect(JSON.parse(some.out)[2]).toEqual({ file: 's2', cinder: 'ACTIVE' });
  });

  test('as bare values', async () => {
    const { out } = await run('chain', 'show', 'v', '-f', 'value', '-c', 'layer', '-c', 'file');
    expect(out).toBe('0 v\n1 s1\n2 s2\n');
  });

  test('problems go to stderr, and no terminal obeys them', async () => {
    it.chain = ok(LYING);
    for (const form of ['table', 'json', 'yaml', 'value']) {
      const shown = await run('chain', 'show', 'v', '-f', form);
      expect(shown.code).toBe(0);
      expect(shown.err).toContain('error header-lies: the header of s2 lies. Do: mend it\n');
      expect(shown.out + shown.err).not.toContain('\u001b');
    }
  });

  test.each([
    [ROTTEN, 1, 'is not attached'],
    [SAID_NO, 1, 'libvirt refused'],
    [AWAY, 5, 'libvirt cannot be reached'],
  ])('%s', async (trouble, code, sentence) => {
    it.chain = err(trouble);
    const shown = await run('chain', 'show', 'v');
    expect(shown).toMatchObject({ code, out: '', err: expect.stringContaining(sentence) });
  });
});

describe('plan', () => {
  const CREATE = ['plan', 'create', '--volume', 'v-1', '--snapshot', 's-1', '--new-file', 'new'];
  const INFO = '{"volume_id":"v-1","file_to_merge":"s1","merge_target_file":"v"}';
  const DELETE = ['plan', 'delete', '--volume', 'v-1', '--snapshot', 's-1', '--delete-info'];

  test('as a table', async () => {
    expect(await run(...DELETE, INFO)).toMatchObject({
      code: 0,
      err: '',
      out: `\
+-------------+------------------+
| Field       | Value            |
+-------------+------------------+
| verdict     | accepted         |
| action      | commit s1 into v |
| mend        | None             |
| before      | s2 (qcow2) on    |
|             | s1 (qcow2) on    |
|             | v (raw)          |
| after       | s2 (qcow2) on    |
|             | v (raw)          |
| file_format | v: raw           |
| refusal     | None             |
| reason      | None             |
+-------------+------------------+
`,
    });
    expect(it.asked).toEqual([
      { volume: 'v-1', snapshot: 's-1', fileToMerge: 's1', mergeTarget: 'v' },
    ]);
  });

  test('as JSON and bare values', async () => {
    const json = await run(...CREATE, '-f', 'json', '-c', 'verdict', '-c', 'file_format');
    expect(JSON.parse(json.out)).toEqual({ verdict: 'accepted', file_format: { v: 'raw' } });
    const { out } = await run(...CREATE, '-f', 'value', '-c', 'before', '-c', 'action');
    expect(out).toBe('s2 (qcow2) on\\ns1 (qcow2) on\\nv (raw)\ncommit s1 into v\n');
  });

  test('a refusal is data too, and exit 3', async () => {
    it.plan = err(ROTTEN);
    const refused = await run(...CREATE, '-f', 'json');
    expect(refused.code).toBe(3);
    expect(refused.err).toContain('refused: Volume volume-1 is not attached');
    expect(JSON.parse(refused.out)).toMatchObject({ verdict: 'refused', refusal: 'not-attached' });
    it.plan = err(AWAY);
    expect(await run(...CREATE)).toMatchObject({ code: 5, out: '' });
  });

  describe('--print-virsh', () => {
    const by = { ...PLAN.by, server: 'server-1' as PlanReport['by']['server'] };
    const off = { ...by, running: false };
    const create = {
      ...{ by, merge: null, before: chain('s2', 'v'), after: chain('new', 's2', 'v') },
      mends: { backing: file('s2'), format: format('qcow2') },
    };
    const all = { merge: { kind: 'pull', onto: null }, after: chain('s2') } as const;
    const pull = { merge: { kind: 'pull', onto: file('v') }, after: chain('s2', 'v') } as const;
    test.each<[string, Partial<PlanReport>, readonly string[]]>([
      [
        'a commit',
        { by },
        ['virsh blockcommit server-1 vda --top /mnt/s1 --base /mnt/v --keep-relative --wait'],
      ],
      [
        'a pull onto a base',
        { by, ...pull },
        [
          'virsh blockpull server-1 vda --base /mnt/v --keep-relative --wait',
          'virsh blockresize server-1 vda 1073741824B',
        ],
      ],
      ['a pull of everything', { by, ...all }, ['virsh blockpull server-1 vda --wait']],
      [
        'a create of a file that must be mended first',
        create,
        [
          'qemu-img rebase -u -f qcow2 -b s2 -F qcow2 /mnt/new\n',
          'virsh snapshot-create-as server-1 --no-metadata --disk-only --atomic \\\n',
          '  --reuse-external --diskspec vda,snapshot=external,file=/mnt/new,driver=qcow2',
          '$1!="vda" {print "--diskspec " $1 ",snapshot=no"}',
        ],
      ],
      [
        'a commit while the guest is off',
        { by: off },
        [
          'virsh edit server-1 # no <backingStore> below s2\n',
          'qemu-img commit -d -f qcow2 /mnt/s1\n',
          'qemu-img rebase -u -f qcow2 -b v -F raw /mnt/s2\n',
        ],
      ],
      [
        'a pull while the guest is off',
        { by: off, ...pull },
        ['qemu-img rebase -t writethrough -f qcow2 -b v -F raw /mnt/s2\n'],
      ],
      ['and of everything', { by: off, ...all }, ["writethrough -f qcow2 -b '' /mnt/s2\n"]],
      [
        'names that a shell would take apart',
        { by: { ...by, directory: "/mnt/it's $HOME" } },
        ["--top '/mnt/it'\\''s $HOME/s1'"],
      ],
    ])('%s', async (_, change, commands) => {
      it.plan = ok({ ...PLAN, ...change });
      const shown = await run(...DELETE, INFO, '--print-virsh');
      expect(shown.code).toBe(0);
      for (const command of commands) expect(shown.out).toContain(command);
      expect(shown.out).not.toContain('verdict');
    });

    test('what is refused has none, and neither has a network disk', async () => {
      it.plan = ok({ ...PLAN, by: { ...by, directory: 'gluster://host/volume' } });
      expect(await run(...DELETE, INFO, '--print-virsh')).toMatchObject({ code: 1, out: '' });
      it.plan = ok({ ...PLAN, ...create, by: { ...by, encrypted: true } });
      expect(await run(...CREATE, '--print-virsh')).toMatchObject({ code: 1, out: '' });
      it.plan = err(ROTTEN);
      expect((await run(...DELETE, INFO, '--print-virsh')).code).toBe(3);
    });
  });

  test('delete-info must be an object', async () => {
    for (const text of ['{', '1', 'null', '[]']) {
      expect(await run(...DELETE, text)).toMatchObject({ code: 2, out: '' });
    }
    expect(it.asked).toEqual([]);
  });

  test.each([
    [[...DELETE, '{}'], 'delete_info.file_to_merge is missing; delete_info.merge_target_file is'],
    [[...DELETE, INFO.replace('"s1"', '1')], 'delete_info.file_to_merge must be a text in quotes.'],
    [[...DELETE, INFO.replace('v-1', 'v-2')], 'delete_info is about volume v-2, not about v-1.'],
    [[...CREATE.slice(0, -1), '../x'], 'new_file must be a bare file name.'],
    [CREATE.with(5, 's/1'), 'snapshot must be an id: letters, digits, - and _, at most 64.'],
  ])('what is no request is a slip, in plain words: %j', async (argv, sentence) => {
    const shown = await run(...argv);
    expect(shown).toMatchObject({ code: 2, out: '' });
    expect(shown.err).toContain(`chainkeeper: ${sentence}`);
    expect(it.asked).toEqual([]);
  });
});

describe('ops', () => {
  test('list', async () => {
    const { code, out } = await run('ops', 'list', '--state', 'open', '--limit', '3');
    expect(code).toBe(0);
    expect(out).toContain('| op-2 | create | accepted | None    | volume-1 |');
    expect(it.asked).toEqual([{ state: 'open', limit: 3 }]);
    const json = JSON.parse((await run('ops', 'list', '-f', 'json')).out);
    expect(json[1]).toMatchObject({
      id: 'op-1',
      reason: 'the chain is s2 on v',
      request_id: 'req-1',
    });
    const values = await run('ops', 'list', '-f', 'value', '-c', 'id', '-c', 'global_request_id');
    expect(values.out).toBe('op-2 None\nop-1 None\n');
    expect((await run('ops', 'list', '--limit', 'x')).code).toBe(2);
  });

  test('show', async () => {
    const { out } = await run('ops', 'show', 'op-1');
    expect(out).toContain('| evidence          | 2023-11-14T22:13:20.000Z decided: commit');
    expect(out).toContain('| notices           | deleted: accepted after 12.5 ms');
    expect(out).toMatch(/\| phases_ms +\| preflight: 2\.125 +\|\n\| +\| event: 40 /);
    const { evidence } = JSON.parse((await run('ops', 'show', 'op-1', '-f', 'json')).out);
    expect(evidence).toMatchObject([{ seq: 1, detail: 'commit\ns1 into v' }]);
    expect(await run('ops', 'show', 'op-9')).toMatchObject({
      code: 1,
      err: 'chainkeeper: There is no operation op-9.\n',
    });
    expect((await run('ops', 'show', 'bug')).code).toBe(1);
  });
});

test('serve gets its files, and its exit code is ours', async () => {
  expect(await run('serve', '--config-file', 'a', '--config-file', 'b')).toMatchObject({
    code: 7,
    served: [['a', 'b']],
  });
  expect((await run('serve')).served).toEqual([[]]);
});

test('a service that is away is exit 5 with its socket', async () => {
  const gone = join(folder, 'gone.sock');
  for (const command of [
    ['ops', 'list'],
    ['chain', 'show', 'v'],
  ]) {
    expect(await run(...command, '--socket', gone)).toMatchObject({
      code: 5,
      out: '',
      err: expect.stringContaining(`nobody listens on ${gone}`),
    });
  }
  expect(await run('ops', 'list', '--config-file', 'bad')).toMatchObject({
    code: 2,
    err: 'chainkeeper: bad: no such file\n',
  });
});

describe('doctor', () => {
  const check = (status: Check['status']): Check => {
    const todo = status === 'ok' ? '' : 'mend\u001b[2J it';
    return { check: `one that is ${status}`, status, saw: 'something', todo };
  };

  test('a row for each check', async () => {
    checks = [check('ok'), check('warning')];
    const shown = await run('doctor', '-f', 'json', '--config-file', 'a', '--socket', 'b');
    expect(shown.asked).toEqual([{ configFiles: ['a'], socket: 'b' }]);
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(shown.out)).toEqual([
      { check: 'one that is ok', status: 'ok', saw: 'something', do: '' },
      { check: 'one that is warning', status: 'warning', saw: 'something', do: 'mend\u001b[2J it' },
    ]);
    const table = await run('doctor');
    expect(table.asked).toEqual([{ configFiles: [] }]);
    expect(table.out).not.toContain('\u001b');
    expect(table.out).toMatch(/\| check +\| status +\| saw +\| do/);
  });

  test('may be somebody of clouds.yaml for Cinder', async () => {
    checks = [];
    const shown = await run('doctor', '--os-cloud', 'lab');
    expect(shown.asked).toEqual([{ configFiles: [], cloud: 'lab' }]);
  });

  test('an error, and it fails', async () => {
    checks = [check('warning'), check('error')];
    expect(await run('doctor', '-f', 'value', '-c', 'status')).toMatchObject({
      code: 1,
      out: 'warning\nerror\n',
      err: '',
    });
  });
});

describe('ops abort and ops settle', () => {
  test('what became of it', async () => {
    const shown = await run('ops', 'abort', 'op-1', '-f', 'json', '-c', 'id', '-c', 'outcome');
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(shown.out)).toEqual({ id: 'op-1', outcome: 'merged' });
    orders.answer = ok(OPEN);
    expect(await run('ops', 'settle', 'op-2', '--as', 'done', '-f', 'value')).toMatchObject({
      code: 0,
      err: "chainkeeper: it goes on, and is accepted: see 'ops show'.\n",
    });
    expect(orders.ordered).toEqual([{ abort: 'op-1' }, { settle: 'op-2', as: 'done' }]);
  });

  test('refused by what is seen: 3; unknown id: 1; a service that is away: 5', async () => {
    orders.answer = err({ kind: 'refused', refusal: { kind: 'has-begun', at: 'merging' } });
    expect(await run('ops', 'abort', 'op-1')).toMatchObject({
      code: 3,
      out: '',
      err: expect.stringContaining('The operation is merging'),
    });
    orders.answer = null;
    expect(await run('ops', 'settle', 'op-9', '--as', 'failed')).toMatchObject({
      code: 1,
      out: '',
    });
    orders.answer = err(AWAY);
    expect(await run('ops', 'abort', 'op-1')).toMatchObject({ code: 5, out: '' });
    const nobody = ['--socket', join(folder, 'nobody.sock')];
    expect(await run('ops', 'abort', 'op-1', ...nobody)).toMatchObject({ code: 5, out: '' });
  });

  test('an order that is not answered may have been carried out: 4', async () => {
    const broken = join(folder, 'broken.sock');
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(broken, resolve));
    expect(await run('ops', 'abort', 'op-1', '--socket', broken)).toMatchObject({
      code: 4,
      out: '',
    });
    expect(await run('ops', 'show', 'op-1', '--socket', broken)).toMatchObject({
      code: 5,
      out: '',
    });
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('config', () => {
  test('sample is printed as it is', async () => {
    expect(await run('config', 'sample')).toMatchObject({ code: 0, out: '[api]\n', err: '' });
  });

  test('validate fails on an error, not on a warning, and shows no secret', async () => {
    const check = (status: Check['status']): Check => {
      return { check: 'config', status, saw: 'x: password = hunter22', todo: 'edit' };
    };
    checks = [check('warning')];
    const fine = await run('config', 'validate', '--config-file', 'a', '-f', 'json');
    expect(fine).toMatchObject({ code: 0, asked: [['a']] });
    expect(JSON.parse(fine.out)).toMatchObject([{ saw: 'x: password = ***' }]);
    checks = [check('ok'), check('error')];
    expect((await run('config', 'validate')).code).toBe(1);
  });
});

describe('ops watch', () => {
  const OVER: Operation = { ...ENDED, id: OPEN.id };
  /** Watches while something happens; null is Ctrl-C. */
  async function watched(happens: readonly (Change | null)[], ...argv: string[]) {
    stop = Promise.withResolvers();
    const running = run('ops', 'watch', ...argv);
    await expect.poll(() => it.asked, { interval: 5 }).toContainEqual({ changes: 7 });
    for (const one of happens) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      if (one === null) stop.resolve();
      else it.changes.push(one);
    }
    return running;
  }
  beforeEach(() => {
    it.changes.length = 0;
    it.progress = { job: 'commit', done: 2 ** 20, total: 2 ** 22, rate: 2 ** 19, secondsLeft: 66 };
  });

  test.each([
    ['merged', 0],
    ['failed', 1],
    ['withdrawn', 1],
    ['unknown', 4],
  ] as const)('one operation until it has ended: %s is exit %i', async (outcome, code) => {
    const saga = { ...OVER.saga, outcome } as Operation['saga'];
    const shown = await watched([{ seq: 8, operation: { ...OVER, saga } }], 'op-2');
    expect(shown).toMatchObject({ code, err: '' });
    const [open, progress, end] = shown.out.split('\n');
    expect(open).toMatch(/^2023-\S+ op-2 create volume-1 accepted$/);
    const bar = '[######------------------] 25% of 4.0 MiB  512.0 KiB/s  1:06 left';
    expect(progress?.endsWith(`create volume-1  accepted ${bar}`), progress).toBe(true);
    expect(end).toContain(`op-2 delete volume-1 ${outcome}: the chain is s2 on v`);
  });

  test('one that has ended before anybody listened', async () => {
    expect(await run('ops', 'watch', 'op-1')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/ op-1 delete volume-1 merged: .*\n$/),
    });
  });

  test('one that does not exist is not waited for', async () => {
    expect(await run('ops', 'watch', 'op-9')).toMatchObject({
      code: 1,
      err: 'chainkeeper: There is no operation op-9.\n',
    });
  });

  test('Ctrl-C stops nothing but the watching; what became of the one, nobody knows', async () => {
    const all = await watched([null]);
    expect(all).toMatchObject({
      code: 0,
      err: 'chainkeeper: no longer watching; what goes on goes on.\n',
    });
    expect((await watched([null], 'op-2')).code).toBe(4);
    expect(orders.ordered).toEqual([]);
  });

  test('others are not told of when one is watched', async () => {
    const shown = await watched([{ seq: 8, operation: ENDED }, null], 'op-2');
    expect(shown.out).not.toContain('op-1');
  });

  test('for a program: a record for each change', async () => {
    const shown = await watched([{ seq: 8, operation: OVER }], 'op-2', '-f', 'json', '-c', 'state');
    expect(shown.out).toBe('{"state":"accepted"}\n{"state":"end"}\n');
    const values = ['-f', 'value', '-c', 'id', '-c', 'outcome'];
    it.changes.length = 0;
    const plain = await watched([{ seq: 8, operation: OVER }], 'op-2', ...values);
    expect(plain.out).toBe('op-2 None\nop-2 merged\n');
  });

  test('on a terminal bars are drawn over, and what has ended stays', async () => {
    tty = true;
    const shown = await watched([{ seq: 8, operation: OVER }], 'op-2').finally(() => {
      tty = false;
    });
    expect(shown.out).toContain('\u001b[1A\u001b[J');
    const [last, empty] = shown.out.split('\u001b[1A\u001b[J').at(-1)?.split('\n') ?? [];
    expect(last).toContain('merged: the chain is s2 on v');
    expect(empty).toBe('');
    for (const line of shown.out.split('\n')) expect(line.length).toBeLessThan(110);
  });

  test('a service that is away is exit 5', async () => {
    const gone = ['--socket', join(folder, 'gone.sock')];
    expect(await run('ops', 'watch', ...gone)).toMatchObject({ code: 5, out: '' });
    expect(await run('ops', 'watch', 'op-2', ...gone)).toMatchObject({ code: 5, out: '' });
  });
});

test.each([
  [],
  ['nonsense\u001b[2J'],
  ['chain'],
  ['chain', 'show'],
  ['chain', 'show', 'v', 'w'],
  ['chain', 'show', 'v', '-f', 'xml'],
  ['chain', 'show', 'v', '-c', 'colour'],
  ['chain', 'show', 'v', '--force'],
  ['plan', 'create', '--volume', 'v'],
  ['ops', 'list', '--socket', ''],
  ['ops', 'list', '--config-file', ''],
  ['ops', 'list', '--state', 'lost'],
  ['ops', 'abort'],
  ['ops', 'abort', ''],
  ['ops', 'show', ''],
  ['ops', 'watch', ''],
  ['ops', 'settle', '', '--as', 'done'],
  ['chain', 'show', ''],
  ['ops', 'settle', 'op-1'],
  ['ops', 'settle', 'op-1', '--as', 'merged'],
  ['header', ''],
  ['header', 'f', '--backing', ''],
  ['doctor', '--os-cloud', ''],
  ['ops', 'lst'],
])('%j is a slip: exit 2', async (...argv) => {
  const shown = await run(...argv);
  expect(shown).toMatchObject({ code: 2, out: '' });
  expect(shown.err).not.toBe('');
  expect(shown.err).not.toContain('\u001b');
  expect(shown.err).not.toContain('\\n');
});

test.each([
  ['ops', 'show', LONG],
  ['ops', 'show', 'no id'],
  ['ops', 'abort', '../x'],
  ['ops', 'settle', LONG, '--as', 'done'],
  ['ops', 'watch', LONG],
  ['chain', 'show', LONG],
  ['plan', 'create', '--volume', LONG, '--snapshot', 's', '--new-file', 'f'],
  ['plan', 'create', '--volume', '..', '--snapshot', 's', '--new-file', 'f'],
  ['plan', 'delete', '--volume', 'v', '--snapshot', 's', '--delete-info', `{"x":"${LONG}"}`],
  ['ops', 'list', '-f', LONG],
  [LONG],
])('%.3s of what can be no name is a slip, and one short sentence', async (...argv) => {
  const { code, out, err } = await run(...argv);
  expect([code, out]).toEqual([2, '']);
  expect(err).toMatch(/^chainkeeper: [^\n]{20,300}\n$/);
  expect(it.asked).toEqual([]);
});

test('a name that is as long as one can be is asked for', async () => {
  const name = `${'ü'.repeat(148)}:vda`;
  await run('chain', 'show', name);
  expect(it.asked).toEqual([{ ref: name }]);
});

test('help about what is no command says so', async () => {
  expect(await run('help', 'nope')).toMatchObject({
    ...{ code: 2, out: '', err: "chainkeeper: error: unknown command 'nope'\n" },
  });
  expect((await run('help', 'ops')).out).toContain('settle');
});

test('help and version go to stdout', async () => {
  expect(await run('--help')).toMatchObject({
    code: 0,
    out: expect.stringContaining('ops'),
    err: '',
  });
  expect((await run('plan', 'create', '--help')).out).toContain('--new-file');
  expect((await run('--version')).out).toMatch(/^\d+\.\d+\.\d+\n$/);
});
