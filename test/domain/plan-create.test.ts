import fc from 'fast-check';
import { expect, test } from 'vitest';
import { afterCreate, layersOf } from '#domain/chain.ts';
import { explain, type Refusal } from '#domain/failure.ts';
import { type CreateRequest, isNamedFor, planCreate } from '#domain/plan-create.ts';
import type { Sight } from '#domain/sight.ts';
import { chain, chains, file, format, stripped } from '../support/chains.ts';
import { BEFORE, CREATE, CREATE_SCENES, CREATED, LIMITS, NEW_HEADER } from '../support/scenes.ts';
import {
  AMBIGUOUS,
  disk,
  GONE,
  header,
  SERVER,
  SIZE,
  sight,
  sights,
  VOLUME,
} from '../support/sights.ts';

const ready = sight(disk(BEFORE), 'creating', { headers: NEW_HEADER });

test('what is planned is what afterCreate predicts', () => {
  expect(planCreate(CREATE, ready, LIMITS)).toEqual({
    ok: true,
    value: {
      target: 'vda',
      directory: '/mnt',
      process: 'qemu-1',
      before: BEFORE,
      after: { file: 'new', format: 'qcow2', provenance: 'assumed', on: BEFORE },
      size: SIZE,
      bytes: 196_624,
      key: null,
      mend: null,
    },
  });
});

test('every chain with a good overlay is planned for, with formats or without', () => {
  const request: CreateRequest = { ...CREATE, newFile: file('NEW') };
  fc.assert(
    fc.property(chains, fc.boolean(), fc.option(fc.constant('qemu-1')), (before, old, process) => {
      const known = new Map(layersOf(before).map((layer) => [layer.file, layer.format]));
      const guest = disk(old ? stripped(before) : before, { process });
      const headers = { NEW: header()(before.file, before.format) };
      const plan = planCreate(request, sight(guest, 'creating', { known, headers }), {
        maxChainDepth: 9,
      });
      if (!plan.ok) expect.unreachable(explain(plan.error));
      const { value } = plan;
      expect(afterCreate(value.before, request.newFile)).toEqual({ ok: true, value: value.after });
      expect(value).toMatchObject({ mend: null, process, size: SIZE });
      expect(layersOf(value.before).map((layer) => layer.format)).toEqual(
        layersOf(before).map((layer) => layer.format),
      );
    }),
  );
});

test.each([null, 'raw', 'RAW'])(
  'a header that calls its backing file %s is to be mended',
  (said) => {
    const headers = { new: header()('s1', said) };
    const plan = planCreate(CREATE, { ...ready, headers }, LIMITS);
    expect(plan).toMatchObject({ value: { mend: { backing: 's1', format: 'qcow2' } } });
  },
);

test('a raw base is told to the header as raw', () => {
  const before = chain('v');
  const headers = { new: header()('v', 'qcow2') };
  const plan = planCreate(CREATE, sight(disk(before), 'creating', { headers }), LIMITS);
  expect(plan).toMatchObject({ value: { mend: { backing: 'v', format: 'raw' } } });
});

const KEY = { file: file('s1'), format: 'luks', engine: 'qemu', secret: 'uuid-1' };
const KEYS = [KEY, { ...KEY, file: file('v') }];
const other = { kind: 'other', type: 'network' } as const;
const remote = { kind: 'remote', directory: 'gluster://gl1:24007/vol1' } as const;
const stray = { file: file('v'), directory: '/elsewhere' };
const job = { kind: 'copy', done: 0, total: 0 } as const;
const unnamed = { ...BEFORE, on: { ...BEFORE.on!, format: null } };

/** Each with what the sentence must name. */
const refused: readonly [Refusal['kind'], Sight, readonly (string | number)[]][] = [
  ['guest-not-found', { ...ready, guest: GONE }, [SERVER]],
  ['ambiguous-disk', { ...ready, guest: AMBIGUOUS }, [SERVER, VOLUME, 'vda', 'vdb']],
  ['unsupported-source', { ...ready, guest: disk(BEFORE, { source: other }) }, ['vda', 'network']],
  ['encrypted', { ...ready, guest: disk(BEFORE, { keys: [KEY] }) }, ['vda', 's1', 'v']],
  [
    'encrypted',
    { ...ready, guest: disk(BEFORE, { keys: KEYS, source: remote }) },
    ['network disk'],
  ],
  ['remote-and-off', { ...ready, guest: disk(BEFORE, { source: remote, process: null }) }, ['vda']],
  ['foreign-job', { ...ready, guest: disk(BEFORE, { job }) }, ['vda', 'copy']],
  ['other-directory', { ...ready, guest: disk(BEFORE, { stray }) }, ['v', '/elsewhere']],
  ['active-differs', { ...ready, cinder: { snapshot: null, active: file('v') } }, ['v', 's1']],
  ['unknown-format', { ...ready, guest: disk(unnamed) }, ['v']],
  ['already-in-chain', { ...ready, guest: disk(CREATED) }, ['new']],
  [
    'chain-too-deep',
    { ...ready, guest: disk(chain('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h')) },
    [9, 8],
  ],
  ['overlay-refused', { ...ready, headers: {} }, ['new', 'it is not there']],
  [
    'overlay-refused',
    { ...ready, headers: { new: header()('/etc/passwd', 'qcow2') } },
    ['new', '/etc/passwd', 's1'],
  ],
];

test.each(refused)('refused: %s', (kind, seen, named) => {
  const plan = planCreate(CREATE, seen, LIMITS);
  if (plan.ok) expect.unreachable();
  expect(plan.error.kind).toBe(kind);
  const sentence = explain(plan.error);
  expect(sentence).toMatch(/^\S.*\.$/);
  for (const word of named) expect(sentence).toContain(String(word));
});

test('whatever is seen, a plan is for that disk, on which nobody is at work', () => {
  fc.assert(
    fc.property(sights(CREATE_SCENES), (seen) => {
      const plan = planCreate(CREATE, seen, LIMITS);
      if (!plan.ok) {
        expect(explain(plan.error)).toMatch(/^\S.*\.$/);
        return;
      }
      if (seen.guest.kind === 'absent') expect.unreachable();
      const { process, chain: live, job: running } = seen.guest;
      expect(running).toBeNull();
      expect([plan.value.process, plan.value.before.file]).toEqual([process, live.file]);
      expect(layersOf(live).map((layer) => layer.file)).not.toContain('new');
      expect(seen.headers.new).toMatchObject({ ok: true, value: { backingFile: live.file } });
    }),
    { numRuns: 1000 },
  );
});

test('a chain that contradicts what was recorded of it is refused', () => {
  // A base once recorded as raw and now opened as qcow2 was probed by somebody: OSSA-2014-033.
  const seen = { ...ready, guest: disk(chain('s1', 'v:qcow2')) };
  const known = new Map([[file('v'), format('raw')]]);
  expect(planCreate(CREATE, { ...seen, known }, LIMITS).ok).toBe(false);
});

test('Cinder is compared with the guest only when it was asked', () => {
  const glanced = { ...ready, cinder: null };
  expect(planCreate(CREATE, glanced, LIMITS)).toEqual(planCreate(CREATE, ready, LIMITS));
});

test.each<[string, boolean]>([
  ['volume-1.snapshot-1', true],
  ['x.snapshot-1', true],
  ['volume-1.snapshot-2', false],
  ['volume-1.snapshot-1.x', false],
  ['volume-1snapshot-1', false],
  ['snapshot-1', false],
  ['volume-1', false],
])('%s is named for the snapshot: %s', (name, its) => {
  expect(isNamedFor({ ...CREATE, newFile: file(name) })).toBe(its);
});
