import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { headerAt } from '#adapters/images/images.ts';
import { listenAdmin } from '#adapters/operator/admin-api.ts';
import { programFor, runCli } from '#adapters/operator/cli.ts';
import { type CliIo, Run } from '#adapters/operator/cli-run.ts';
import { commandFacts } from '#adapters/operator/command-facts.ts';
import { describedOptions } from '#app/config-sample.ts';
import { err, ok } from '#domain/result.ts';
import type { Trouble } from '#ports/assisted-snapshots.ts';
import type { Check } from '#ports/doctor.ts';
import { qcow2 } from '../../support/qcow2-bytes.ts';
import {
  AWAY,
  CHAIN,
  ENDED,
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

const folder = mkdtempSync(join(tmpdir(), 'ck-codes-'));
const at = (name: string) => join(folder, name);
const it = pretendInspect();
const orders = pretendOperate();
/** Takes what is sent, and says nothing to it. */
const rude = createServer((socket) => socket.destroy());
let api: AsyncDisposable;
let checks: readonly Check[] = [];

beforeAll(async () => {
  const world = {
    ...{ inspect: it.inspect, operate: orders.operate, assisted: pretendAssisted().assisted },
    ...{ clock: pretendClock, telemetry: pretendTelemetry(), measures: pretendMeasures },
    ...{ host: 'cmp-04', eventsEveryMs: 20, document: () => ({}) },
  };
  const listening = await listenAdmin(world, at('a.sock'));
  if (!listening.ok) throw new Error(listening.error);
  api = listening.value;
  await new Promise<void>((resolve) => rude.listen(at('rude.sock'), resolve));
  const overlay = qcow2();
  writeFileSync(at('overlay'), overlay.page);
  truncateSync(at('overlay'), overlay.fileBytes);
  writeFileSync(at('raw'), 'no qcow2 at all');
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
  await new Promise((resolve) => rude.close(resolve));
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  [it.chain, it.plan, orders.answer, checks] = [ok(CHAIN), ok(PLAN), ok(ENDED), []];
});

async function run(argv: readonly string[]) {
  let [out, said] = ['', ''];
  const io: CliIo = {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (said += text) },
    serve: async (files) => (files.length === 0 ? 0 : 2),
    doctor: async () => checks,
    config: { sample: () => '[api]\n', options: describedOptions, validate: () => checks },
    header: headerAt,
    interrupted: () => new Promise(() => {}),
    findSocket: (files) => (files.length > 0 ? err('x: no such file') : ok(at('a.sock'))),
  };
  const code = await runCli(argv, io);
  return { code, out, said };
}

const CREATE = 'plan create --volume v --snapshot s --new-file f';
const INFO = '{"file_to_merge":"s1","merge_target_file":"v"}';
const DELETE = `plan delete --volume v --snapshot s --delete-info ${INFO}`;
const BUSY: Trouble = { kind: 'refused', refusal: { kind: 'has-begun', at: 'merging' } };
const answer = (what: typeof orders.answer) => () => {
  orders.answer = what;
};
const chain = (what: typeof it.chain) => () => {
  it.chain = what;
};
const plan = (what: typeof it.plan) => () => {
  it.plan = what;
};
const check = (status: Check['status']) => () => {
  checks = [{ check: 'x', status, saw: 'y', todo: 'z' }];
};
const nothing = () => {};

/** 0 ok, 1 failed, 2 usage, 3 refused by a safety check, 4 outcome unknown, 5 cannot reach. */
const ROWS: readonly (readonly [line: string, code: number, prepare: () => void])[] = [
  ['serve', 0, nothing],
  ['serve --config-file x', 2, nothing],
  ['serve extra', 2, nothing],
  ['chain show v', 0, nothing],
  ['chain show v', 1, chain(err(ROTTEN))],
  ['chain show v', 1, chain(err(SAID_NO))],
  ['chain show v', 5, chain(err(AWAY))],
  ['chain show v -c colour', 2, nothing],
  [CREATE, 0, nothing],
  [`${CREATE} --print-virsh`, 0, nothing],
  [CREATE, 3, plan(err(ROTTEN))],
  [CREATE, 1, plan(err(SAID_NO))],
  [CREATE, 5, plan(err(AWAY))],
  ['plan create --volume v', 2, nothing],
  [DELETE, 0, nothing],
  [DELETE, 3, plan(err(ROTTEN))],
  [DELETE, 5, plan(err(AWAY))],
  ['plan delete --volume v --snapshot s --delete-info {', 2, nothing],
  ['ops list', 0, nothing],
  ['ops list --limit 0', 2, nothing],
  ['ops show op-1', 0, nothing],
  ['ops show op-9', 1, nothing],
  ['ops show bug', 1, nothing],
  ['ops watch op-1', 0, nothing],
  ['ops watch op-9', 1, nothing],
  ['ops abort op-1', 0, nothing],
  ['ops abort op-1', 1, answer(null)],
  ['ops abort op-1', 3, answer(err(BUSY))],
  ['ops abort op-1', 5, answer(err(AWAY))],
  ['ops settle op-1 --as done', 0, nothing],
  ['ops settle op-1 --as done', 1, answer(null)],
  ['ops settle op-1 --as done', 3, answer(err(BUSY))],
  ['ops settle op-1 --as done', 5, answer(err(AWAY))],
  ['ops settle op-1 --as fine', 2, nothing],
  ['header HERE/overlay', 0, nothing],
  ['header HERE/overlay --no-backing', 3, nothing],
  ['header HERE/raw', 3, nothing],
  ['header HERE/nowhere', 3, nothing],
  ['header HERE/overlay --size x', 2, nothing],
  ['doctor', 0, check('warning')],
  ['doctor', 1, check('error')],
  ['doctor more', 2, nothing],
  ['sim', 2, nothing],
  ['config sample', 0, nothing],
  ['config validate', 0, check('warning')],
  ['config validate', 1, check('error')],
  ['completion bash', 0, nothing],
  ['completion fish', 2, nothing],
  ['manual 1', 0, nothing],
  ['manual 6', 2, nothing],
];
const facts = commandFacts(programFor(new Run({} as CliIo)));
const words = (line: string) => line.replace('HERE', folder).split(' ');

test.each(ROWS)('%s: exit %i', async (line, code, prepare) => {
  prepare();
  const shown = await run(words(line));
  expect(shown.code).toBe(code);
  // What went wrong is said: on stderr, or where it is what was asked for.
  if (code !== 0 && !line.startsWith('serve --')) expect(shown.said + shown.out).not.toBe('');
});

test('every command is in the table, with 0 and with 2 or what else may become of it', () => {
  for (const { name } of facts) {
    const codes = ROWS.filter(([line]) => line.startsWith(name)).map(([, code]) => code);
    if (name !== 'sim') expect(codes, name).toContain(0);
    expect(codes.length, name).toBeGreaterThan(name === 'config sample' || name === 'sim' ? 0 : 1);
  }
});

describe('the service', () => {
  const asking = facts
    .filter(({ options }) => options.some(({ long }) => long === '--socket'))
    .filter(({ name }) => name !== 'doctor')
    .map(({ name }) => ROWS.find(([line, code]) => line.startsWith(name) && code === 0)?.[0] ?? '');

  test.each(asking)('away: %s is exit 5, in one sentence, with nothing on stdout', async (line) => {
    const shown = await run([...words(line), '--socket', at('nobody.sock')]);
    expect(shown).toMatchObject({ code: 5, out: '' });
    expect(shown.said).toMatch(/^chainkeeper: the service is not running: [^\n]+\n$/);
  });

  test.each(asking)('hanging up: of %s the outcome is unknown if it was an order', async (line) => {
    const shown = await run([...words(line), '--socket', at('rude.sock')]);
    const order = /^ops (abort|settle)/.test(line);
    expect(shown).toMatchObject({ code: order ? 4 : 5, out: '' });
    expect(shown.said).toMatch(/^chainkeeper: the service on [^\n]+\n$/);
  });

  test.each(asking)('a configuration that is none: %s is exit 2', async (line) => {
    expect(await run([...words(line), '--config-file', 'x'])).toMatchObject({ code: 2, out: '' });
  });
});

describe('what a program reads', () => {
  const printing = facts
    .filter(({ options }) => options.some(({ long }) => long === '--format'))
    .flatMap(({ name }) => ROWS.filter(([line]) => line.startsWith(name)))
    .filter(([line, code]) => [0, 3].includes(code) && !/watch|virsh/.test(line));

  test.each(printing)(
    '%s (exit %i) is whole in JSON and YAML, or nothing',
    async (line, code, as) => {
      as();
      const json = await run([...words(line), '-f', 'json']);
      expect(json.code).toBe(code);
      // An order that is refused has nothing to show.
      if (code === 3 && /^ops/.test(line)) return expect(json.out).toBe('');
      const data = JSON.parse(json.out);
      expect(typeof data).toBe('object');
      expect(parse((await run([...words(line), '-f', 'yaml'])).out)).toEqual(data);
    },
  );
});
