import { expect, test } from 'vitest';
import { type FileName, QCOW2, RAW } from '#domain/ids.ts';
import { parseHeader } from '#domain/qcow2.ts';
import { headOf } from '#sim/header-bytes.ts';
import { type NewFile, SimShare } from '#sim/share.ts';

const share = new SimShare();
const parsed = (made: NewFile) => {
  const { page, fileBytes } = headOf(share.create('file' as FileName, made));
  return parseHeader(page, fileBytes);
};

test('an encrypted qcow2 file says so, and is otherwise like any other', () => {
  const says = { backing: 'base', backingFormat: QCOW2, clusters: 8 };
  const [plain, encrypted] = [parsed(says), parsed({ ...says, luks: true })];
  expect(plain).toMatchObject({ ok: true, value: { encryption: 'none', backingFile: 'base' } });
  if (!plain.ok) throw new Error(plain.error.says);
  const fileBytes = expect.any(Number);
  const same = { ...plain.value, encryption: 'luks', fileBytes };
  expect(encrypted).toEqual({ ok: true, value: same });
});

test('an encrypted raw file is no qcow2 file, whatever the guest writes', () => {
  const file = share.create('file' as FileName, { format: RAW, luks: true });
  file.content[0] = { backing: '/etc/shadow', format: RAW, clusters: 8, features: 0 };
  const { page, fileBytes } = headOf(file);
  expect(String.fromCharCode(...page.subarray(0, 4))).toBe('LUKS');
  expect(parseHeader(page, fileBytes)).toMatchObject({ ok: false, error: { kind: 'not-qcow2' } });
  expect(share.probe(file)).toBe('luks');
});

test('what keeps its data elsewhere, or has features nobody knows, says that', () => {
  expect(parsed({ features: 4 })).toMatchObject({ value: { dataFile: true } });
  expect(parsed({ features: 64 })).toMatchObject({ error: { kind: 'features' } });
});
