import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FUZZ_TIME, fuzz } from '../../support/fuzz.ts';
import { api, createBody, deleteInfo, post, remove } from './harness.ts';

/** The budget of interface.md: 20,000 inputs of each kind. */
const RUNS = { numRuns: fuzz() };
const TIME = { timeout: 2 * FUZZ_TIME };
const FILE = /^[A-Za-z0-9_][A-Za-z0-9._:@+-]{0,254}$/;
const ID = /^[ -.0-~]{1,255}$/;

const KEYS = [
  'snapshot',
  'volume_id',
  'create_info',
  'snapshot_id',
  'type',
  'new_file',
  'id',
  'file_to_merge',
  'merge_target_file',
  '__proto__',
  'constructor',
];
const scalar = fc.oneof(
  fc.constantFrom('qcow2', 'raw', '..', 'a', '../a', 'a b', null, true, 0, -1.5e300, ''),
  fc.string({ unit: 'binary', maxLength: 12 }),
);
const { tree } = fc.letrec<{ tree: unknown; node: unknown }>((tie) => ({
  node: fc.oneof(
    fc.dictionary(fc.oneof(fc.constantFrom(...KEYS), fc.string()), tie('tree'), { maxKeys: 6 }),
    fc.array(tie('tree'), { maxLength: 3 }),
  ),
  tree: fc.oneof({ maxDepth: 6, withCrossShrink: true }, scalar, tie('node')),
}));

/** A valid body with one field more, less or other; or any JSON; or any text at all. */
const field = fc.oneof({ weight: 2, arbitrary: scalar }, { weight: 1, arbitrary: tree });
const change = fc.dictionary(fc.constantFrom(...KEYS), field, { maxKeys: 2 });
const nearly = fc.tuple(change, change).map(([info, snapshot]) => createBody(info, snapshot));
const json = fc.oneof(tree, fc.jsonValue(), { weight: 2, arbitrary: nearly });
const bent = fc
  .tuple(
    json,
    fc.nat(400),
    fc.constantFrom('', '', '', '', '"', '{', '}', ',', '\\', '\u0000', ':', '['),
  )
  .map(([value, where, text]) => {
    const whole = JSON.stringify(value);
    const at = where % (whole.length + 1);
    return text === '' ? whole : whole.slice(0, at) + text + whole.slice(at);
  });

test('any body is a 200 or a 400, and only what is valid reaches the port', TIME, async () => {
  const it = api();
  const seen = { 200: 0, 400: 0 };
  await fc.assert(
    fc.asyncProperty(bent, fc.boolean(), async (body, legacy) => {
      it.calls.length = 0;
      const base = legacy ? '/v2' : '/v2.1';
      const { statusCode } = await post(it, body, {}, `${base}/os-assisted-volume-snapshots`);
      expect([200, 400]).toContain(statusCode);
      expect(it.calls).toHaveLength(statusCode === 200 ? 1 : 0);
      seen[statusCode as 200 | 400] += 1;
      for (const { request } of it.calls) {
        const { volume, snapshot, newFile } = request as unknown as Record<string, string>;
        expect(newFile).toMatch(FILE);
        expect(volume).toMatch(ID);
        expect(snapshot).toMatch(ID);
        expect(JSON.parse(body).snapshot.create_info).toMatchObject({
          type: 'qcow2',
          new_file: newFile,
        });
      }
    }),
    RUNS,
  );
  // Neither half of the property may hold for want of examples.
  expect(Math.min(seen[200], seen[400])).toBeGreaterThan(50);
});

test(
  'any delete_info is a 204 or a 400, and only what is valid reaches the port',
  TIME,
  async () => {
    const it = api();
    const seen = { 204: 0, 400: 0 };
    const info = fc.oneof(json, change.map(deleteInfo)).map((value) => JSON.stringify(value));
    const id = fc.oneof(fc.constantFrom('None', 'a'), fc.uuid(), fc.string({ unit: 'binary' }));
    await fc.assert(
      fc.asyncProperty(info, id, fc.boolean(), async (text, name, raw) => {
        it.calls.length = 0;
        const query = raw ? text.replace(/[^!-~]/g, '%20') : encodeURIComponent(text);
        const path = encodeURIComponent(name.toWellFormed());
        const { statusCode } = await remove(it, `?delete_info=${query}`, {}, path);
        // An empty id is the collection, which cannot be deleted.
        expect(path === '' ? [405] : [204, 400]).toContain(statusCode);
        expect(it.calls).toHaveLength(statusCode === 204 ? 1 : 0);
        if (statusCode !== 405) seen[statusCode as 204 | 400] += 1;
        for (const { request } of it.calls) {
          const { fileToMerge, mergeTarget, ...ids } = request as unknown as Record<string, string>;
          for (const file of [fileToMerge, mergeTarget])
            if (file !== null) expect(file).toMatch(FILE);
          for (const text of Object.values(ids)) expect(text).toMatch(ID);
        }
      }),
      RUNS,
    );
    expect(Math.min(seen[204], seen[400])).toBeGreaterThan(50);
  },
);

test('any bytes as a body are a 200 or a 400', TIME, async () => {
  const it = api();
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      const { statusCode } = await post(it, Buffer.from(bytes));
      expect(statusCode).toBe(400);
      expect(it.calls).toEqual([]);
    }),
    RUNS,
  );
});
