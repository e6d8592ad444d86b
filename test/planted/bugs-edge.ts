import type { Bug } from './bug.ts';

const STATUS = 'src/domain/status.ts';
const XML = 'src/adapters/libvirt/snapshot-xml.ts';

/** Where no simulated world reaches: the adapters, and a defect of our own. */
export const EDGE_BUGS: readonly Bug[] = [
  {
    name: 'an error is sent together with 90%',
    habit: 'Nova',
    suite: 'test/domain/status.test.ts',
    edit: {
      file: STATUS,
      find: "return { status: 'error_deleting', progress: '0%' };",
      put: "return { status: 'error_deleting', progress: '90%' };",
    },
  },
  {
    name: "the guest's other disks are forgotten in the snapshot",
    habit: 'ours',
    suite: 'test/adapters/libvirt/domain-xml.test.ts',
    edit: { file: XML, find: '.filter((disk) => disk.target !== target)', put: '.slice(0, 0)' },
  },
  {
    name: 'a link in the place of the overlay is followed',
    habit: 'Cinder',
    suite: 'test/contract/images.share.test.ts',
    edit: {
      file: 'src/adapters/images/copying.ts',
      find: 'constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;',
      put: 'constants.O_RDONLY | constants.O_NONBLOCK;',
    },
  },
  {
    name: 'two processes may have the journal open',
    habit: 'ours',
    suite: 'test/contract/journal.sqlite.test.ts',
    edit: {
      file: 'src/adapters/sqlite/opening.ts',
      find: "lock.exec('BEGIN EXCLUSIVE');",
      put: "lock.exec('BEGIN');",
    },
  },
  {
    name: 'a defect is met again and again',
    habit: 'ours',
    suite: 'test/runner.test.ts',
    edit: {
      file: 'src/runner.ts',
      find: 'if (ours && (await journal.defect(operation.id)) >= MAX_DEFECTS) {',
      put: 'if (ours && (await journal.defect(operation.id)) >= 1e9) {',
    },
  },
  {
    name: 'a full disk is counted as a defect of the operation',
    habit: 'ours',
    suite: 'test/runner.test.ts',
    edit: {
      file: 'src/runner.ts',
      find: 'if (ours && (await journal.defect(operation.id)) >= MAX_DEFECTS) {',
      put: 'if ((await journal.defect(operation.id)) >= MAX_DEFECTS) {',
    },
  },
  {
    name: 'something is begun on one disk while a pull of another one of the guest ends',
    habit: 'Nova',
    laws: [21],
    edit: {
      file: 'src/pulls.ts',
      find: 'if (others.length === 0) {',
      put: 'if (others.length >= 0) {',
    },
  },
  {
    name: 'a pull that an earlier process began is forgotten by the next one',
    habit: 'ours',
    suite: 'test/pulls.test.ts',
    edit: {
      file: 'src/pulls.ts',
      find: "if (pulls(saga)) this.#set(saga.request, 'pull');",
      put: '{}',
    },
  },
  {
    name: 'the pull that heals a header is forgotten by the next process',
    habit: 'ours',
    suite: 'test/pulls.test.ts',
    edit: {
      file: 'src/pulls.ts',
      find: "saga.at === 'switching' && !!saga.heals;",
      put: 'false;',
    },
  },
];
