import type { Bug } from './bug.ts';
import { BOOT_BUGS } from './bugs-boot.ts';
import { CREATE_BUGS } from './bugs-create.ts';
import { DELETE_BUGS } from './bugs-delete.ts';
import { EDGE_BUGS } from './bugs-edge.ts';
import { JOURNAL_BUGS } from './bugs-journal.ts';
import { LUKS_BUGS } from './bugs-luks.ts';
import { NETWORK_BUGS } from './bugs-network.ts';
import { OPERATOR_BUGS } from './bugs-operator.ts';
import { SERVICE_BUGS } from './bugs-service.ts';

export const BUGS: readonly Bug[] = [
  ...BOOT_BUGS,
  ...CREATE_BUGS,
  ...DELETE_BUGS,
  ...JOURNAL_BUGS,
  ...SERVICE_BUGS,
  ...EDGE_BUGS,
  ...LUKS_BUGS,
  ...NETWORK_BUGS,
  ...OPERATOR_BUGS,
];

/** A disk that reads otherwise than it was written: whoever hunts must find it at once. */
export const CANARY: Bug = {
  name: 'canary: what was cleared does not read as zeros',
  habit: 'ours',
  laws: [1],
  edit: {
    file: 'sim/node.ts',
    find: "if (own === 'zero') return 0;",
    put: "if (own === 'zero') return 1;",
  },
};

/** The same in other words: nobody may find anything. */
export const HARMLESS: Bug = {
  name: 'harmless: three tries in other words',
  habit: 'ours',
  laws: Array.from({ length: 38 }, (_, at) => at + 1),
  edit: {
    file: 'src/domain/delete-saga.ts',
    find: 'const MAX_TRIES = 3;',
    put: 'const MAX_TRIES = 1 + 2;',
  },
};

export const bugNamed = (name: string | undefined): Bug | null =>
  [...BUGS, CANARY, HARMLESS].find((bug) => bug.name === name) ?? null;
