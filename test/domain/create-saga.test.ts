import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { agrees, type Provenance } from '#domain/chain.ts';
import { type CreateSaga, nextCreate } from '#domain/create-saga.ts';
import { explainFault } from '#domain/failure.ts';
import type { Event, Next } from '#domain/saga.ts';
import type { GuestView, Sight } from '#domain/sight.ts';
import { chain, file, stripped } from '../support/chains.ts';
import { play, reloaded, type Taken } from '../support/sagas.ts';
import {
  BEFORE,
  CREATE,
  CREATE_SCENES,
  CREATED,
  LIMITS,
  NEW_HEADER,
  predicted,
} from '../support/scenes.ts';
import {
  AMBIGUOUS,
  AWAY,
  BUSY,
  DID,
  disk,
  ended,
  events,
  failed,
  GONE,
  glance,
  header,
  moments,
  REFUSED,
  saw,
  sight,
  UNKNOWN,
  WOKE,
} from '../support/sights.ts';

// Thousands of histories take a while on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

type At<A extends CreateSaga['at']> = Extract<CreateSaga, { at: A }>;

const ACCEPTED: CreateSaga = { kind: 'create', request: CREATE, at: 'accepted', limits: LIMITS };
const WAITING: CreateSaga = { ...ACCEPTED, at: 'waiting' };
const CONFIRMING: CreateSaga = { kind: 'create', request: CREATE, at: 'confirming' };

const ready = sight(disk(BEFORE), 'creating', { headers: NEW_HEADER });
const unmended = sight(disk(BEFORE), 'creating', { headers: { new: header()('s1', 'raw') } });
const done = sight(disk(CREATED), 'creating');
const late = { ...ready, late: true };
const withdrawn = { ...ready, cinder: { snapshot: null, active: null } };
const givenUp = sight(disk(BEFORE), 'error', { headers: NEW_HEADER });

/** Steps along and answers the last step. */
function along(saga: CreateSaga, ...happened: readonly Event[]): Next<CreateSaga> {
  const steps = happened.map((event) => {
    const next = nextCreate(saga, event);
    saga = next.saga;
    return next;
  });
  return steps.at(-1) ?? expect.unreachable();
}

const SWITCHING = along(ACCEPTED, saw(ready)).saga as At<'switching'>;
const MENDING = along(ACCEPTED, saw(unmended)).saga as At<'mending'>;
const END = along(SWITCHING, saw(done)).saga;
const STATES = { WAITING, ACCEPTED, MENDING, SWITCHING, CONFIRMING, END };

const LOOK = { do: 'look', headers: ['new'], cinder: true };
/** Where the chain is the planned one, nothing else is asked of QEMU. */
const LOOK_AFTER = { ...LOOK, settled: { process: 'qemu-1', chain: ['new', 's1', 'v'] } };
const SWITCH = {
  do: 'snapshot',
  target: 'vda',
  process: 'qemu-1',
  directory: '/mnt',
  file: 'new',
  active: 's1',
};
const MEND = { do: 'mend', overlay: 'new', directory: '/mnt', backing: 's1', format: 'qcow2' };

const STOPPED_WAITING = /^Cinder stopped waiting before the overlay was switched to$/;

/** How a saga ended, and what Cinder hears of it. */
const ending = ({ saga, tell }: Next<CreateSaga>) =>
  saga.at === 'end' ? `${saga.outcome}, ${tell?.kind ?? 'silent'}` : saga.at;

describe('the story', () => {
  test('look, switch, look, tell', () => {
    expect(nextCreate(ACCEPTED, WOKE)).toMatchObject({ effect: LOOK, tell: null });
    const decided = nextCreate(ACCEPTED, saw(ready));
    expect(decided).toMatchObject({ saga: { at: 'switching' }, effect: SWITCH, tell: null });
    expect(decided.evidence.map(({ kind }) => kind)).toEqual(['decided']);
    expect(nextCreate(decided.saga, DID)).toMatchObject({ effect: LOOK, tell: null });
    const told = nextCreate(decided.saga, saw(done));
    const formats = [{ file: 'new', format: 'qcow2', provenance: 'reported' }];
    expect(told).toMatchObject({ tell: { kind: 'created', formats }, effect: null });
    expect(told.saga).toMatchObject({ at: 'end', outcome: 'created', formats });
    expect(told.evidence.map(({ kind }) => kind)).toEqual(['switched']);
  });

  test('the plan is what the chain becomes', () => {
    expect(SWITCHING.plan.after).toEqual(predicted(SWITCHING.plan.before, 'new'));
    expect(agrees(CREATED, SWITCHING.plan.after)).toBe(true);
  });

  test('a header with another format is mended, looked at again, and then used', () => {
    const mending = nextCreate(ACCEPTED, saw(unmended));
    expect(mending).toMatchObject({ saga: { at: 'mending' }, effect: MEND });
    expect(along(MENDING, DID)).toMatchObject({ saga: { at: 'mending' }, effect: LOOK });
    const mended = along(MENDING, DID, saw(ready));
    expect(mended).toMatchObject({ saga: { at: 'switching' }, effect: SWITCH });
    expect(mended.evidence.map(({ kind }) => kind)).toEqual(['mended', 'decided']);
  });

  test('after a restart in the middle of mending it is mended again', () => {
    expect(nextCreate(MENDING, WOKE)).toMatchObject({ saga: { at: 'mending' }, effect: MEND });
  });

  test('an old libvirt that names no format: qcow2, marked assumed', () => {
    const told = nextCreate(SWITCHING, saw({ ...done, guest: disk(stripped(CREATED)) }));
    const formats = [{ file: 'new', format: 'qcow2', provenance: 'assumed' }];
    expect(told.tell).toEqual({ kind: 'created', formats });
  });

  test('a shut-off guest has its disk switched too', () => {
    const off = { ...ready, guest: disk(BEFORE, { process: null }) };
    expect(nextCreate(ACCEPTED, saw(off)).effect).toEqual({ ...SWITCH, process: null });
  });

  test('the XML of a shut-off guest need not name the whole chain', () => {
    const off = (...names: readonly string[]) => disk(chain(...names), { process: null });
    const s1 = { ...ready, guest: off('s1:qcow2') };
    const accepted = along(ACCEPTED, saw(s1));
    expect(accepted.effect).toEqual({ ...SWITCH, process: null });
    for (const shown of [off('new:qcow2'), off('new', 's1:qcow2')]) {
      const headers = { new: header()('s1', 'qcow2') };
      expect(ending(along(accepted.saga, saw({ ...done, guest: shown, headers })))).toBe(
        'created, created',
      );
    }
    expect(ending(along(accepted.saga, DID, saw(withdrawn)))).not.toBe('created, created');
  });

  test('a repeated request for an overlay in use is answered from a look', () => {
    expect(nextCreate(CONFIRMING, WOKE).effect).toEqual(LOOK);
    expect(ending(nextCreate(CONFIRMING, saw(ready)))).toBe('failed, create-failed');
    const formatsIn = (guest: GuestView) =>
      nextCreate(CONFIRMING, saw(sight(guest, 'creating'))).tell;
    const told = (provenance: Provenance) => {
      return { kind: 'created', formats: [{ file: 'new', format: 'qcow2', provenance }] };
    };
    expect(formatsIn(disk(CREATED))).toEqual(told('reported'));
    expect(formatsIn(disk(stripped(CREATED)))).toEqual(told('assumed'));
    expect(formatsIn(GONE)).toEqual(told('assumed'));
  });
});

describe('how it ends', () => {
  const busy = along(SWITCHING, failed(BUSY)).saga;
  const unknown = along(SWITCHING, failed(UNKNOWN)).saga;
  const refused = along(SWITCHING, failed(REFUSED)).saga;
  const other = { ...ready, guest: disk(chain('x', 'v')) };
  const deeper = { ...ready, guest: disk(chain('later', 'new', 's1', 'v')) };
  const lies = { ...done, headers: { new: header()('/etc/passwd', 'raw') } };
  const dirty = { ...done, headers: { new: header({ dirty: true })('s1', 'qcow2') } };
  const job = { ...ready, guest: disk(BEFORE, { job: { kind: 'copy', done: 0, total: 0 } }) };
  const lateJob = { ...job, late: true };
  const jobWithdrawn = { ...job, cinder: withdrawn.cinder };
  const unread = { ...ready, headers: {} };
  const longer = { ...done, guest: disk(chain('new', 's1', 'v:raw', 'w')) };
  const unwanted = { ...done, cinder: withdrawn.cinder };
  const headless = { ...done, headers: {} };
  test.each<[string, CreateSaga, Event, string, RegExp?]>([
    ['Cinder withdrew before', ACCEPTED, saw(withdrawn), 'withdrawn, silent', /is gone in Cinder$/],
    ['and while it waited', WAITING, saw(withdrawn), 'withdrawn, silent', /is gone in Cinder$/],
    ['and while it was mended', MENDING, saw(withdrawn), 'withdrawn, silent', /is gone in Cinder$/],
    ['and nothing switched', SWITCHING, saw(withdrawn), 'withdrawn, silent', /is gone in Cinder$/],
    ['Cinder gave up before', ACCEPTED, saw(givenUp), 'withdrawn, silent', /is error in Cinder$/],
    ['and nothing switched', SWITCHING, saw(givenUp), 'withdrawn, silent', /is error in Cinder$/],
    ['the time was over before', ACCEPTED, saw(late), 'failed, create-failed', STOPPED_WAITING],
    ['and nothing switched', SWITCHING, saw(late), 'failed, create-failed', STOPPED_WAITING],
    ['refused by the plan', ACCEPTED, saw(unread), 'failed, create-failed', /new cannot be used/],
    [
      'refused, and asked already',
      SWITCHING,
      saw(unread),
      'failed, create-failed',
      /cannot be used/,
    ],
    [
      'mending failed',
      MENDING,
      failed(REFUSED),
      'failed, create-failed',
      /^libvirt refused \(38\)/,
    ],
    ['mending changed nothing', MENDING, saw(unmended), 'failed, create-failed', /after.* mended$/],
    ['the hypervisor refused', refused, saw(ready), 'failed, create-failed', /^libvirt refused/],
    ['it refused, but it is done', refused, saw(done), 'created, created', /^new is the active/],
    [
      'nobody answered, but it is done',
      unknown,
      saw(done),
      'created, created',
      /^new is the active/,
    ],
    ['nobody answered, it lies now', unknown, saw(unmended), 'unknown, silent', /\(the overlay/],
    [
      'nobody answered, and time is over',
      unknown,
      saw(late),
      'unknown, silent',
      /\(Cinder stopped/,
    ],
    [
      'nobody answered, and Cinder withdrew',
      unknown,
      saw(withdrawn),
      'unknown, silent',
      /\(gone\)$/,
    ],
    ['the guest is gone', SWITCHING, saw(sight(GONE, 'creating')), 'created, created', /^new is/],
    ['another chain without it', SWITCHING, saw(other), 'failed, create-failed', /: x is active$/],
    ['another chain with it', SWITCHING, saw(deeper), 'unknown, silent', /^new .* not predicted$/],
    ['the header lies afterwards', SWITCHING, saw(lies), 'unknown, silent', /names \/etc\/passwd/],
    [
      'the header is dirty while open',
      SWITCHING,
      saw(dirty),
      'created, created',
      /^new is the active/,
    ],
    ['busy: not now', busy, saw(ready), 'switching'],
    ['a job of somebody in the way', SWITCHING, saw(job), 'switching'],
    [
      'the same, and time is over',
      SWITCHING,
      saw(lateJob),
      'failed, create-failed',
      STOPPED_WAITING,
    ],
    ['the same, and Cinder withdrew', SWITCHING, saw(jobWithdrawn), 'withdrawn, silent', /is gone/],
    ['more below than was there', SWITCHING, saw(longer), 'unknown, silent', /not predicted$/],
    [
      'in use, and Cinder withdrew',
      SWITCHING,
      saw(unwanted),
      'withdrawn, silent',
      /^new .* is gone in/,
    ],
    [
      'in use, its header unread',
      SWITCHING,
      saw(headless),
      'unknown, silent',
      /header was not read$/,
    ],
    ['nobody answered, another chain', unknown, saw(other), 'unknown, silent', /may still come/],
    [
      'in use as it was told before',
      CONFIRMING,
      saw(done),
      'created, created',
      /already the active/,
    ],
    ['no longer in use', CONFIRMING, saw(ready), 'failed, create-failed', /^new is no longer in/],
    ['two disks with it', CONFIRMING, saw(sight(AMBIGUOUS, null)), 'unknown, silent', /2 disks/],
    ['the overlay lies now', SWITCHING, saw(unmended), 'failed, create-failed', /than before$/],
  ])('%s', (_, saga, event, expected, reason) => {
    const next = nextCreate(saga, event);
    expect(ending(next)).toBe(expected);
    if (next.saga.at !== 'end') return;
    expect(next.saga.reason).toMatch(reason ?? expect.unreachable());
    expect(next.saga.formats).toEqual(next.tell?.kind === 'created' ? next.tell.formats : []);
  });

  test('a busy hypervisor is asked again after a pause, not at once', () => {
    const pause = nextCreate(busy, saw(ready));
    expect(pause.effect).toEqual({ do: 'watch', soon: false });
    expect(along(pause.saga, WOKE, saw(ready)).effect).toEqual(SWITCH);
  });

  test('an unreachable hypervisor is asked again', () => {
    expect(along(SWITCHING, failed(AWAY), saw(ready)).effect).toEqual(SWITCH);
  });
});

test.each<[string, CreateSaga, Event, readonly string[]]>([
  ['decided', ACCEPTED, saw(ready), ['decided: switch vda from s1 to new']],
  ['to be mended', ACCEPTED, saw(unmended), ['decided: mend new: s1 is qcow2']],
  ['mended', MENDING, saw(ready), ['mended: new', 'decided: switch vda from s1 to new']],
  ['refused', ACCEPTED, saw({ ...ready, headers: {} }), ['refused: overlay-refused']],
  ['switched', SWITCHING, saw(done), ['switched: vda is on new']],
  [
    'gone',
    SWITCHING,
    saw(sight(GONE, 'creating')),
    ['switched: the guest is gone; overlay is whole'],
  ],
  ['in use', CONFIRMING, saw(done), ['already: new is in use']],
  ['was in use', CONFIRMING, saw(sight(GONE, 'creating')), ['already: new was in use']],
  ['failed', SWITCHING, failed(REFUSED), ['fault: libvirt refused (38): no such file']],
  ['nothing new', SWITCHING, DID, []],
  ['asked again', along(SWITCHING, failed(AWAY)).saga, saw(ready), []],
])('what a step rests on is written down: %s', (_, saga, event, expected) => {
  const { evidence } = nextCreate(saga, event);
  expect(evidence.map(({ kind, detail }) => `${kind}: ${detail}`)).toEqual(expected);
});

test.each([WAITING, ACCEPTED, MENDING, SWITCHING, CONFIRMING])(
  'a look that fails is written down and tried again: $at',
  (saga) => {
    const next = nextCreate(saga, { kind: 'blind', fault: AWAY });
    const evidence = [{ kind: 'fault', detail: explainFault(AWAY) }];
    const effect = { do: 'watch', soon: false };
    expect(next).toEqual({ saga, effect, evidence, tell: null, progress: null });
  },
);

const cases = Object.entries(STATES).map(([name, saga]) => [name, saga] as const);

test.each(cases)('%s stands every event, always with one way on', (_, saga) => {
  fc.assert(
    fc.property(events(CREATE_SCENES), (event) => {
      const next = nextCreate(saga, event);
      expect(next.effect === null).toBe(next.saga.at === 'end');
      expect(next.saga.kind).toBe('create');
      expect(reloaded(next)).toEqual(next);
    }),
    { numRuns: 500 },
  );
});

const histories = fc.array(moments(CREATE_SCENES), { minLength: 1, maxLength: 20 });
const starts = fc.constantFrom(ACCEPTED, ACCEPTED, ACCEPTED, WAITING, CONFIRMING);

/** Holds after every step of every history. */
function always(holds: (taken: readonly Taken<CreateSaga>[]) => void, numRuns = 3000): void {
  fc.assert(
    fc.property(starts, histories, (start, happened) => {
      holds(play<CreateSaga>(nextCreate, start, happened));
    }),
    { numRuns },
  );
}

test('a saga that was journalled and loaded goes on as if nothing had been', () => {
  fc.assert(
    fc.property(starts, histories, (start, happened) => {
      const whole = play<CreateSaga>(nextCreate, start, happened);
      const cut = play<CreateSaga>(
        (saga, event) => nextCreate(reloaded(saga), event),
        start,
        happened,
      );
      expect(cut.map(({ next }) => next)).toEqual(whole.map(({ next }) => next));
    }),
  );
});

test('the end is the end: nothing is told, done, or changed any more', () => {
  always((taken) => {
    for (const { from, next } of taken.filter((step) => step.from.at === 'end')) {
      expect(next).toEqual({ saga: from, evidence: [], tell: null, progress: null, effect: null });
    }
  });
});

test('Cinder hears at most one last word, and only at the end', () => {
  always((taken) => {
    const told = taken.filter(({ next }) => next.tell !== null);
    expect(told.length).toBeLessThanOrEqual(1);
    for (const { next } of told) {
      const outcome = next.saga.at === 'end' ? next.saga.outcome : 'not at the end';
      expect([next.tell?.kind, outcome]).toEqual(
        outcome === 'created' ? ['created', 'created'] : ['create-failed', 'failed'],
      );
    }
    for (const { next } of taken.filter((step) => isSilent(step.next))) {
      expect(next.tell).toBeNull();
    }
  });
});

test('created is told only of an overlay that was seen active, or whose guest is gone', () => {
  always((taken) => {
    for (const { event, from } of taken.filter(({ next }) => next.tell?.kind === 'created')) {
      if (event.kind !== 'saw') expect.unreachable();
      const { guest } = event.sight;
      // A layer above it is fine for a repeated request only: it was told once already.
      if (guest.kind === 'disk' && from.at === 'switching') expect(guest.chain.file).toBe('new');
    }
  });
});

test('nothing is changed but straight after a look in which Cinder still wants it', () => {
  always((taken) => {
    for (const { event, from, next } of taken) {
      if (next.effect?.do === 'mend' && event.kind === 'woke') expect(from.at).toBe('mending');
      else if (next.effect?.do === 'mend' || next.effect?.do === 'snapshot') {
        expect(wanted(event)).toBe(true);
      }
    }
  });
});

test('the overlay is only switched to when its header and the chain fit the plan', () => {
  always((taken) => {
    for (const { event, next } of taken) {
      if (next.effect?.do !== 'snapshot' || next.saga.at !== 'switching') continue;
      const { guest, headers } = seenIn(event);
      if (guest.kind === 'absent') expect.unreachable();
      expect(agrees(guest.chain, next.saga.plan.before)).toBe(true);
      expect(headers.new).toMatchObject({ value: { backingFile: guest.chain.file } });
      expect(next.effect).toMatchObject({ active: guest.chain.file, process: guest.process });
    }
  });
});

test('while an attempt that never answered may still come through nothing is called failed', () => {
  const pending: CreateSaga = { ...SWITCHING, pending: true };
  let parked = 0;
  fc.assert(
    fc.property(histories, (happened) => {
      const { saga } = play<CreateSaga>(nextCreate, pending, happened).at(-1)!.next;
      if (saga.at !== 'end') return;
      const undoes = saga.outcome === 'withdrawn' && 'made' in saga;
      if (!undoes) expect(['created', 'unknown']).toContain(saga.outcome);
      if (saga.outcome === 'unknown') parked++;
    }),
    { numRuns: 1000 },
  );
  expect(parked).toBeGreaterThan(20);
});

test('of a remote overlay an attempt that never answered is waited for, and not made again', () => {
  const source = { kind: 'remote', directory: 'gluster://gl1:24007/vol1' } as const;
  const before = sight(disk(BEFORE, { source }), 'creating', { headers: NEW_HEADER });
  const after = sight(disk(CREATED, { source }), 'creating');
  for (const answer of [failed(UNKNOWN), WOKE]) {
    const again = along(SWITCHING, answer, saw(ready));
    expect(again.effect).toMatchObject({ do: 'snapshot' });
    const waits = along(SWITCHING, answer, saw(before));
    expect(waits).toMatchObject({ saga: { at: 'switching' }, effect: { do: 'watch' } });
    expect(along(waits.saga, WOKE, saw(after)).saga).toMatchObject({ outcome: 'created' });
    const over = along(waits.saga, WOKE, saw({ ...before, late: true }));
    expect(over).toMatchObject({ saga: { outcome: 'unknown' }, tell: null });
  }
  // After a clear answer there is nothing that could come.
  const busy = along(SWITCHING, failed(BUSY), saw(before), WOKE, saw(before));
  expect(busy.effect).toMatchObject({ do: 'snapshot' });
});

test('every ending is reached', () => {
  const seen = new Set<string>();
  always((taken) => {
    for (const { from, next } of taken) if (from.at !== 'end') seen.add(ending(next));
  }, 5000);
  expect([...seen].sort()).toEqual([
    'accepted',
    'confirming',
    'created, created',
    'failed, create-failed',
    'mending',
    'switching',
    'unknown, silent',
    'waiting',
    'withdrawn, silent',
  ]);
});

describe('to be mended', () => {
  test('two disks with the volume are no guest that is gone', () => {
    const next = nextCreate(SWITCHING, saw(sight(AMBIGUOUS, 'creating')));
    expect(ending(next)).toBe('unknown, silent');
  });

  test('after an attempt that never answered nothing is called failed', () => {
    const other = { ...ready, guest: disk(chain('x', 'v')) };
    const next = along(SWITCHING, failed(UNKNOWN), saw(other));
    expect(ending(next)).toBe('unknown, silent');
  });

  test('an attempt never answered, and it cannot be asked for again: nobody waits', () => {
    const next = along(SWITCHING, failed(UNKNOWN), saw({ ...ready, headers: {} }));
    expect(ending(next)).toBe('unknown, silent');
    expect(next.saga).toMatchObject({ reason: expect.stringContaining('it is not there') });
  });

  test('an attempt from before a restart may still come through', () => {
    // The first call waits in a guest that is being frozen; the second gives up on the lock.
    const again = along(reloaded(SWITCHING), WOKE, saw(ready));
    expect(again.effect).toEqual(SWITCH);
    const next = along(again.saga, failed({ ...BUSY, code: 68 }), saw(late));
    expect(ending(next)).toBe('unknown, silent');
  });

  test('an attempt that was answered is none that may still come through', () => {
    const late = saw({ ...ready, late: true });
    expect(ending(along(SWITCHING, DID, WOKE, late))).toBe('failed, create-failed');
    expect(ending(along(SWITCHING, failed(AWAY), WOKE, late))).toBe('failed, create-failed');
    const again = along(SWITCHING, failed(AWAY), saw(ready)).saga;
    expect(ending(along(again, WOKE, late))).toBe('unknown, silent');
  });

  test('a disk that went after a refusal was never switched', () => {
    const gone = saw({ ...withdrawn, guest: GONE });
    const busy = along(SWITCHING, failed(BUSY));
    const last = along(busy.saga, gone);
    expect(ending(last)).toBe('withdrawn, silent');
    expect(last.saga).toMatchObject({ reason: 'the snapshot is gone in Cinder' });
    expect(ending(along(SWITCHING, DID, gone)), 'it was done').toBe('unknown, silent');
    // Cinder still wants it: whether it was switched or not, nothing the guest wrote is lost.
    const wanted = along(busy.saga, saw({ ...ready, guest: GONE }));
    expect(ending(wanted)).toBe('created, created');
    // While the disk is there to be seen, that decides.
    const inUse = along(busy.saga, saw({ ...done, cinder: withdrawn.cinder }));
    expect(inUse.saga).toMatchObject({ outcome: 'withdrawn', made: { after: { file: 'new' } } });
    // Unless another attempt may have been, or none was refused.
    expect(ending(along(SWITCHING, failed(UNKNOWN), gone))).toBe('unknown, silent');
    const again = along(SWITCHING, failed(UNKNOWN), saw(ready), failed(BUSY)).saga;
    expect(ending(along(again, gone))).toBe('unknown, silent');
  });

  test('that an attempt may still come through is written down once', () => {
    const { saga } = along(SWITCHING, WOKE);
    expect(saga).not.toBe(SWITCHING);
    expect(nextCreate(saga, WOKE).saga).toBe(saga);
  });

  test('a repeated request that Cinder has gone on from has nothing to say', () => {
    const deleting = sight(disk(CREATED), 'deleting');
    for (const [seen, status] of [
      [deleting, 'deleting'],
      [withdrawn, 'gone'],
    ] as const) {
      const last = nextCreate(CONFIRMING, saw(seen));
      expect(ending(last)).toBe('withdrawn, silent');
      expect(last.saga).toMatchObject({ reason: `the snapshot is ${status} in Cinder` });
    }
  });

  test('a repeated request whose guest is gone has not failed', () => {
    expect(ending(nextCreate(CONFIRMING, saw(sight(GONE, 'creating'))))).toBe('created, created');
  });

  test('an active overlay that Cinder has given up is never simply created', () => {
    const next = nextCreate(SWITCHING, saw({ ...done, cinder: withdrawn.cinder }));
    expect(ending(next)).toBe('withdrawn, silent');
    // It is undone by whoever looks after creates, from what the switch made of the chain.
    expect(next.saga).toMatchObject({ made: { before: { file: 's1' }, after: { file: 'new' } } });
  });

  test.each([
    ['it said yes', DID],
    ['it never answered', failed(UNKNOWN)],
    ['its process died', WOKE],
  ])('an overlay that was written to is not used again: %s', (_, event) => {
    const written = { new: header({ fileBytes: 393_232 })('s1', 'qcow2') };
    const headers = { ...ready.headers, ...written };
    const anew = disk(BEFORE, { process: 'qemu-2' });
    for (const guest of [anew, disk(BEFORE)]) {
      const next = along(SWITCHING, event, saw({ ...ready, guest, headers }));
      expect(next.effect).toBeNull();
      expect(ending(next)).toMatch(event === DID ? /^failed, / : /^unknown, silent$/);
      expect(next.saga).toMatchObject({ reason: expect.stringContaining('it was written to') });
    }
    // One that is empty never was in use.
    const again = along(
      SWITCHING,
      event,
      saw({ ...ready, guest: anew }),
      WOKE,
      saw({ ...ready, guest: anew }),
    );
    expect(again.effect).toMatchObject({ do: 'snapshot', process: 'qemu-2' });
  });

  describe('a header that lost its format once it is in use', () => {
    const lies = { new: header()('s1', null) };
    const seen = (says = {}) => saw({ ...done, headers: lies, ...says });
    const PULL = {
      ...{ do: 'merge', target: 'vda', process: 'qemu-1', chain: ['new', 's1', 'v'] },
      merge: { kind: 'pull', onto: 's1' },
    };

    test('is written anew by QEMU, which knows it, and then it is created', () => {
      const healing = nextCreate(SWITCHING, seen());
      expect(healing).toMatchObject({ effect: PULL, saga: { at: 'switching', heals: 1 } });
      expect(healing.evidence).toEqual([
        { kind: 'decided', detail: 'pull onto s1, so that the header says qcow2' },
      ]);
      const job = { kind: 'pull', done: 0, total: 1 } as const;
      const busy = seen({ guest: disk(CREATED, { job }) });
      expect(along(healing.saga, DID, busy).effect).toEqual({ do: 'watch', soon: false });
      const told = along(healing.saga, DID, saw(done));
      expect(ending(told)).toBe('created, created');
      expect(told.evidence.map(({ kind }) => kind)).toEqual(['switched', 'mended']);
      expect(told.evidence[1]).toMatchObject({ detail: 'new' });
    });

    test('once it is known that no job is at work, which a look for the chain does not say', () => {
      const unasked = disk(CREATED, { job: null, size: null, unasked: true });
      expect(ending(nextCreate(SWITCHING, saw({ ...done, guest: unasked })))).toBe(
        'created, created',
      );
      expect(nextCreate(SWITCHING, seen({ guest: unasked })).effect).toEqual(LOOK);
      const healing = nextCreate(SWITCHING, seen()).saga;
      expect(nextCreate(healing, DID).effect).toEqual(LOOK);
    });

    test('three times, whatever the answer; after that it is left to a person', () => {
      for (const answer of [DID, WOKE, failed(UNKNOWN), failed(REFUSED)]) {
        let { saga } = nextCreate(SWITCHING, seen());
        for (let heals = 2; heals <= 3; heals++) {
          const again = along(saga, answer, seen());
          expect(again).toMatchObject({ effect: PULL, saga: { heals } });
          saga = again.saga;
        }
        const last = along(saga, answer, seen());
        expect(ending(last)).toBe('unknown, silent');
        expect(last.saga).toMatchObject({
          reason: expect.stringMatching(/^the header changed under us: it calls s1 nothing/),
        });
      }
    });

    test('beside a pull of another disk it waits for as long as that takes', () => {
      let { saga } = nextCreate(SWITCHING, seen());
      for (let times = 0; times < 10; times++) {
        const waits = along(saga, failed(BUSY), seen());
        expect(waits).toMatchObject({ effect: { do: 'watch' }, saga: { heals: 0 } });
        saga = along(waits.saga, WOKE, seen()).saga;
        expect(saga).toMatchObject({ heals: 1 });
      }
    });

    test('unless more is wrong with it, or no QEMU is there to write it', () => {
      const off = seen({ guest: disk(CREATED, { process: null }) });
      expect(ending(nextCreate(SWITCHING, off))).toBe('unknown, silent');
      const more = nextCreate(SWITCHING, seen({ headers: { new: header()('v', null) } }));
      expect(ending(more)).toBe('unknown, silent');
      expect(more.saga).toMatchObject({
        reason: expect.stringMatching(/: it names v, and .*; it calls s1 nothing/),
      });
    });
  });

  describe('another file that has taken the name of the overlay', () => {
    const named = (inode: string) => ({ new: header({ inode })('s1', 'qcow2') });
    const looked = (inode: string) => ({
      ...ready,
      headers: { ...ready.headers, ...named(inode) },
    });
    const switching = along(ACCEPTED, saw(looked('7'))).saga;

    test('is not called created, whichever QEMU has open', () => {
      expect(switching).toMatchObject({ plan: { inode: '7' } });
      const same = nextCreate(switching, saw({ ...done, headers: named('7') }));
      expect(ending(same)).toBe('created, created');
      expect(same.saga).not.toHaveProperty('inode');
      for (const headers of [named('8'), NEW_HEADER]) {
        const parked = nextCreate(switching, saw({ ...done, headers }));
        expect(ending(parked)).toBe('unknown, silent');
        expect(parked.saga).toMatchObject({ reason: 'another file has its name', inode: '7' });
      }
    });

    test('is not asked for again, once the first may have been in use', () => {
      for (const [event, said] of [
        [DID, 'failed, create-failed'],
        [failed(UNKNOWN), 'unknown, silent'],
      ] as const) {
        const next = along(switching, event, saw(looked('8')));
        expect(ending(next)).toBe(said);
        expect(next.saga).toMatchObject({ reason: expect.stringMatching('another file has its') });
      }
    });

    test('may be used when the first was refused: it is checked as that was', () => {
      const next = along(switching, failed(BUSY), saw(looked('8')), WOKE, saw(looked('8')));
      expect(next).toMatchObject({ effect: SWITCH, saga: { plan: { inode: '8' } } });
    });

    test('is not known where a file has no number', () => {
      const plain = nextCreate(SWITCHING, saw({ ...done, headers: named('8') }));
      expect(ending(plain)).toBe('created, created');
      expect(SWITCHING.plan).not.toHaveProperty('inode');
      const lying = nextCreate(SWITCHING, saw({ ...done, headers: { new: header()('v', 'raw') } }));
      expect(lying.saga).toMatchObject({ outcome: 'unknown' });
      expect(lying.saga).not.toHaveProperty('inode');
    });
  });

  test('what was asked for twice, the first time without an answer, is not undone', () => {
    const again = along(SWITCHING, failed(UNKNOWN), saw(ready), DID);
    expect(again.saga).toMatchObject({ at: 'switching', twice: true });
    expect(along(again.saga, saw(done)).saga).not.toHaveProperty('made');
    const given = along(again.saga, saw({ ...done, cinder: withdrawn.cinder }));
    expect(ending(given)).toBe('unknown, silent');
    // What has come through is no longer on its way.
    const once = along(SWITCHING, failed(UNKNOWN), saw(done));
    expect(once.saga).toMatchObject({ outcome: 'created', made: { after: { file: 'new' } } });
  });

  test('an active overlay whose header was not read is not yet created', () => {
    const next = nextCreate(SWITCHING, saw({ ...done, headers: {} }));
    expect(next.tell).toBeNull();
  });

  test('an active overlay is encrypted where the volume is, and nowhere else', () => {
    const key = { format: 'luks', engine: 'qemu', secret: 'uuid-1' };
    const keys = (...names: string[]) => names.map((name) => ({ ...key, file: file(name) }));
    const luks = header({ encryption: 'luks' })('s1', 'qcow2');
    const sealed = { ...ready, guest: disk(BEFORE, { keys: keys('s1', 'v') }) };
    const switching = along(ACCEPTED, saw({ ...sealed, headers: { new: luks } })).saga;
    expect(switching).toMatchObject({ at: 'switching', plan: { key: { secret: 'uuid-1' } } });
    const guest = disk(CREATED, { keys: keys('new', 's1', 'v') });
    const end = (saga: CreateSaga, headers: object) =>
      ending(nextCreate(saga, saw({ ...done, guest, headers: headers as typeof NEW_HEADER })));
    expect(end(switching, { new: luks })).toBe('created, created');
    expect(end(switching, NEW_HEADER)).toBe('unknown, silent');
    expect(end(SWITCHING, { new: luks })).toBe('unknown, silent');
  });

  test('an active overlay that is marked corrupt is not created', () => {
    const headers = { new: header({ corrupt: true })('s1', 'qcow2') };
    expect(nextCreate(SWITCHING, saw({ ...done, headers })).tell).toBeNull();
  });

  test('a guest that was off and is on now shows more of its chain', () => {
    const off = { ...ready, guest: disk(chain('s1:qcow2'), { process: null }) };
    const switching = along(ACCEPTED, saw(off)).saga;
    expect(ending(nextCreate(switching, saw(done)))).toBe('created, created');
  });

  test.each([
    ['accepted', ACCEPTED],
    ['switching', SWITCHING],
    ['confirming', CONFIRMING],
  ])('a look in which Cinder was not asked withdraws nothing: %s', (_, saga) => {
    const next = nextCreate(saga, saw(glance(disk(BEFORE), { headers: NEW_HEADER })));
    expect(next.effect).toEqual(saga.at === 'switching' ? LOOK_AFTER : LOOK);
  });

  test('a switch that keeps changing nothing is asked for after a pause', () => {
    expect(along(SWITCHING, DID, saw(ready)).effect).toEqual({ do: 'watch', soon: false });
  });
});

test('a stray event of a job only makes it look', () => {
  for (const [name, saga] of cases.filter(([, { at }]) => at !== 'end' && at !== 'mending')) {
    const look = saga.at === 'switching' ? LOOK_AFTER : LOOK;
    expect(nextCreate(saga, ended('completed')).effect, name).toEqual(look);
  }
});

test('the file that becomes active is the one that was asked for', () => {
  expect(CREATE.newFile).toBe(file('new'));
  expect(SWITCHING.plan.after.file).toBe(CREATE.newFile);
});

function isSilent({ saga }: Next<CreateSaga>): boolean {
  return saga.at === 'end' && (saga.outcome === 'withdrawn' || saga.outcome === 'unknown');
}

function seenIn(event: Event): Sight {
  return event.kind === 'saw' ? event.sight : expect.unreachable();
}

function wanted(event: Event): boolean {
  return event.kind === 'saw' && event.sight.cinder?.snapshot?.status === 'creating';
}
