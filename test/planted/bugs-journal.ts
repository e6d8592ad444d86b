import { ok } from '#domain/result.ts';
import type { Bug } from './bug.ts';

const RUNNER = 'src/runner.ts';
const SENDER = 'src/sender.ts';
const COMMIT = 'if (!only) await this.#turn(page, operation, running);';
const PERFORM = 'await perform(this.#world, step.effect, step.saga, driven);';
const UPDATE = 'await this.#world.volumes.update(saga.request.snapshot, step.tell);';
const QUEUES = 'readonly #queues = new Map<VolumeId, Operation[]>();';
/** A map that keeps everything under one key. */
const ONE_QUEUE =
  'readonly #queues = new (class extends Map<VolumeId, Operation[]> {' +
  ' override get() { return super.get(ALL); }' +
  ' override set(_: VolumeId, all: Operation[]) { return super.set(ALL, all); }' +
  ' override delete() { return super.delete(ALL); } })();';

/** What is written down when, who runs when, and what Cinder hears of it. */
export const JOURNAL_BUGS: readonly Bug[] = [
  {
    name: 'the effect comes before the intent is on disk',
    habit: 'Nova',
    laws: [10],
    edit: {
      file: RUNNER,
      find: COMMIT,
      put: `if (step.effect?.do === 'merge') ${PERFORM} ${COMMIT}`,
    },
  },
  {
    name: 'the word goes out before it is on disk',
    habit: 'Nova',
    laws: [10],
    edit: {
      file: RUNNER,
      find: COMMIT,
      put: `if (step.tell) ${UPDATE} ${COMMIT}`,
    },
  },
  {
    name: 'the word is not in the same entry as the step',
    habit: 'Nova',
    laws: [14, 15],
    edit: {
      file: 'src/step.ts',
      find: 'const notice = await journal.commit(id, entry);',
      put: 'const notice = await journal.commit(id, { ...entry, tell: null });',
    },
  },
  {
    name: 'evidence is dropped',
    habit: 'Nova',
    laws: [10],
    edit: {
      file: RUNNER,
      find: 'step.evidence.filter((one) => !sameEvidence(one, last));',
      put: 'step.evidence.filter(() => false);',
    },
  },
  {
    name: 'what was unsaid is lost at a restart',
    habit: 'Nova',
    laws: [17],
    edit: { file: RUNNER, find: 'await this.#world.sender.resume();', put: '' },
  },
  {
    name: 'what waits is lost at a restart',
    habit: 'Nova',
    laws: [17, 22],
    edit: {
      file: RUNNER,
      find: 'for (const one of open.filter((operation) => !begun(operation))) this.start(one);',
      put: '',
    },
  },
  {
    name: 'two operations of a volume run at once',
    habit: 'Nova',
    laws: [22],
    edit: {
      file: RUNNER,
      find: 'if (queue !== undefined) queue.push(operation);',
      put: 'if (queue !== undefined && this.#stopped) queue.push(operation);',
    },
  },
  {
    name: 'volumes wait for each other',
    habit: 'ours',
    laws: [22],
    edit: { file: RUNNER, find: QUEUES, put: ONE_QUEUE.replaceAll('ALL', "'' as VolumeId") },
  },
  {
    name: 'only events wake',
    habit: 'vdsm',
    laws: [17, 22],
    edit: {
      file: 'src/mailbox.ts',
      find: 'await this.#clock.sleep(pollMs, this.#wake.signal);',
      put: 'await this.#clock.sleep(pollMs * 1e6, this.#wake.signal);',
    },
  },
  {
    name: 'the clock on the wall decides',
    habit: 'Nova',
    laws: [35],
    bind: (ports) => ({ ...ports, clock: { ...ports.clock, monotonic: ports.clock.now } }),
  },
  {
    name: 'recorded formats are forgotten',
    habit: 'Nova',
    laws: [17],
    bind: (ports) => ({ ...ports, journal: { ...ports.journal, formats: async () => new Map() } }),
  },
  {
    name: 'a status is told once, as well as it goes',
    habit: 'Nova',
    laws: [17],
    edit: {
      file: SENDER,
      find: 'for (let attempt = 0; !this.#stopped; attempt++) {',
      put: 'for (let attempt = 0; attempt < 1; attempt++) {',
    },
  },
  {
    name: "a refusal of Cinder's is the end of it",
    habit: 'Nova',
    laws: [14, 15],
    bind: (ports) => ({
      ...ports,
      volumes: {
        ...ports.volumes,
        update: async (snapshot, update) => {
          const answer = await ports.volumes.update(snapshot, update);
          return answer.ok || answer.error.kind !== 'rejected' ? answer : ok('obsolete');
        },
      },
    }),
  },
  {
    name: 'an answer that got lost counts as a yes',
    habit: 'ours',
    laws: [14, 15, 30],
    bind: (ports) => ({
      ...ports,
      volumes: {
        ...ports.volumes,
        update: async (snapshot, update) => {
          const answer = await ports.volumes.update(snapshot, update);
          return answer.ok || answer.error.kind !== 'unknown' ? answer : ok('accepted');
        },
      },
    }),
  },
  {
    name: 'words about one snapshot overtake each other',
    habit: 'ours',
    laws: [11],
    edit: {
      file: SENDER,
      find: 'const done = line.tail.then(() => job(line));',
      put: 'const done = Promise.resolve().then(() => job(line));',
    },
  },
  {
    name: 'a word of an attempt that was replaced is said all the same',
    habit: 'ours',
    laws: [10, 13],
    edit: { file: SENDER, find: 'if (notice.seq <= line.superseded) return;', put: '' },
  },
];
