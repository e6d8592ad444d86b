import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { changedBy } from '#domain/chain.ts';
import { leftover } from '#domain/delete-end.ts';
import { type DeleteSaga, nextDelete } from '#domain/delete-saga.ts';
import { explainFault, type Fault } from '#domain/failure.ts';
import type { Event, Next } from '#domain/saga.ts';
import type { DiskView, HeaderView } from '#domain/sight.ts';
import { chain } from '../support/chains.ts';
import { play, reloaded } from '../support/sagas.ts';
import { DELETES, scenesOf } from '../support/scenes.ts';
import {
  AMBIGUOUS,
  AWAY,
  BUSY,
  DID,
  disk,
  ended,
  failed,
  GONE,
  glance,
  header,
  headersOf,
  moments,
  saw,
  sight,
  UNKNOWN,
  WOKE,
} from '../support/sights.ts';

type Offline = Extract<DeleteSaga, { at: 'offline' }>;
type Step = Next<DeleteSaga>;

const LOCKED: Fault = { kind: 'rejected', who: 'qemu-img', code: 'locked', detail: 'image [s3]' };
const FULL: Fault = { kind: 'rejected', who: 'qemu-img', code: '1', detail: 'No space left' };
const CHANGED: Fault = { kind: 'rejected', who: 'libvirt', code: 'changed', detail: 'running' };

const outcome = ({ saga, tell }: Step) =>
  saga.at === 'end' && saga.kind === 'delete'
    ? `${saga.outcome}, ${tell?.kind ?? 'silent'}, ${saga.gone}`
    : saga.at;
const SYNCED = { kind: 'flushed', detail: 'the header is on disk' };
const why = (words: string) => expect.stringContaining(words);
const doing = ({ effect }: Step) => effect?.do;

describe.each(DELETES)('a $name while the guest is off', (it) => {
  const accepted: DeleteSaga = { kind: 'delete', request: it.request, at: 'accepted' };
  const topOnly = { ...it.before, on: null };
  const isPull = it.merge.kind === 'pull';
  const before = headersOf(it.before)[it.repointed] as HeaderView;
  const after = headersOf(it.after)[it.repointed] as HeaderView;
  const gone = leftover(it);
  /** What is seen: the guest's XML or chain, its process, and the header that is rewritten. */
  const see = (
    says: HeaderView,
    { chain: seen = topOnly, process = null }: Partial<Pick<DiskView, 'chain' | 'process'>> = {},
    status: string | null = 'deleting',
  ) => saw(sight(disk(seen, { process }), status, { headers: { [it.repointed]: says } }));
  const first = nextDelete(
    accepted,
    saw(sight(disk(it.before, { process: null }), 'deleting', { headers: headersOf(it.before) })),
  );
  const along = (from: Step, ...events: readonly Event[]): Step =>
    events.reduce((step, event) => nextDelete(reloaded(step.saga), event), from);
  /** The XML is silent, and the copying asked for. */
  const copying = along(first, DID, see(before));
  /** It is copied, and what comes next is done. */
  const copied = along(copying, DID);
  const repointed = isPull ? copied : along(copied, see(before), DID);
  const synced = along(repointed, see(after), DID);
  const copyOf = { kind: 'completed', detail: `what ${gone} has is copied, and on disk` };
  const running = { chain: it.after, process: 'qemu-1' };

  test('goes step by step, each written down before the next', () => {
    expect(first).toMatchObject({
      saga: { at: 'offline', doing: 'unchain', unchained: false },
      effect: { do: 'unchain', target: 'vda' },
      evidence: [{ kind: 'decided', detail: why(', while the guest is shut off') }],
    });
    expect(copying.effect).toMatchObject({ do: 'copy', directory: '/mnt', merge: it.merge });
    const { plan } = copying.saga as Offline;
    expect(copying.effect).toMatchObject({ chain: plan.before });
    expect(copied).toMatchObject({ saga: { copied: true }, evidence: [copyOf] });
    expect(copied.effect).toEqual({ do: 'look', headers: [it.repointed], cinder: false });
    const repoint = along(copied, see(before));
    if (!isPull) {
      const { backingFile: backing, backingFormat } = after.ok ? after.value : expect.unreachable();
      expect(repoint.effect).toEqual({
        do: 'mend',
        directory: '/mnt',
        overlay: it.repointed,
        backing,
        format: backingFormat,
      });
    }
    expect(along(repointed, see(after)).effect).toEqual({
      do: 'sync',
      directory: '/mnt',
      file: it.repointed,
    });
    expect(synced).toMatchObject({ saga: { synced: true }, evidence: [SYNCED] });
    const last = along(synced, see(after));
    expect(outcome(last)).toBe(`merged, deleted, ${gone}`);
    const files = changedBy(it.before, it.merge);
    expect(last.tell).toMatchObject({ formats: files.map((name) => ({ file: name })) });
    expect(last.saga).toMatchObject({
      reason: expect.stringContaining('the guest being shut off'),
    });
  });

  test('is never called done before the header is on disk, nor with another chain', () => {
    for (const step of [first, copying, copied]) {
      expect(outcome(along(step, see(before)))).not.toContain('merged');
      if (step !== copied) expect(outcome(along(step, see(after)))).not.toContain('merged');
    }
    expect(doing(along(repointed, see(after)))).toBe('sync');
    const other = header()('x', 'raw');
    expect(outcome(along(synced, see(other)))).toBe(`failed, delete-failed, ${gone}`);
    expect(outcome(along(synced, see(after, { chain: chain('new', 's3') })))).toBe(
      `failed, delete-failed, ${gone}`,
    );
  });

  test('the chain is taken out of an XML that has it again', () => {
    const again = along(synced, see(after, { chain: it.before }));
    expect(again.effect).toEqual({ do: 'unchain', target: 'vda' });
    let step = again;
    for (let nth = 0; nth < 40 && step.saga.at === 'offline'; nth++) {
      step = along(step, DID, see(after, { chain: it.before }));
    }
    expect(outcome(step)).toBe(`failed, delete-failed, ${gone}`);
  });

  test('a guest that was started in the middle: nothing is called done that is not', () => {
    const whole = { chain: it.before, process: 'qemu-1' };
    for (const step of [first, copying, copied]) {
      expect(outcome(along(step, failed(LOCKED), see(before, whole)))).toBe(
        'failed, delete-failed, null',
      );
      expect(outcome(along(step, WOKE, see(before, whole)))).toMatch(/^failed, delete-failed, /);
    }
    // Its XML overrides the header.
    expect(outcome(along(synced, see(after, whole)))).toBe(`failed, delete-failed, ${gone}`);
    expect(outcome(along(synced, see(before, running)))).toBe('failed, delete-failed, null');
    // It runs on what was done, which is not told before it is on disk.
    expect(doing(along(repointed, see(after, running)))).toBe('sync');
    expect(outcome(along(synced, see(after, running)))).toBe(`merged, deleted, ${gone}`);
  });

  test('a process that died while it was copied', () => {
    const woken = along(copying, WOKE);
    expect(woken).toMatchObject({ saga: { unsure: true, doing: null }, effect: { cinder: true } });
    expect(doing(along(woken, see(before)))).toBe('copy');
    const step = along(woken, see(after));
    // qemu-img writes a pull's header last; a commit's is ours to write, and nobody knows of it.
    if (isPull) expect(step).toMatchObject({ saga: { copied: true }, effect: { do: 'look' } });
    else expect(outcome(step)).toBe(`failed, delete-failed, ${gone}`);
  });

  test('only a qemu-img outlives the process that asked', () => {
    const asked = { first, copying, sync: along(repointed, see(after)) };
    for (const [name, step] of Object.entries(asked)) {
      expect(along(step, WOKE).saga, name).toMatchObject({
        doing: null,
        unsure: name === 'copying',
      });
    }
    if (isPull) return;
    const repoint = along(copied, see(before));
    expect(along(repoint, WOKE).saga).toMatchObject({ doing: null, unsure: true });
  });

  test('the lock of a qemu-img that outlived its process is waited for', () => {
    let step = along(copying, WOKE, see(before));
    const full = along(step, failed(FULL), see(before));
    expect(outcome(full), 'another no is final').toBe(`failed, delete-failed, ${gone}`);
    for (let nth = 0; nth < 100; nth++) {
      step = along(step, failed(LOCKED));
      expect(doing(step)).toBe('watch');
      expect(step.saga).toMatchObject({ waits: nth + 1, tries: 2 });
      step = along(step, WOKE, see(before));
      expect(doing(step)).toBe('copy');
    }
    const done = along(step, DID);
    expect(done).toMatchObject({ saga: { copied: true, unsure: false } });
    const weary = { ...step, saga: { ...(step.saga as Offline), waits: 7200 } };
    expect(outcome(along(weary, failed(LOCKED), see(before)))).toBe(
      `failed, delete-failed, ${gone}`,
    );
  });

  test.each([
    ['somebody has a file open', LOCKED],
    ['the disk is full', FULL],
  ])('%s: failed, and the chain is whole', (_, fault) => {
    const step = along(copying, failed(fault));
    expect(step).toMatchObject({ saga: { refused: fault }, effect: { do: 'look' } });
    const last = along(step, see(before));
    expect(outcome(last)).toBe('failed, delete-failed, null');
    expect(last.saga).toMatchObject({ reason: expect.stringContaining(fault.detail) });
  });

  test.each([
    ['libvirt is away', AWAY],
    ['libvirt is busy', BUSY],
    ['the guest had changed', CHANGED],
    ['nobody knows', UNKNOWN],
  ])('%s: it is asked again, thirty times', (_, fault) => {
    let step = first;
    let asked = 0;
    while (doing(step) === 'unchain') {
      asked++;
      step = along(step, failed(fault), WOKE, see(before));
      if (asked > 100) expect.unreachable();
    }
    expect(outcome(step)).toBe('failed, delete-failed, null');
    expect(asked).toBe(30);
    expect(step.saga).toMatchObject({ reason: why(explainFault(fault)), formats: [] });
  });

  test('what makes it give up is said', () => {
    const status = (step: Step, says: HeaderView, word: string | null) =>
      along(step, see(says, {}, word));
    const { backingFile } = after.ok ? after.value : expect.unreachable();
    const weary = { ...copied, saga: { ...(copied.saga as Offline), tries: 30 } };
    const saved = disk(topOnly, { process: null, saved: true });
    const suspended = saw(sight(saved, 'deleting', { headers: { [it.repointed]: before } }));
    const mute = header()(backingFile, null);
    const ends: [Step, string][] = [
      [along(copied, see(before, { chain: chain('new', 's3') })), "the guest's XML has new on an"],
      [along(weary, see(before)), 'what was done is not to be seen'],
      [along(copied, suspended), 'the guest was suspended meanwhile'],
      [along(copied, see(header()('x', 'raw'))), 'its header is not clear'],
      [along(copying, failed(FULL), see(before)), explainFault(FULL)],
    ];
    if (isPull) ends.push([along(copied, see(before)), 'its header was set back']);
    if (backingFile !== null) {
      const wrong = header()(backingFile, 'vmdk');
      ends.push([along(synced, see(wrong)), `the header calls ${backingFile} vmdk`]);
      ends.push([along(synced, see(mute)), `the header calls ${backingFile} nothing`]);
    }
    for (const [step, words] of ends) expect(step.saga).toMatchObject({ reason: why(words) });
    const look = along(first, DID);
    expect(status(look, before, null).saga).toMatchObject({
      reason: 'the snapshot is gone in Cinder',
    });
    expect(status(along(copying, WOKE), before, 'error').saga).toMatchObject({
      outcome: 'unknown',
      reason: 'a qemu-img that nobody waits for may still be at work',
    });
  });

  test('a no to the last step leaves the file where it is', () => {
    const syncing = along(repointed, see(after));
    expect(outcome(along(syncing, failed(FULL), see(after)))).toBe(
      `failed, delete-failed, ${gone}`,
    );
  });

  test('a copying that nobody answered may still come through', () => {
    const unsure = along(copying, failed(UNKNOWN));
    expect(unsure).toMatchObject({ saga: { unsure: true }, effect: { do: 'watch' } });
    const woken = along(unsure, WOKE);
    expect(outcome(along(woken, see(before, {}, 'error')))).toBe('unknown, silent, null');
    expect(outcome(along(woken, see(before, { chain: it.before, process: 'qemu-1' })))).toBe(
      `failed, delete-failed, ${gone}`,
    );
  });

  test('Cinder is asked before anything is copied, and not heeded after', () => {
    const look = along(first, DID);
    expect(look.effect).toEqual({ do: 'look', headers: [it.repointed], cinder: true });
    const silent = glance(disk(topOnly, { process: null }), {
      headers: { [it.repointed]: before },
    });
    expect(along(look, saw(silent)).effect).toEqual(look.effect);
    expect(outcome(along(look, see(before, {}, null)))).toBe('withdrawn, silent, null');
    expect(outcome(along(synced, see(after, {}, null)))).toBe(`merged, deleted, ${gone}`);
  });

  test('a guest that was suspended in the middle', () => {
    for (const [step, says, outcomes] of [
      [copied, before, 'failed, delete-failed, null'],
      [synced, after, `failed, delete-failed, ${gone}`],
    ] as const) {
      const guest = disk(topOnly, { process: null, saved: true });
      const headers = { [it.repointed]: says };
      expect(outcome(along(step, saw(sight(guest, 'deleting', { headers }))))).toBe(outcomes);
    }
  });

  test('a guest that is gone, or there twice', () => {
    const last = along(copied, saw(sight(GONE, 'deleting')));
    expect(outcome(last)).toBe(`failed, delete-failed, ${gone}`);
    expect(last.saga).toMatchObject({ reason: why('No guest server-1') });
    expect(outcome(along(copied, saw(sight(AMBIGUOUS, 'deleting'))))).toBe('unknown, silent, null');
  });

  test('a header that calls the file below something else', () => {
    const { backingFile } = after.ok ? after.value : expect.unreachable();
    if (backingFile === null) return;
    const lies = header()(backingFile, 'vmdk');
    expect(outcome(along(synced, see(lies)))).toBe(`failed, delete-failed, ${gone}`);
  });

  test('whatever happens, deleted is told only once the last write is on disk', () => {
    const off = moments(scenesOf(it)).map((one) => ({ ...one, look: shutOff(one.look) }));
    let told = 0;
    fc.assert(
      fc.property(fc.array(off, { minLength: 8, maxLength: 24 }), (all) => {
        const taken = play(nextDelete, copying.saga, all);
        const end = taken.findIndex(({ next }) => next.tell?.kind === 'deleted');
        if (end < 0) return;
        told++;
        const { event } = taken[end]!;
        if (event.kind !== 'saw') expect.unreachable();
        expect(event.sight.headers[it.repointed]).toMatchObject({ value: after.ok && after.value });
        const did = (what: string) =>
          taken.some(({ next }, at) => {
            return at < end && next.effect?.do === what && taken[at + 1]?.event.kind === 'did';
          });
        expect(did('sync')).toBe(true);
        if (!isPull) expect(did('copy')).toBe(true);
      }),
      { numRuns: 2000 },
    );
    expect(told).toBeGreaterThan(0);
  });

  test('what wakes it only wakes it', () => {
    expect(along(copied, ended('completed')).effect).toMatchObject({ do: 'look' });
    const blind = along(copied, { kind: 'blind', fault: AWAY });
    expect(blind).toMatchObject({ saga: copied.saga, effect: { do: 'watch' } });
    expect(along(copied, WOKE).saga).toEqual(copied.saga);
    expect(along(copied, DID).saga).toEqual(copied.saga);
    // The same, so that it is not written down again.
    expect(nextDelete(copied.saga as DeleteSaga, WOKE).saga).toBe(copied.saga);
  });
});

/** The same sight of a guest that is off: mostly so, and never with a job. */
function shutOff(look: Event): Event {
  if (look.kind !== 'saw' || look.sight.guest.kind === 'absent') return look;
  const { guest } = look.sight;
  const process = guest.process === 'qemu-2' ? guest.process : null;
  const seen = process === null ? { ...guest.chain, on: null } : guest.chain;
  return saw({ ...look.sight, guest: { ...guest, process, job: null, chain: seen } });
}
