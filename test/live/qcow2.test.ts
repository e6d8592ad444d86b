import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseHeader } from '#domain/qcow2.ts';
import { VECTORS } from '../support/hostile-headers.ts';
import { type FileHead, put32, put64, qcow2 } from '../support/qcow2-bytes.ts';

/** What qemu-img reads in a file, or null when it refuses it. It opens no backing file. */
interface Told {
  readonly size: number;
  readonly backing: string | null;
  readonly format: string | null;
}

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qcow2-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const here = spawnSync('qemu-img', ['--version']).status === 0;

test.skipIf(!here)('qemu-img makes headers that we read as it does', () => {
  for (const [backing, format] of [[null, null] as const, ['v', 'raw'] as const]) {
    for (const options of ['compat=0.10', 'compat=1.1', 'extended_l2=on', 'cluster_size=2M']) {
      const path = join(folder, 'made.qcow2');
      execFileSync('qemu-img', ['create', '-q', '-f', 'raw', join(folder, 'v'), '8M']);
      const on = backing === null ? [] : ['-b', backing, '-F', format];
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options, ...on, path, '8M']);
      const bytes = execFileSync('head', ['-c', '65536', path], { maxBuffer: 2 ** 20 });
      const length = Number(execFileSync('stat', ['-c', '%s', path]).toString());
      expect(ours({ page: bytes, fileBytes: length })).toEqual({ size: 2 ** 23, backing, format });
    }
  }
});

const value = fc.constantFrom(0, 1, 2, 3, 4, 8, 9, 16, 24, 32, 72, 104, 112, 120, 136, 512, 65536);
const change = fc.oneof(
  fc.record({ at: fc.nat(35), value, wide: fc.boolean() }).map((it) => (head: FileHead) => {
    if (it.wide) return put64(head, it.at * 4, BigInt(it.value));
    return put32(head, it.at * 4, it.value);
  }),
);
const facts = fc.record({
  version: fc.constantFrom(2 as const, 3 as const),
  clusterBits: fc.constantFrom(9, 12, 14, 16),
  size: fc.constantFrom(0, 512, 2 ** 20, 2 ** 23),
  backing: fc.constantFrom('v', 'volume-1.snapshot-2', 'json:x', 'nbd:x:1', '/etc/passwd'),
  format: fc.constantFrom('raw', 'qcow2', 'vmdk', null),
});

test.skipIf(!here)('what we accept QEMU opens with the same name, format and size', () => {
  fc.assert(
    fc.property(facts, fc.array(change, { maxLength: 2 }), (wrote, changes) => {
      const head = changes.reduce((one, next) => next(one), qcow2(wrote));
      const said = ours(head);
      if (said !== null) expect(theirs(head)).toEqual(said);
    }),
    { numRuns: 1500 },
  );
});

test.skipIf(!here)('the corpus: where QEMU refuses we refuse, and what we take it opens', () => {
  execFileSync('qemu-img', ['create', '-q', '-f', 'raw', join(folder, 'v'), '8M']);
  let opened = 0;
  for (const { name, head, verdict } of VECTORS) {
    const said = theirs(head);
    if (said === null) expect(verdict, name).toBe('refused');
    if (verdict === 'refused') continue;
    opened++;
    expect(said, name).toEqual(ours(head));
    // With its backing file, as a guest would have it; every format named but a probed one.
    const format = ours(head)?.format ?? 'raw';
    if (format !== 'raw') continue;
    const path = join(folder, 'x.qcow2');
    const read = spawnSync('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read 0 512', path]);
    expect(`${name}: ${read.status}`).toBe(`${name}: 0`);
  }
  expect(opened).toBeGreaterThan(30);
});

function ours({ page, fileBytes }: FileHead): Told | null {
  const found = parseHeader(page, fileBytes);
  if (!found.ok) return null;
  const { size, backingFile, backingFormat } = found.value;
  // Without a backing file QEMU does not show its format.
  return { size, backing: backingFile, format: backingFile === null ? null : backingFormat };
}

function theirs({ page, fileBytes }: FileHead): Told | null {
  const path = join(folder, 'x.qcow2');
  writeFileSync(path, page);
  truncateSync(path, fileBytes);
  const { status, stdout } = spawnSync('qemu-img', ['info', '-f', 'qcow2', '--output=json', path]);
  if (status !== 0) return null;
  const said = JSON.parse(stdout.toString());
  return {
    size: said['virtual-size'],
    backing: said['backing-filename'] ?? null,
    format: said['backing-filename-format'] ?? null,
  };
}
