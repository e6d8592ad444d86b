import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { type CreateSaga, nextCreate } from '#domain/create-saga.ts';
import { explainFault, type Fault } from '#domain/failure.ts';
import { planCreate } from '#domain/plan-create.ts';
import { MOST_THAWS, mayBeFrozen, type Quiesce } from '#domain/quiesce.ts';
import type { Event, Next } from '#domain/saga.ts';
import type { DiskView } from '#domain/sight.ts';
import { play, reloaded } from '../support/sagas.ts';
import { BEFORE, CREATE, CREATE_SCENES, CREATED, LIMITS, NEW_HEADER } from '../support/scenes.ts';
import {
  AWAY,
  BUSY,
  DID,
  disk,
  failed,
  moments,
  REFUSED,
  saw,
  sight,
  UNKNOWN,
  WOKE,
} from '../support/sights.ts';

vi.setConfig({ testTimeout: 60_000 });

/** libvirt's own answers, measured (test/live/quiesce.test.ts). */
const says = (code: number | string, detail = 'no'): Fault => {
  return { kind: 'rejected', who: 'libvirt', code, detail };
};
const SILENT = says(86, 'Guest agent is not responding: Guest agent not available for now');
const UNFROZEN = says(1, "unable to execute QEMU agent command 'guest-fsfreeze-freeze'");

const guest = (rest: Partial<DiskView> = {}) => disk(BEFORE, { agent: 'connected', ...rest });
const ready = (rest: Partial<DiskView> = {}) =>
  saw(sight(guest(rest), 'creating', { headers: NEW_HEADER }));
const switched = saw(sight(disk(CREATED, { agent: 'connected' }), 'creating'));

const accepted = (quiesce?: Quiesce): CreateSaga => ({
  kind: 'create',
  request: CREATE,
  at: 'accepted',
  limits: { ...LIMITS, ...(quiesce && { quiesce }) },
});

/** What each step did, and what it wrote down. */
function story(saga: CreateSaga, ...happened: readonly Event[]): readonly string[] {
  return happened.map((event) => {
    const next = nextCreate(saga, event);
    // As after a restart: nothing that is only in memory counts.
    saga = reloaded(next.saga);
    return [wordOf(next), ...next.evidence.map(({ kind }) => kind)].join(', ');
  });
}

function wordOf({ saga, effect, tell }: Next<CreateSaga>): string {
  if (saga.at === 'end') return `${saga.outcome} (${tell?.kind ?? 'silent'})`;
  return effect?.do === 'snapshot' && effect.quiesce ? 'frozen snapshot' : (effect?.do ?? 'none');
}

/** A switch with a freeze, and what follows it. */
const tried = (mode: Quiesce, ...then: readonly Event[]) =>
  story(accepted(mode), ready(), ...then).slice(1);

describe('whether a freeze is asked for', () => {
  test.each<[Quiesce | undefined, Partial<DiskView>, string]>([
    ['auto', {}, 'frozen snapshot, decided'],
    ['required', {}, 'frozen snapshot, decided'],
    ['never', {}, 'snapshot, decided'],
    // In the journal of a version that knew nothing of it.
    [undefined, {}, 'snapshot, decided'],
    ['auto', { agent: 'disconnected' }, 'snapshot, decided, not-quiesced'],
    ['auto', { agent: 'none' }, 'snapshot, decided, not-quiesced'],
    ['required', { agent: 'disconnected' }, 'failed (create-failed), refused'],
    ['required', { agent: 'none' }, 'failed (create-failed), refused'],
    // The file systems of a guest that is shut off are at rest.
    ['auto', { process: null }, 'snapshot, decided'],
    ['auto', { process: null, agent: 'disconnected' }, 'snapshot, decided'],
    ['required', { process: null, agent: 'disconnected' }, 'snapshot, decided'],
  ])('%s, of a guest with %j: %s', (mode, seen, word) => {
    expect(story(accepted(mode), ready(seen))).toEqual([word]);
  });

  test('an effect that freezes nothing is as it always was', () => {
    expect(nextCreate(accepted('never'), ready()).effect).not.toHaveProperty('quiesce');
    expect(nextCreate(accepted('never'), ready()).saga).not.toHaveProperty('freeze');
  });

  test('whoever requires an agent is refused at once, in words', () => {
    const seen = sight(disk(BEFORE), 'creating', { headers: NEW_HEADER });
    const limits = { ...LIMITS, quiesce: 'required' } as const;
    const why = { kind: 'agent-not-connected', server: 'server-1', agent: 'not configured' };
    expect(planCreate(CREATE, seen, limits)).toEqual({ ok: false, error: why });
  });
});

describe('what follows a freeze', () => {
  const QUIESCED = 'created (created), switched, quiesced';

  test('a thaw of our own, whatever libvirt says of its own', () => {
    expect(tried('auto', DID, DID, switched)).toEqual(['thaw', 'look', QUIESCED]);
  });

  test('a thaw where libvirt calls a switch failed that it made', () => {
    const unthawed = failed(says(1, "unable to execute command 'guest-fsfreeze-thaw'"));
    const story = tried('required', unthawed, failed(SILENT), WOKE, DID, switched);
    expect(story).toEqual(['thaw, fault', 'watch, fault', 'thaw', 'look', QUIESCED]);
  });

  test('auto: what failed with a freeze is done without', () => {
    const without = ['snapshot, not-quiesced', 'look', 'created (created), switched'];
    for (const fault of [UNFROZEN, SILENT, says(68)]) {
      const story = tried('auto', failed(fault), DID, ready(), DID, switched);
      expect(story).toEqual(['thaw, fault', 'look', ...without]);
    }
    // Libvirt has not got as far as the agent.
    for (const code of [55, 74]) {
      const story = tried('auto', failed(says(code)), ready(), DID, switched);
      expect(story).toEqual(['look, fault', ...without]);
    }
  });

  test('auto: what failed with a freeze is not frozen later either', () => {
    const busy = [failed(BUSY), ready(), WOKE, ready()] as const;
    const story = tried('auto', failed(UNFROZEN), DID, ready(), ...busy, DID, ready());
    expect(story.slice(2)).toEqual([
      ...['snapshot, not-quiesced', 'look, fault', 'watch', 'look', 'snapshot'],
      ...['look', 'watch'],
    ]);
    // The answer is looked at at once: nothing has yet been asked for in vain.
    const again = tried('auto', failed(UNFROZEN), DID, ready(), WOKE, ready());
    expect(again.at(-1)).toBe('snapshot');
  });

  test('how it went is said', () => {
    const details = (...happened: readonly Event[]) => {
      let saga = nextCreate(accepted('auto'), ready()).saga;
      const said = happened.flatMap((event) => {
        const next = nextCreate(saga, event);
        saga = next.saga;
        return next.evidence;
      });
      return said.filter(({ kind }) => /quiesced|frozen/.test(kind)).map(({ detail }) => detail);
    };
    expect(details(DID, DID, switched)).toEqual([
      'its file systems were frozen while it was switched',
    ]);
    expect(details(failed(UNKNOWN), DID, switched)).toEqual([
      'nobody knows: an attempt never answered, and was thawed',
    ]);
    expect(details(failed(UNFROZEN), DID, ready())).toEqual([explainFault(UNFROZEN)]);
    expect(details(failed(UNKNOWN), DID, ready())).toEqual(['the attempt never answered']);
    const vain = Array.from({ length: MOST_THAWS }, () => [failed(SILENT), WOKE]).flat();
    expect(details(DID, ...vain.slice(0, -1))).toEqual([
      `no thaw in 60 attempts: ${explainFault(SILENT)}`,
    ]);
    const silent = ready({ agent: 'disconnected' });
    expect(nextCreate(accepted('auto'), silent).evidence.at(-1)).toEqual({
      kind: 'not-quiesced',
      detail: "the guest's agent is not connected",
    });
  });

  test('auto: what fails without a freeze as well fails', () => {
    const story = tried('auto', failed(REFUSED), DID, ready(), failed(REFUSED), ready());
    expect(story.slice(2)).toEqual([
      'snapshot, not-quiesced',
      'look, fault',
      'failed (create-failed)',
    ]);
  });

  test('required: what cannot be frozen fails, and is thawed', () => {
    const story = tried('required', failed(UNFROZEN), DID, ready());
    expect(story).toEqual(['thaw, fault', 'look', 'failed (create-failed)']);
    expect(tried('required', failed(says(55)), ready()).at(-1)).toBe('failed (create-failed)');
  });

  test.each<Quiesce>(['auto', 'required'])('%s: a job is waited for, and then frozen', (mode) => {
    const story = tried(mode, failed(BUSY), ready(), WOKE, ready());
    expect(story).toEqual(['look, fault', 'watch', 'look', 'frozen snapshot']);
  });

  test('nobody answered: auto does without, required asks again, and neither is sure', () => {
    const then = [failed(UNKNOWN), DID, ready(), DID] as const;
    expect(tried('auto', ...then, switched)).toEqual([
      ...['thaw, fault', 'look', 'snapshot, not-quiesced', 'look'],
      'created (created), switched',
    ]);
    expect(tried('required', ...then, DID, switched)).toEqual([
      ...['thaw, fault', 'look', 'frozen snapshot', 'thaw', 'look'],
      'created (created), switched, not-quiesced',
    ]);
  });
});

describe('a thaw', () => {
  test('comes first after a restart', () => {
    expect(tried('auto', WOKE, WOKE, DID, ready())).toEqual([
      ...['thaw', 'thaw', 'look', 'snapshot, not-quiesced'],
    ]);
  });

  test('waits for a libvirt that is away, as long as that takes', () => {
    const away = Array.from({ length: 100 }, () => [failed(AWAY), WOKE]).flat();
    expect(tried('auto', DID, ...away).slice(-2)).toEqual(['watch, fault', 'thaw']);
  });

  test('is not for another QEMU, nor for a guest that is gone', () => {
    for (const code of ['changed', 42]) {
      expect(tried('auto', DID, failed(says(code))).at(-1)).toBe('look, fault');
    }
  });

  test('that changes nothing is not written down', () => {
    const asked = nextCreate(accepted('auto'), ready()).saga;
    const { saga } = nextCreate(asked, DID);
    for (const event of [WOKE, failed(AWAY)]) expect(nextCreate(saga, event).saga).toBe(saga);
    for (const event of [DID, failed(SILENT)]) expect(nextCreate(saga, event).saga).not.toBe(saga);
  });

  test('is tried for minutes, and then somebody must know', () => {
    const tries = Array.from({ length: MOST_THAWS }, () => [failed(SILENT), WOKE]).flat();
    const story = tried('auto', DID, ...tries.slice(0, -1));
    expect(story.filter((one) => one === 'thaw')).toHaveLength(MOST_THAWS);
    expect(story.at(-1)).toBe('look, fault, left-frozen');
  });
});

test('nobody looks, switches or ends before a guest that may be frozen is thawed', () => {
  const faults = fc.constantFrom(SILENT, UNFROZEN, UNKNOWN, AWAY, BUSY, says(55), says('changed'));
  const scene = moments(CREATE_SCENES).chain((one) =>
    fc
      .tuple(fc.option(faults, { freq: 2 }), fc.integer({ min: 0, max: 4 }))
      .map(([fault, agent]) => ({
        ...one,
        act: fault === null ? DID : failed(fault),
        look: agent > 0 ? connected(one.look) : one.look,
      })),
  );
  const modes = fc.constantFrom<Quiesce>('auto', 'required');
  let frozen = 0;
  fc.assert(
    fc.property(modes, fc.boolean(), fc.array(scene, LONG), (mode, begun, happened) => {
      const asked = nextCreate(accepted(mode), ready()).saga;
      // Begun: by a process that died while libvirt froze.
      const start = begun ? asked : accepted(mode);
      let owed = begun;
      let last: Next<CreateSaga>['effect'] = null;
      for (const { event, next } of play<CreateSaga>(nextCreate, start, happened)) {
        const { effect, saga } = next;
        if (last?.do === 'thaw' && event.kind === 'did') owed = false;
        if (event.kind === 'failed' && over(last?.do, event.fault)) owed = false;
        if (next.evidence.some(({ kind }) => kind === 'left-frozen')) owed = false;
        if (owed) expect(['thaw', 'watch']).toContain(effect?.do);
        if (saga.at === 'end') expect(owed).toBe(false);
        last = effect;
        if (effect?.do !== 'snapshot' || !effect.quiesce) continue;
        frozen++;
        owed = true;
      }
    }),
    { numRuns: 3000 },
  );
  expect(frozen).toBeGreaterThan(100);
});

const LONG = { minLength: 4, maxLength: 16 };

/** libvirt did not get as far as the freeze; or there is nobody left to thaw. */
function over(asked: string | undefined, fault: Fault): boolean {
  if (asked === 'snapshot') return !mayBeFrozen(fault);
  return fault.kind === 'rejected' && [42, 'changed'].includes(fault.code);
}

function connected(look: Event): Event {
  if (look.kind !== 'saw' || look.sight.guest.kind !== 'disk') return look;
  return saw({ ...look.sight, guest: { ...look.sight.guest, agent: 'connected' } });
}

test('what may have got as far as the agent is taken for frozen', () => {
  for (const fault of [SILENT, UNFROZEN, UNKNOWN, says(68), says(9)]) {
    expect(mayBeFrozen(fault)).toBe(true);
  }
  for (const fault of [AWAY, BUSY, says(55), says(74), says(83), says('changed')]) {
    expect(mayBeFrozen(fault)).toBe(false);
  }
});
