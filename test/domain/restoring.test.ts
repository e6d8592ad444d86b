import { describe, expect, test } from 'vitest';
import { describe as inWords, leftover } from '#domain/delete-end.ts';
import { type DeleteSaga, nextDelete } from '#domain/delete-saga.ts';
import { explain, explainFault } from '#domain/failure.ts';
import { type Event, type Next, noted, WATCH } from '#domain/saga.ts';
import type { DiskView, Sight } from '#domain/sight.ts';
import { STRANGER } from '../support/chains.ts';
import { reloaded } from '../support/sagas.ts';
import { DELETES, type DeleteStory } from '../support/scenes.ts';
import {
  AWAY,
  DID,
  disk,
  ended,
  failed,
  GONE,
  glance,
  header,
  headersOf,
  REFUSED,
  SERVER,
  saw,
  sight,
  WOKE,
} from '../support/sights.ts';

type At<A extends DeleteSaga['at']> = Extract<DeleteSaga, { at: A }>;

/** A delete whose QEMU died, in every state in which the work was not yet proven. */
function told(it: DeleteStory) {
  const accepted: DeleteSaga = { kind: 'delete', request: it.request, at: 'accepted' };
  const merging = nextDelete(accepted, saw(sight(disk(it.before), 'deleting')))
    .saga as At<'merging'>;
  const { kind, request, plan } = merging;
  const flushing: DeleteSaga = { kind, request, at: 'flushing', plan, formats: [] };
  const before = headersOf(it.before)[it.repointed];
  const after = headersOf(it.after)[it.repointed];
  if (before === undefined || after === undefined) throw new Error('no header');
  /** The guest is off; its XML names these layers, its header says this. */
  const off = (seen: DiskView['chain'], says: typeof before | undefined): Sight => {
    const headers = says === undefined ? {} : { [it.repointed]: says };
    return glance(disk(seen, { process: null }), { headers });
  };
  const topOnly = { ...it.before, on: null };
  const old = before.ok ? before.value : null;
  return { merging, flushing, plan, off, before, after, topOnly, old };
}

const outcome = ({ saga, tell }: Next<DeleteSaga>) =>
  saga.at === 'end'
    ? `${saga.outcome}, ${tell?.kind}, ${JSON.stringify(saga.kind === 'delete' ? saga.gone : 0)}`
    : saga.at;

describe.each(DELETES)('QEMU died under a $name', (it) => {
  const { merging, flushing, plan, off, before, after, topOnly, old } = told(it);
  const kept = `failed, delete-failed, ${JSON.stringify(leftover(plan))}`;
  const whole = 'failed, delete-failed, null';
  const mend = {
    do: 'mend',
    overlay: it.repointed,
    directory: '/mnt',
    backing: old?.backingFile,
    format: old?.backingFormat,
  };

  test.each([merging, flushing] as const)('the header is set back, then it is whole', (saga) => {
    const first = nextDelete(saga, saw(off(topOnly, after)));
    expect(first).toMatchObject({ saga: { at: 'restoring' }, tell: null, evidence: [] });
    expect(first.saga).toEqual({
      ...{ kind: 'delete', request: it.request, at: 'restoring', plan },
      ...{ why: 'the guest is shut off', unchained: false, tries: 0 },
    });
    // The XML, which would override the headers, goes before they are touched.
    expect(first.effect).toEqual({ do: 'unchain', target: 'vda' });
    const set = nextDelete(nextDelete(first.saga, DID).saga, saw(off(topOnly, after)));
    expect(set).toMatchObject({ saga: { at: 'restoring' }, effect: mend, tell: null });
    const detail = `set ${it.repointed} back to ${old?.backingFile}`;
    expect(set.evidence).toEqual([{ kind: 'decided', detail }]);
    const look = nextDelete(reloaded(set.saga), DID);
    expect(look.effect).toEqual({ do: 'look', headers: [it.repointed], cinder: false });
    const last = nextDelete(look.saga, saw(off(topOnly, before)));
    expect(outcome(last)).toBe(whole);
    expect(last.evidence).toEqual([{ kind: 'restored', detail: 'the chain is as it was before' }]);
    const reason = `${inWords(plan)} was not yet safe on disk and is undone: the guest is shut off`;
    expect(last.saga).toMatchObject({ reason, formats: [] });
  });

  test('an encrypted guest is told the old chain with its key, since no header gives it', () => {
    const key = { secret: 'uuid-1', engine: 'qemu' };
    const saga = { ...flushing, plan: { ...plan, key } };
    const first = nextDelete(saga, saw(off(topOnly, after)));
    const instead = { directory: '/mnt', chain: plan.before, key };
    expect(first.effect).toEqual({ do: 'unchain', target: 'vda', instead });
    const set = nextDelete(nextDelete(reloaded(first.saga), DID).saga, saw(off(topOnly, after)));
    expect(set.effect).toEqual(mend);
    expect(outcome(nextDelete(nextDelete(set.saga, DID).saga, saw(off(topOnly, before))))).toBe(
      whole,
    );
    // QEMU calls luks what libvirt calls raw, and of a plain volume that would be another format.
    if (old?.backingFormat !== 'raw') return;
    const asLuks = header()(old.backingFile, 'luks');
    expect(outcome(unchained(saga, off(topOnly, asLuks)))).toBe(whole);
    expect(unchained(flushing, off(topOnly, asLuks)).effect).toEqual(mend);
  });

  test('a header that was never rewritten is whole', () => {
    expect(outcome(unchained(merging, off(topOnly, before)))).toBe(whole);
  });

  test('an old name with another format is mended', () => {
    const lying = header()(old?.backingFile ?? null, 'vmdk');
    expect(unchained(merging, off(topOnly, lying)).effect).toEqual(mend);
    const silent = header()(old?.backingFile ?? null, null);
    expect(unchained(merging, off(topOnly, silent)).effect).toEqual(mend);
  });

  const none = { ok: false, error: { kind: 'not-qcow2', says: 'x' } } as const;
  const away = { ok: false, error: { kind: 'missing', says: 'x' } } as const;
  const again = glance(disk(it.after, { process: 'qemu-2' }));
  const unclear = `the guest is shut off; the header of ${it.repointed} is not clear`;
  const missing = explain({ kind: 'guest-not-found', server: SERVER });
  test.each<[string, Sight, string]>([
    ['whose header was not read', off(topOnly, undefined), unclear],
    ['whose header is none', off(topOnly, none), unclear],
    ['whose header names a stranger', off(topOnly, header()('/etc/passwd', 'raw')), unclear],
    ['that is gone', glance(GONE), missing],
    ['that runs again without the file', again, 'the guest was restarted'],
  ])('a guest %s: Cinder keeps the file', (_, seen, why) => {
    for (const saga of [merging, flushing]) {
      const last = nextDelete(saga, saw(seen));
      expect(outcome(last)).toBe(kept);
      const reason = `${inWords(plan)} was not yet safe on disk: ${why}`;
      expect(last.saga).toMatchObject({ reason, formats: [] });
      expect(last.evidence).toEqual([]);
    }
  });

  test('a guest whose share is not there yet: it is waited for, and then set back', () => {
    for (const saga of [merging, flushing]) {
      const waiting = nextDelete(saga, saw(off(topOnly, away)));
      expect([waiting.saga.at, waiting.effect, waiting.tell]).toEqual(['restoring', WATCH, null]);
      const still = nextDelete(waiting.saga, saw(off(topOnly, away)));
      expect([still.saga, still.effect]).toEqual([waiting.saga, WATCH]);
      const there = nextDelete(still.saga, saw(off(topOnly, after)));
      expect(there.effect).toMatchObject({ do: 'unchain' });
    }
  });

  test('whoever could not see it keeps the chain held, but for one that has a QEMU', () => {
    const end = (seen: Sight) => nextDelete(flushing, saw(seen)).saga;
    expect(end(glance(GONE))).toMatchObject({ outcome: 'failed', unseen: true });
    expect(end(off(topOnly, none))).toMatchObject({ outcome: 'failed', unseen: true });
    expect(end(again)).not.toHaveProperty('unseen');
  });

  test('why it was lost is said once', () => {
    const reason = (seen: Sight) => {
      const { saga } = nextDelete(flushing, saw(seen));
      return saga.at === 'end' ? saga.reason.split(' on disk: ')[1] : '';
    };
    expect(reason(glance(disk(it.after, { process: 'qemu-2' })))).toBe('the guest was restarted');
    expect(reason(glance(GONE))?.match(/No guest/g)).toHaveLength(1);
    expect(reason(off(topOnly, undefined))).toMatch(/^the guest is shut off; the header of /);
  });

  test('started again by the time that the header is set back', () => {
    const restoring = nextDelete(flushing, saw(off(topOnly, after))).saga;
    const again = glance(disk(it.before, { process: 'qemu-2' }));
    expect(outcome(nextDelete(restoring, saw(again)))).toBe(whole);
    const late = glance(disk(it.after, { process: 'qemu-2' }));
    expect(outcome(nextDelete(restoring, saw(late)))).toBe(kept);
    const half = { ...off(topOnly, after), guest: disk(it.before, { process: 'qemu-2' }) };
    expect(outcome(nextDelete(restoring, saw(half)))).toBe(kept);
  });

  test('a new QEMU with the old chain is asked for the merge, if Cinder still wants it', () => {
    const again = disk(it.before, { process: 'qemu-2' });
    for (const saga of [merging, flushing]) {
      const ask = nextDelete(saga, saw(glance(again)));
      expect(ask.effect).toMatchObject({ do: 'look', cinder: true });
      const merge = nextDelete(ask.saga, saw(sight(again, 'deleting')));
      expect(merge.effect).toMatchObject({ do: 'merge', process: 'qemu-2', merge: it.merge });
      expect(outcome(nextDelete(ask.saga, saw(sight(again, 'available'))))).toMatch(/^withdrawn/);
    }
    const busy = disk(it.before, { process: 'qemu-2', job: { kind: 'copy', done: 0, total: 1 } });
    expect(nextDelete(flushing, saw(glance(busy))).effect).toMatchObject({ do: 'watch' });
  });

  test('a new QEMU with another chain or a rewritten header is asked nothing', () => {
    const stranger = disk({ ...it.before, file: STRANGER }, { process: 'qemu-2' });
    const rewritten = { ...off(topOnly, after), guest: disk(it.before, { process: 'qemu-2' }) };
    for (const saga of [merging, flushing]) {
      expect(outcome(nextDelete(saga, saw(rewritten)))).toBe(kept);
      const odd = { ...off(topOnly, before), guest: stranger };
      expect(outcome(nextDelete(saga, saw(odd)))).toBe(kept);
    }
  });

  test('asking a new QEMU is one more try, and what never answered still has not', () => {
    const again = saw(sight(disk(it.before, { process: 'qemu-2' }), 'deleting'));
    const next = (says: Partial<At<'merging'>>) => nextDelete({ ...merging, ...says }, again).saga;
    const asked = next({});
    expect(asked).toMatchObject({ at: 'merging', tries: 2, heard: 'nothing', doubts: 0 });
    expect(asked).not.toHaveProperty('unsure');
    expect(next({ unsure: true })).toMatchObject({ at: 'merging', unsure: true });
    expect(next({ tries: 3 })).toMatchObject({ at: 'end', outcome: 'failed' });
    expect(next({ tries: 3, unsure: true })).toMatchObject({ at: 'end', outcome: 'unknown' });
    expect(nextDelete(flushing, again).saga).toMatchObject({ at: 'merging', tries: 2 });
    const look = nextDelete(merging, saw(glance(disk(it.before, { process: 'qemu-2' })))).saga;
    expect(look).toMatchObject({ at: 'merging', tries: 1, heard: 'nothing' });
    expect(look).not.toHaveProperty('unsure');
  });

  test('a share that refuses is asked again, thirty times', () => {
    let step = nextDelete(flushing, saw(off(topOnly, after)));
    for (let tries = 1; tries <= 30; tries++) {
      step = nextDelete(step.saga, failed(REFUSED));
      expect(step).toMatchObject({ saga: { at: 'restoring', tries }, evidence: [noted(REFUSED)] });
      expect(step.effect).toEqual({ do: 'watch', soon: false });
    }
    const last = nextDelete(step.saga, failed(REFUSED));
    expect(outcome(last)).toBe(kept);
    expect(last.saga).toMatchObject({ reason: expect.stringContaining(explainFault(REFUSED)) });
  });

  test('a header that is set back and is not is left to a person, after thirty times', () => {
    let step = nextDelete(flushing, saw(off(topOnly, after)));
    for (let tries = 1; tries <= 30; tries++) {
      step = nextDelete(nextDelete(step.saga, DID).saga, saw(off(topOnly, after)));
      expect(step).toMatchObject({ saga: { at: 'restoring', tries }, effect: mend });
    }
    const last = nextDelete(nextDelete(step.saga, DID).saga, saw(off(topOnly, after)));
    expect(outcome(last)).toBe(kept);
    const reason = expect.stringContaining(`; ${it.repointed} was set back, and is not`);
    expect(last.saga).toMatchObject({ reason });
  });

  test.each<[string, Event]>([
    ['woken', WOKE],
    ['told of a job', ended('completed')],
  ])('%s, it looks', (_, event) => {
    const restoring = nextDelete(flushing, saw(off(topOnly, after))).saga;
    const look = { do: 'look', headers: [it.repointed], cinder: false };
    expect(nextDelete(restoring, event)).toMatchObject({ saga: restoring, effect: look });
    const blind = nextDelete(restoring, { kind: 'blind', fault: AWAY });
    expect(blind).toMatchObject({ saga: restoring, evidence: [noted(AWAY)] });
    expect(blind.effect).toEqual({ do: 'watch', soon: false });
  });
});

/** The guest is off, its XML is silent by now, and this is what is seen. */
function unchained(saga: DeleteSaga, seen: Sight): Next<DeleteSaga> {
  const first = nextDelete(saga, saw(seen));
  return nextDelete(nextDelete(first.saga, DID).saga, saw(seen));
}
