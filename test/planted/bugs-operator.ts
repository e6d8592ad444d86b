import type { Bug } from './bug.ts';

/** What a person may order, and is refused. */
export const OPERATOR_BUGS: readonly Bug[] = [
  {
    name: 'an operator aborts a create that libvirt may have been asked for',
    habit: 'ours',
    laws: [15],
    edit: {
      file: 'src/domain/aborting.ts',
      find: "return err({ kind: 'has-begun', at: saga.at });",
      put: 'return ok(aborted(saga));',
    },
  },
  {
    name: 'an operator is believed who calls a create failed that is in use',
    habit: 'ours',
    laws: [15],
    edit: {
      file: 'src/domain/settling.ts',
      find: 'if (find(view.chain, newFile) !== null) return no(`',
      put: 'if (find(view.chain, newFile) === undefined) return no(`',
    },
  },
];
