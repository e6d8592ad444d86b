import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { headerAt } from '#adapters/images/images.ts';
import { runCli } from '#adapters/operator/cli.ts';
import { escapeText } from '#adapters/operator/escape.ts';
import type { Fault } from '#domain/failure.ts';
import { err, type Result } from '#domain/result.ts';
import type { HeaderView } from '#domain/sight.ts';
import { EXPECTED, VECTORS } from '../../support/hostile-headers.ts';
import { type FileHead, luks, qcow2 } from '../../support/qcow2-bytes.ts';

const folder = mkdtempSync(join(tmpdir(), 'ck-header-'));
afterAll(() => rmSync(folder, { recursive: true }));

const ASKED = ['--backing', EXPECTED.backing, '--backing-format', EXPECTED.format];

function put(head: FileHead, name = 'overlay'): string {
  const path = join(folder, name);
  writeFileSync(path, head.page);
  truncateSync(path, head.fileBytes);
  return path;
}

async function run(path: string, ...rest: string[]) {
  return runWith(headerAt, path, ...rest);
}

type Read = (path: string) => Promise<Result<HeaderView, Fault>>;
async function runWith(header: Read, path: string, ...rest: string[]) {
  let [out, said] = ['', ''];
  const code = await runCli(['header', path, ...rest], {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (said += text) },
    serve: () => expect.unreachable('it needs no service'),
    doctor: () => expect.unreachable('nobody asks for it'),
    interrupted: () => new Promise(() => {}),
    findSocket: () => expect.unreachable('it needs no service'),
    config: {
      sample: () => expect.unreachable(),
      options: () => expect.unreachable(),
      validate: () => expect.unreachable(),
    },
    header,
  });
  return { code, out, said };
}

const json = async (path: string, ...rest: string[]) => {
  const { code, out } = await run(path, ...rest, '-f', 'json');
  return { code, ...(JSON.parse(out) as Record<string, unknown>) };
};

test.each(VECTORS)('$verdict: $name', async ({ head, verdict, kind }) => {
  const path = put(head);
  const shown = await run(path, ...ASKED, '--size', String(EXPECTED.size), '-f', 'json');
  expect(shown.code).toBe(verdict === 'accepted' ? 0 : 3);
  expect(shown.said).toBe('');
  // Whatever a hostile header says, no terminal obeys it.
  const text = shown.out.replaceAll('\n', '');
  expect(escapeText(text)).toBe(text);
  const { reasons, ...told } = JSON.parse(shown.out);
  expect(told).toMatchObject({ file: path, verdict });
  expect(reasons[0]?.kind ?? null).toBe(kind);
});

test('the whole of it, as a table', async () => {
  const { out } = await run(put(qcow2({ format: 'qcow2' })), ...ASKED);
  expect(out.replaceAll(/ {2,}/g, ' ')).toContain('| backing_file | v |');
  expect(out).toContain('backing-format: it calls v qcow2, and the guest has it as raw');
  const { out: values } = await run(put(qcow2()), '-f', 'value', '-c', 'verdict');
  expect(values).toBe('accepted\n');
});

describe('what is left out is not compared', () => {
  test('any backing file will do, but not one whose format would be probed', async () => {
    expect(await json(put(qcow2({ backing: 'x', format: 'vpc' })))).toMatchObject({ code: 0 });
    expect(await json(put(qcow2({ format: null })))).toMatchObject({
      code: 3,
      verdict: 'mendable',
      reasons: [{ kind: 'backing-format', says: expect.stringContaining('would probe') }],
    });
  });

  test('without a backing file there is no format to name', async () => {
    const alone = put(qcow2({ backing: null, format: null }));
    expect(await json(alone)).toMatchObject({ code: 0 });
    expect(await json(alone, '--backing-format', 'raw')).toMatchObject({ code: 0 });
  });
});

test('--encrypted: it must have LUKS, which no other may', async () => {
  const sealed = put(qcow2({ crypt: 2, extensions: [luks()] }));
  const says = (words: string) => [{ kind: 'encryption', says: words }];
  const odd = { code: 3, verdict: 'refused', encrypted: true };
  const reasons = says('it is encrypted, and the volume is not');
  expect(await json(sealed)).toMatchObject({ ...odd, reasons });
  expect(await json(sealed, '--encrypted')).toMatchObject({ code: 0, encrypted: true });
  const plain = await json(put(qcow2()), '--encrypted');
  expect(plain).toMatchObject({ code: 3, reasons: says('it is not encrypted, and the volume is') });
});

test('--no-backing: it may name none', async () => {
  expect(await json(put(qcow2()), '--no-backing')).toMatchObject({
    code: 3,
    verdict: 'refused',
    reasons: [{ kind: 'backing-name', says: 'it names v, and it must name none' }],
  });
  const alone = put(qcow2({ backing: null, format: null }));
  expect(await json(alone, '--no-backing')).toMatchObject({ code: 0, verdict: 'accepted' });
});

describe('what is no image', () => {
  test('a file that is not there, a link, a folder, a FIFO', async () => {
    const reasons = (kind: string) => ({ code: 3, verdict: 'refused', reasons: [{ kind }] });
    expect(await json(join(folder, 'none'))).toMatchObject(reasons('missing'));
    symlinkSync(put(qcow2()), join(folder, 'link'));
    expect(await json(join(folder, 'link'))).toMatchObject(reasons('not-regular'));
    expect(await json(folder)).toMatchObject(reasons('not-regular'));
    expect(spawnSync('mkfifo', [join(folder, 'fifo')]).status).toBe(0);
    expect(await json(join(folder, 'fifo'))).toMatchObject(reasons('not-regular'));
  });

  test('one that cannot be read is no verdict', async () => {
    const no = { kind: 'rejected', who: 'the share', code: 'EACCES', detail: 'x' } as const;
    const denied = await runWith(async () => err(no), 'x');
    expect(denied).toMatchObject({ code: 1, out: '', said: expect.stringContaining('EACCES') });
    const stalled = { kind: 'unreachable', who: 'the share', detail: 'EIO' } as const;
    const away = await runWith(async () => err(stalled), 'x');
    expect(away).toMatchObject({ code: 5, out: '', said: expect.stringContaining('EIO') });
  });
});

test.each([
  ['--backing', 'x', '--no-backing'],
  ['--no-backing', '--backing', 'x'],
  ['--size', 'x'],
  ['--size', '-1'],
  ['--size', '1e6'],
  ['--size', '9007199254740993'],
  ['-c', 'nothing'],
])('a slip of whoever typed it: %s %s %s', async (...slip) => {
  expect(await run(put(qcow2()), ...slip)).toMatchObject({ code: 2, out: '' });
});
