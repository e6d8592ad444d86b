import type { Bug } from './bug.ts';

const SERVICE = 'src/service.ts';
const ACCEPT = 'await journal.accept(id);';
const WRONG = 'if (wrong !== null) return refused(wrong);';
const NO_PLAN = 'if (!plan.ok) return refused(withHost(plan.error, server.value));';

/** How a request is answered, and what was done before. */
export const SERVICE_BUGS: readonly Bug[] = [
  {
    name: 'the answer comes before the journal',
    habit: 'Nova',
    laws: [28],
    edit: {
      file: SERVICE,
      find: ACCEPT,
      put: `void clock.sleep(20).then(() => ${ACCEPT.slice(6, -1)});`,
    },
  },
  {
    name: 'a delete leaves the progress as it finds it',
    habit: 'Nova',
    laws: [30],
    edit: {
      file: SERVICE,
      find: 'const trouble = await this.#reset(saga.request.snapshot);',
      put: 'const trouble = null as Err | null;',
    },
  },
  {
    name: 'whether Cinder took the 0% does not matter',
    habit: 'ours',
    laws: [30],
    edit: {
      file: SERVICE,
      find: 'if (!told.ok) return fault(told.error);',
      put: 'if (!told.ok) return null;',
    },
  },
  {
    name: 'a delete that joins another leaves the progress',
    habit: 'ours',
    laws: [30],
    edit: { file: SERVICE, find: "if (plain.kind === 'delete') {", put: 'if (false) {' },
  },
  {
    name: 'a request that comes twice is done twice',
    habit: 'Nova',
    laws: [20],
    edit: {
      file: SERVICE,
      find: "if (history.kind === 'running') return this.#join(plain,",
      put: 'if (history === undefined) return this.#join(plain,',
    },
  },
  {
    name: 'a refused request silences the one before it',
    habit: 'ours',
    laws: [14, 15],
    edit: {
      file: SERVICE,
      find: WRONG,
      put: `if (wrong !== null) await this.#world.sender.supersede(plain.snapshot); ${WRONG}`,
    },
  },
  {
    name: 'a refused delete sets the progress back',
    habit: 'ours',
    laws: [27],
    edit: {
      file: SERVICE,
      find: NO_PLAN,
      put: `if (!plan.ok) await this.#reset(plain.snapshot); ${NO_PLAN}`,
    },
  },
  {
    name: 'what was answered with a no is accepted all the same',
    habit: 'ours',
    laws: [27],
    edit: {
      file: SERVICE,
      find: 'if (trouble !== null || late.aborted) {',
      put: 'if (trouble !== null) {',
    },
  },
  {
    name: 'the answer takes a minute',
    habit: 'Nova',
    laws: [28],
    edit: {
      file: SERVICE,
      find: 'export const DECIDE_WITHIN_MS = 8000;',
      put: 'export const DECIDE_WITHIN_MS = 60_000;',
    },
  },
];
