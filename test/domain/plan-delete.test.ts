import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { afterMerge, agrees, layersOf, repointedBy } from '#domain/chain.ts';
import { explain, type Refusal } from '#domain/failure.ts';
import { type DeleteRequest, mergeFor, planDelete } from '#domain/plan-delete.ts';
import { err } from '#domain/result.ts';
import { chain, chains, everyMerge, file, format, STRANGER, stripped } from '../support/chains.ts';
import { DELETES, scenesOf } from '../support/scenes.ts';
import { disk, GONE, header, headersOf, SUBJECT, sight, sights } from '../support/sights.ts';

const asked = (fileToMerge: string | null, mergeTarget: string | null): DeleteRequest => ({
  ...SUBJECT,
  fileToMerge: fileToMerge === null ? null : file(fileToMerge),
  mergeTarget: mergeTarget === null ? null : file(mergeTarget),
});

const long = chain('s3', 's2', 's1', 'v');
const ready = sight(disk(long), 'deleting');

test.each(DELETES)('$name: planned as predicted, with formats or without', (it) => {
  const known = new Map(layersOf(it.before).map((layer) => [layer.file, layer.format]));
  for (const shown of [it.before, stripped(it.before)]) {
    const headers = headersOf(it.before);
    const seen = sight(disk(shown), 'deleting', { known, headers });
    const plan = planDelete(it.request, seen);
    if (!plan.ok) expect.unreachable(explain(plan.error));
    const { value } = plan;
    expect(value).toMatchObject({ merge: it.merge, repointed: it.repointed, process: 'qemu-1' });
    expect(afterMerge(value.before, value.merge)).toEqual({ ok: true, value: value.after });
    expect(repointedBy(value.before, value.merge)?.file).toBe(value.repointed);
    expect(agrees(shown, value.before)).toBe(true);
    expect(agrees(it.after, value.after)).toBe(true);
  }
});

test('every request over every chain: one layer goes, or one sentence says why not', () => {
  fc.assert(
    fc.property(chains, (before) => {
      const files = layersOf(before).map((layer) => layer.file);
      const seen = sight(disk(before), 'deleting');
      for (const merge of everyMerge(files)) {
        const request =
          merge.kind === 'pull' ? asked(merge.onto, null) : asked(merge.top, merge.into);
        const plan = planDelete(request, seen);
        if (!plan.ok) {
          expect(explain(plan.error)).toMatch(/^\S.*\.$/);
          continue;
        }
        const { value } = plan;
        expect(value.merge).toEqual(merge);
        expect(afterMerge(before, merge)).toEqual({ ok: true, value: value.after });
        const left = layersOf(value.after).map((layer) => layer.file);
        expect(left.length).toBe(files.length - 1);
        expect(left[0]).toBe(before.file);
      }
    }),
  );
});

const wrong = (name: string, backing: string | null) => ({
  ...ready,
  headers: { ...ready.headers, [name]: header()(backing, 'qcow2') },
});
const small = (name: string, backing: string) => ({
  ...ready,
  headers: { ...ready.headers, [name]: header({ size: 512 })(backing, 'qcow2') },
});
const missing = (name: string) => ({
  ...ready,
  headers: { ...ready.headers, [name]: err({ kind: 'missing', says: 'it is not there' } as const) },
});
const off = { ...ready, guest: disk(long, { process: null }) };
const topOnly = { ...ready, guest: disk(chain('s3:qcow2'), { process: null }) };
const saved = { ...ready, guest: disk(long, { process: null, saved: true }) };
const job = { kind: 'pull', done: 0, total: 0 } as const;

/** Each with what the sentence must name. */
const refused: readonly [Refusal['kind'], DeleteRequest, typeof ready, readonly string[]][] = [
  ['bad-request', asked(null, 'v'), ready, ['merge_target_file', 'file_to_merge']],
  ['guest-not-found', asked('s1', null), { ...ready, guest: GONE }, ['server-1']],
  ['broken-chain', asked('s1', null), { ...off, headers: {} }, ['s3', 'shut off', 'not read']],
  ['guest-saved', asked('s1', 'v'), saved, ['server-1', 'suspended']],
  ['not-one-layer', asked(null, null), topOnly, ['s3', 'the end of the chain', '3']],
  ['not-in-chain', asked('x', 'v'), topOnly, ['x', 's3 on s2 on s1 on v']],
  ['foreign-job', asked('s1', 'v'), { ...ready, guest: disk(long, { job }) }, ['vda', 'pull']],
  ['top-is-active', asked('s3', 's2'), ready, ['s3']],
  ['top-is-active', asked('s3', null), ready, ['s3']],
  ['not-in-chain', asked('x', null), ready, ['x', 's3 on s2 on s1 on v']],
  ['not-in-chain', asked('x', 'v'), ready, ['x', 's3 on s2 on s1 on v']],
  ['not-in-chain', asked('s2', 'x'), ready, ['x']],
  ['not-adjacent', asked('s2', 'v'), ready, ['s2', 'v']],
  ['not-adjacent', asked('s1', 's2'), ready, ['s1', 's2']],
  ['not-adjacent', asked('s1', 's1'), ready, ['s1']],
  ['not-one-layer', asked('v', null), ready, ['s3', 'v', '2']],
  ['not-one-layer', asked('s2', null), ready, ['s3', 's2', '0']],
  ['not-one-layer', asked(null, null), ready, ['s3', 'the end of the chain', '3']],
  ['header-disagrees', asked('s1', null), wrong('s3', 'x'), ['s3', 'x', 's2']],
  ['header-disagrees', asked('s1', null), wrong('s3', null), ['s3', 'nothing', 's2']],
  ['header-disagrees', asked('s1', null), wrong('s2', '/mnt/s1'), ['s2', '/mnt/s1', 's1']],
  ['header-disagrees', asked('s1', 'v'), { ...ready, headers: {} }, ['s2', 'nothing readable']],
  ['header-disagrees', asked('s1', null), missing('s2'), ['s2', 'nothing (it is not there)', 's1']],
  ['size-differs', asked('s1', null), small('s2', 's1'), ['s2', '512', '1073741824']],
  ['size-differs', asked('s1', 'v'), small('s1', 'v'), ['s1', '512']],
];

test.each(refused)('refused: %s, %j', (kind, request, seen, named) => {
  const plan = planDelete(request, seen);
  if (plan.ok) expect.unreachable();
  expect(plan.error.kind).toBe(kind);
  const sentence = explain(plan.error);
  expect(sentence).toMatch(/^\S.*\.$/);
  for (const word of named) expect(sentence).toContain(word);
});

test('a header that the merge does not touch may say what it likes', () => {
  expect(planDelete(asked('s2', 's1'), wrong('s1', 'x')).ok).toBe(true);
  expect(planDelete(asked('s1', 'v'), wrong('s3', 'x')).ok).toBe(true);
  expect(planDelete(asked('s1', null), wrong('s1', 'x')).ok).toBe(true);
});

test('the header of a qcow2 base is not needed to pull the base away', () => {
  const seen = sight(disk(chain('s1', 'v:qcow2')), 'deleting');
  const headers = { s1: header()('v', 'qcow2') };
  expect(planDelete(asked(null, null), { ...seen, headers }).ok).toBe(true);
});

test('a request that came late never merges what another snapshot has', () => {
  const own = `v.${SUBJECT.snapshot}`;
  const files = ['s3', own, 's1', 'v'] as const;
  const seen = sight(disk(chain(...files)), 'deleting');
  const stale = (meant: string) =>
    err({ kind: 'other-snapshot', own: file(own), file: file(meant) });
  // Asked for when its own file was active; now the next snapshot stands on it.
  expect(planDelete(asked('s1', null), seen)).toEqual(stale('s3'));
  expect(planDelete(asked('s1', 'v'), seen)).toEqual(stale('s1'));
  expect(planDelete(asked(own, 's1'), seen)).toMatchObject({ ok: true });
  const onTop = sight(disk(chain(own, 's1', 'v')), 'deleting');
  expect(planDelete(asked('v', null), onTop)).toMatchObject({ ok: true });
  // A neighbour's delete has given it another file: its own is in no chain any more.
  expect(
    planDelete(asked('s1', null), sight(disk(chain('s3', 's2', 's1', 'v')), 'deleting')),
  ).toMatchObject({ ok: true });
});

test('pulling everything into a single layer is no delete', () => {
  const error = { kind: 'not-one-layer', active: 'v', onto: null, between: 0 };
  expect(mergeFor(asked(null, null), chain('v'))).toEqual({ ok: false, error });
});

describe.each(DELETES)('whatever is seen, a plan for $name', (it) => {
  test('is for the guest as it was seen, on whose disk nobody is at work', () => {
    fc.assert(
      fc.property(sights(scenesOf(it)), (seen) => {
        const plan = planDelete(it.request, seen);
        if (!plan.ok) {
          expect(explain(plan.error)).toMatch(/^\S.*\.$/);
          return;
        }
        if (seen.guest.kind === 'absent') expect.unreachable();
        expect(seen.guest.job).toBeNull();
        expect(plan.value.process).toBe(seen.guest.process);
        const live = layersOf(seen.guest.chain).find((one) => one.file === plan.value.repointed);
        const said = seen.headers[plan.value.repointed];
        expect(said).toMatchObject({ ok: true, value: { backingFile: live?.on?.file } });
      }),
      { numRuns: 1000 },
    );
  });
});

describe('to be mended', () => {
  test('no sentence counts fewer than no layers', () => {
    const plan = planDelete(asked('s3', null), ready);
    expect(plan.ok ? '' : explain(plan.error)).not.toContain('-1');
  });

  test('an overlay that is not qcow2 is never merged unseen', () => {
    const seen = sight(disk(chain('s3', 's2:vmdk', 's1', 'v')), 'deleting');
    expect(planDelete(asked('s1', null), { ...seen, headers: { s3: seen.headers.s3! } }).ok).toBe(
      false,
    );
  });

  test('a chain that contradicts what was recorded of it is refused', () => {
    const known = new Map([[file('v'), format('vpc')]]);
    expect(planDelete(asked('s1', 'v'), { ...ready, known }).ok).toBe(false);
  });

  test('a stranger is never merged', () => {
    expect(planDelete(asked(STRANGER, null), ready).ok).toBe(false);
  });
});
